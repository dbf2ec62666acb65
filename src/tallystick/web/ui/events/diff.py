"""What changed, as rows of a table: path, before, after; long texts word by word, masked and cut values as badges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Literal

from msgspec import UNSET, Struct

from tallystick.event.changes import changes, same
from tallystick.event.limits import CHANGES_MAX
from tallystick.event.text import pointer_segment

WORDS_MAX = 2_000  # of one side; a longer text is shown whole, since a word diff grows with the square
WORD_DIFF_CHARACTERS_MIN = 40
UNCHANGED_MAX = 200

Kind = Literal["added", "removed", "changed", "unchanged", "more"]
Mark = Literal["", "kept", "gone", "new", "redacted", "truncated"]


class Piece(Struct, frozen=True):
    """A piece of a value and what happened to it; `redacted` and `truncated` are badges."""

    text: str
    mark: Mark = ""


class Row(Struct, frozen=True, kw_only=True):
    """One difference; a side that has no value is None."""

    path: str
    kind: Kind
    before: tuple[Piece, ...] | None = None
    after: tuple[Piece, ...] | None = None


_BADGE = re.compile(r"\[redacted(?::[^\]\n]{0,80})?\]|\[truncated[^\]\n]{0,80}\]")
# What stands in the place of a whole value that was masked or cut (docs/reference/event.md).
_STAND_INS: dict[str, Mark] = {"$redacted": "redacted", "$truncated": "truncated"}
_WORD = re.compile(r"\s+|[^\s\w]|\w+")


def diff_rows(event: Mapping[str, Any]) -> list[Row]:
    """Return the changes of an event: between its states, or all of its one state when it created or deleted."""
    before, after = event.get("before", UNSET), event.get("after", UNSET)
    if before is UNSET and after is UNSET:
        return []
    if before is UNSET:
        return [Row(path=path, kind="added", after=pieces(value)) for path, value in _leaves(after)]
    if after is UNSET:
        return [Row(path=path, kind="removed", before=pieces(value)) for path, value in _leaves(before)]
    return [_row(change) for change in changes(before, after)]


def unchanged_rows(event: Mapping[str, Any]) -> list[Row]:
    """Return what stayed the same between both states, at most UNCHANGED_MAX; empty when there are not both."""
    before, after = event.get("before", UNSET), event.get("after", UNSET)
    if before is UNSET or after is UNSET:
        return []
    later = dict(_leaves(after))
    found: list[Row] = []
    for path, value in _leaves(before):
        if path in later and same(value, later[path]):
            found.append(Row(path=path, kind="unchanged", before=pieces(value), after=pieces(value)))
        if len(found) == UNCHANGED_MAX:
            return [*found, Row(path="", kind="more")]
    return found


def pieces(value: Any) -> tuple[Piece, ...]:
    """Return a value as pieces: its text, with badges for what was masked or cut."""
    if (name := _stand_in(value)) is not None:
        said = value[name]
        about = said if isinstance(said, str) else _size(said)
        return (Piece(f"{_STAND_INS[name]} {about}".strip(), _STAND_INS[name]),)
    text = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    )
    if isinstance(value, str) and not value:
        return (Piece('""', "kept"),)
    return tuple(_badged(text, ""))


def word_diff(before: str, after: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return both texts with the words that went and came marked; their texts together are the texts that were given."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if len(old) > WORDS_MAX or len(new) > WORDS_MAX:
        return pieces(before), pieces(after)
    left: list[Piece] = []
    right: list[Piece] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, came = "".join(old[i1:i2]), "".join(new[j1:j2])
        if gone:
            left += _badged(gone, "kept" if tag == "equal" else "gone")
        if came:
            right += _badged(came, "kept" if tag == "equal" else "new")
    return tuple(left), tuple(right)


def _stand_in(value: Any) -> str | None:
    if isinstance(value, dict) and len(value) == 1:
        return next((name for name in _STAND_INS if name in value), None)
    return None


def _size(said: Any) -> str:
    size = said.get("bytes") if isinstance(said, dict) else None
    return f"{size / 1024:,.0f} KB" if isinstance(size, int | float) else ""


def _row(change: Any) -> Row:
    path, name = change.path.rpartition("/")[::2]
    if name in _STAND_INS and change.kind == "changed":
        before, after = pieces({name: change.before}), pieces({name: change.after})
        return Row(path=path, kind="changed", before=before, after=after)
    match change.kind:
        case "added":
            return Row(path=change.path, kind="added", after=pieces(change.after))
        case "removed":
            return Row(path=change.path, kind="removed", before=pieces(change.before))
        case "changed":
            old, new = change.before, change.after
            if (
                isinstance(old, str)
                and isinstance(new, str)
                and min(len(old), len(new)) >= WORD_DIFF_CHARACTERS_MIN
            ):
                before, after = word_diff(old, new)
                return Row(path=change.path, kind="changed", before=before, after=after)
            return Row(path=change.path, kind="changed", before=pieces(old), after=pieces(new))
        case _:
            return Row(path="", kind="more")


def _badged(text: str, mark: Mark) -> Iterator[Piece]:
    at = 0
    for found in _BADGE.finditer(text):
        if found.start() > at:
            yield Piece(text[at : found.start()], mark)
        yield Piece(found.group()[1:-1], "redacted" if found.group().startswith("[redacted") else "truncated")
        at = found.end()
    if at < len(text):
        yield Piece(text[at:], mark)


def _leaves(value: Any) -> list[tuple[str, Any]]:
    """Return every scalar and every empty container of `value` with its JSON pointer, at most CHANGES_MAX."""
    found: list[tuple[str, Any]] = []
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting and len(found) < CHANGES_MAX:
        path, one = waiting.pop()
        if isinstance(one, dict) and one and _stand_in(one) is None:
            waiting += [(f"{path}/{pointer_segment(key)}", one[key]) for key in reversed(list(one))]
        elif isinstance(one, list) and one:
            waiting += [(f"{path}/{at}", one[at]) for at in range(len(one) - 1, -1, -1)]
        else:
            found.append((path, one))
    return found
