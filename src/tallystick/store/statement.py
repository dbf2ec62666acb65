"""Statements with named parameters, put together from the pieces of one SQL file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_0-9]+)")
_PIECE = re.compile(r"\{([a-z_]+?)(?:_((?:word|slot)\d|persons|never))?\}")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    """SQL as the driver takes it, and the names of its parameters in their order."""

    text: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return the arguments in order; a name that `values` lacks is a KeyError."""
        return [values[name] for name in self.names]


def assemble(pieces: Mapping[str, str], name: str) -> Statement:
    """Return the statement `name` with the pieces it names put in and its parameters numbered.

    `{piece}` stands for another piece; in `{anyof_word1}` the piece `anyof` is put in with `word1` in place of
    its own `{g}` or `{s}`. No value ever becomes part of the text.
    """
    text = _expand(pieces, name, "")
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return Statement(_PARAMETER.sub(number, text), tuple(names))


def _expand(pieces: Mapping[str, str], name: str, prefix: str) -> str:
    text = _COMMENT.sub("", pieces[name] + "\n").replace("{g}", prefix).replace("{s}", prefix).strip()
    return _PIECE.sub(lambda match: _put_in(pieces, match), text)


def _put_in(pieces: Mapping[str, str], match: re.Match[str]) -> str:
    whole = match[0][1:-1]
    return _expand(pieces, whole, "") if whole in pieces else _expand(pieces, match[1], match[2])
