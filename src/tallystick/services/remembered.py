"""Subjects that were seen lately: their refs and labels, so that a busy log asks the directory only for new people.

Bounded: the least recently seen are forgotten. Only what is committed is remembered here.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from uuid import UUID

SUBJECTS_MAX = 100_000  # some 40 MB
LABELS_MAX = 8  # of one subject; a name that changes with every event must not fill the memory


class Remembered:
    """A subject's ref, the name and e-mail it was last seen with, and all labels that are in the directory."""

    __slots__ = ("email", "labels", "name", "ref")

    def __init__(self, ref: UUID) -> None:
        self.ref = ref
        self.name: str | None = None
        self.email: str | None = None
        self.labels: set[str] = set()


class RememberedSubjects:
    """Remembers up to `limit` subjects of all logs; a log's are told apart by the generation number it was given."""

    def __init__(self, limit: int = SUBJECTS_MAX) -> None:
        self._limit = limit
        self._generations = count()
        self._found: OrderedDict[tuple[int, str, str], Remembered] = OrderedDict()

    def new_generation(self) -> int:
        """Return a number nobody has: for a new log, or for one that must forget its subjects."""
        return next(self._generations)

    def get(self, generation: int, type: str, id: str) -> Remembered | None:
        """Return what is remembered of a subject."""
        key = (generation, type, id)
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found

    def put(self, generation: int, type: str, id: str, ref: UUID) -> Remembered:
        """Remember a subject that is in the directory."""
        key = (generation, type, id)
        found = self._found.get(key)
        if found is None or found.ref != ref:
            found = self._found[key] = Remembered(ref)
            if len(self._found) > self._limit:
                self._found.popitem(last=False)
        return found


def labels_of(id: str, name: str | None, email: str | None) -> list[str]:
    """Return what a subject can be searched by: its id, name and e-mail in lower case, each once, none empty."""
    return [label for label in dict.fromkeys(text.lower() for text in (id, name, email) if text) if label]
