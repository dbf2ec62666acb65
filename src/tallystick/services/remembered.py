"""Subjects that were seen lately: their refs and labels, so that a busy log asks the directory only for new people.

Bounded: the least recently seen are forgotten. Only what is committed is remembered here.
"""

from __future__ import annotations

from itertools import count
from uuid import UUID

SUBJECTS_MAX = 100_000  # some 40 MB
LABELS_MAX = 8  # of one subject; a name that changes with every event must not fill the memory


class Remembered:
    """A subject's ref, the name and e-mail it was last seen with, and its labels that are in the directory."""

    __slots__ = ("email", "labels", "name", "ref")

    def __init__(self, ref: UUID | None = None) -> None:
        self.ref = ref
        self.name: str | None = None
        self.email: str | None = None
        self.labels: set[str] = set()

    def now_has(self, labels: list[str], name: str | None, email: str | None) -> None:
        """Note the name and e-mail last seen, and that these labels are in the directory."""
        self.name, self.email = name, email
        if len(self.labels) >= LABELS_MAX:
            self.labels.clear()
        self.labels.update(labels)


Key = tuple[int, str, str]


class RememberedSubjects:
    """Remembers `limit` subjects of all logs; a log's are told apart by the generation number it was given.

    Two halves: what is asked for moves to the young one, and when that is full the old one is forgotten.
    """

    def __init__(self, limit: int = SUBJECTS_MAX) -> None:
        self._half = limit // 2
        self._generations = count()
        self._young: dict[Key, Remembered] = {}
        self._old: dict[Key, Remembered] = {}

    def new_generation(self) -> int:
        """Return a number nobody has: for a new log, or for one that must forget its subjects."""
        return next(self._generations)

    def get(self, key: Key) -> Remembered | None:
        """Return what is remembered of the subject (generation, type, id)."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: Key, subject: Remembered) -> None:
        """Remember a subject that is in the directory."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = subject


def labels_of(id: str, name: str | None, email: str | None) -> list[str]:
    """Return what a subject can be searched by: its id, name and e-mail in lower case, each once, none empty."""
    return [label for label in dict.fromkeys(text.lower() for text in (id, name, email) if text) if label]
