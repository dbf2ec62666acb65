"""What of one stored event tells of a person, and what the event becomes without it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from re import Pattern
from typing import Final
from uuid import UUID

import msgspec

from tallystick.errors import Tampered
from tallystick.event.canonical import canonical
from tallystick.event.leaf import ERASED, Leaf, read_leaf, read_values
from tallystick.event.model import Flag
from tallystick.event.projection import projection
from tallystick.event.unseal import erase
from tallystick.store.erasing import Rewritten, SealedRow
from tallystick.verify.records import is_record

TEXT_MIN: Final = 4  # shorter ones would fit everywhere
_ACTOR: Final = ("actor/id", "actor/name", "actor/email")
_CONTEXT: Final = "context/"
_FLAGS: Final = "flags"
_read_flags = msgspec.json.Decoder(tuple[Flag, ...]).decode


class Person:
    """Whom to find: pseudonyms, and the lower-case texts the person is known by."""

    def __init__(self, refs: Iterable[UUID], texts: Iterable[str]) -> None:
        self.refs = tuple(refs)
        self.texts = tuple(sorted({text.lower() for text in texts if len(text) >= TEXT_MIN}))
        self._hexes = frozenset(ref.hex for ref in self.refs)
        self._pattern = _pattern_of(self.written)

    @property
    def written(self) -> list[str]:
        """The texts as they stand inside JSON."""
        return [canonical(text).decode()[1:-1] for text in self.texts]

    def is_actor(self, leaf: Leaf) -> bool:
        """Tell whether the person did it."""
        return leaf.actor.ref in self._hexes

    def delegations(self, leaf: Leaf) -> list[str]:
        """Return the paths of the person among those it was done for."""
        return [
            f"actor/on_behalf_of/{at}"
            for at, one in enumerate(leaf.actor.on_behalf_of)
            if one.ref in self._hexes
        ]

    def is_in(self, json: bytes) -> bool:
        """Tell whether canonical JSON mentions the person, as a word of its own."""
        return (
            self._pattern is not None
            and self._pattern.search(json.decode("utf-8", "replace").lower()) is not None
        )


def _pattern_of(written: Sequence[str]) -> Pattern[str] | None:
    if not written:
        return None
    # A JSON escape before or after is not part of a word.
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, written)) + r")(?!\w)")


def paths_of(row: SealedRow, person: Person) -> set[str]:
    """Return the sealed paths of a row that tell of the person; raises Tampered when it cannot be read."""
    leaf, values = read_leaf(row.leaf), read_values(row.opening)
    values.pop(ERASED, None)
    found: set[str] = set(person.delegations(leaf))
    if person.is_actor(leaf):
        # From where, and with what, somebody acted is about nobody else.
        found |= {path for path in values if path in _ACTOR or path.startswith(_CONTEXT)}
    keeps_account = is_record(leaf.action, leaf.stream, leaf.source)
    for path, value in values.items():
        if person.is_in(bytes(value)) and not (keeps_account and path == "metadata"):
            found.add(path)
    found &= values.keys()
    return found | _hashes_of(values.get(_FLAGS), found)


def chosen_paths(row: SealedRow, wanted: Iterable[str]) -> set[str]:
    """Return those of the paths wanted, or below them, that hold a value, with the hashes of what was cut off them."""
    leaf, values = read_leaf(row.leaf), read_values(row.opening)
    values.pop(ERASED, None)
    found = {
        path
        for path in values
        if any(path == one or path.startswith(one.rstrip("/") + "/") for one in wanted)
    }
    if is_record(leaf.action, leaf.stream, leaf.source):
        found.discard("metadata")
    return found | _hashes_of(values.get(_FLAGS), found)


def _hashes_of(flags: msgspec.Raw | None, gone: set[str]) -> set[str]:
    """Return the path of the flags when one of them keeps the SHA-256 of a value at a path that goes."""
    if flags is None or not gone:
        return set()
    try:
        read = _read_flags(flags)
    except msgspec.MsgspecError as error:
        raise Tampered(f"the stored flags cannot be read: {error}", rule="opening") from None
    hashed = [flag.path.lstrip("/") for flag in read if flag.sha256 is not None]
    touched = any(_same_place(path, one) for path in hashed for one in gone)
    return {_FLAGS} if touched else set()


def _same_place(pointer: str, path: str) -> bool:
    """Tell whether a flag's place is at or below a sealed path."""
    return pointer == path or pointer.startswith(path + "/")


def rewritten(row: SealedRow, paths: set[str]) -> Rewritten:
    """Return the row without the values at `paths`; raises Tampered when it cannot be read."""
    opening, seed = erase(row.opening, row.seed, paths)
    columns = projection(row.leaf, opening)
    return Rewritten(
        row, opening, seed, columns.ip, columns.target_type, columns.target_id, columns.more_targets
    )
