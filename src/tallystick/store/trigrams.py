"""Pieces of two and three characters, by which substrings of a label are found without an extension of PostgreSQL.

Each is a number that differs between organizations, so that an index over all of them finds only one's own. Two pieces
may share a number by chance: whoever finds a label by its pieces compares the text too.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID
from zlib import crc32

SHORTEST = 2  # a text of one character has no piece
_LEAST = -(2**31)  # of a PostgreSQL integer


def pieces_of_label(organization_id: UUID, label: str) -> list[int]:
    """Return the pieces that a label, in lower case, is kept with: each of two and of three characters, once."""
    return _numbers(organization_id, [*_runs(label, 2), *_runs(label, 3)])


def pieces_of_text(organization_id: UUID, text: str) -> list[int]:
    """Return pieces that every label containing `text`, in lower case, has; none for a text of one character."""
    return _numbers(organization_id, _runs(text, 3) or _runs(text, SHORTEST))


def array_of(pieces: Sequence[int]) -> str:
    """Return pieces as PostgreSQL writes an int[]; a list of lists of different lengths has no other form."""
    return "{" + ",".join(map(str, pieces)) + "}"


def _runs(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(len(text) - size + 1)]


def _numbers(organization_id: UUID, runs: Sequence[str]) -> list[int]:
    start = crc32(organization_id.bytes)
    return [crc32(run.encode(), start) + _LEAST for run in dict.fromkeys(runs)]
