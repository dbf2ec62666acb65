"""Statements with named parameters, put together from the pieces of one SQL file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_0-9]+)")
_PIECE = re.compile(r"\{([a-z_]+?)(?:_((?:word|slot)\d|persons|never))?\}")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
# A test against a list that is a parameter. A generic plan compares element after element; of a sub-select it makes a
# hash table, once for each statement.
_LIST_TEST = re.compile(r"(= ANY|<> ALL) \(:([a-z_0-9]+)::(\w+)\[\]\)")
# Lists of conditions, from which those that nothing is asked of may be left out: what joins them, and what an empty
# list means.
_LISTS = {"matching": (" AND ", "true"), "hits": (" AND ", "true"), "anyof_terms": (" OR ", "false")}


@dataclass(frozen=True)
class Statement:
    """SQL as the driver takes it, and the names of its parameters in their order."""

    text: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return the arguments in order; a name that `values` lacks is a KeyError."""
        return [values[name] for name in self.names]


def assemble(
    pieces: Mapping[str, str], name: str, *, only: Set[str] | None = None, hashed: Set[str] = frozenset()
) -> Statement:
    """Return the statement `name` with the pieces it names put in and its parameters numbered.

    `{piece}` stands for another piece; in `{anyof_word1}` the piece `anyof` is put in with `word1` in place of
    its own `{g}` or `{s}`. With `only`, of the conditions in a list (`matching`, `hits`, `anyof_terms`) just those
    named in it are put in; the others must be without effect. Lists named in `hashed` are long: they are looked up
    in a hash table. No value ever becomes part of the text.
    """
    text = _Assembly(pieces, only).expand(name, "")
    if hashed:
        text = _LIST_TEST.sub(partial(_look_up, hashed), text)
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return Statement(_PARAMETER.sub(number, text), tuple(names))


def _look_up(hashed: Set[str], match: re.Match[str]) -> str:
    test, name, kind = match.groups()
    if name not in hashed:
        return match[0]
    return f"{'IN' if test == '= ANY' else 'NOT IN'} (SELECT unnest(:{name}::{kind}[]))"


class _Assembly:
    def __init__(self, pieces: Mapping[str, str], only: Set[str] | None) -> None:
        self._pieces = pieces
        self._only = only

    def expand(self, name: str, prefix: str) -> str:
        text = (
            _COMMENT.sub("", self._pieces[name] + "\n").replace("{g}", prefix).replace("{s}", prefix).strip()
        )
        if name in _LISTS and self._only is not None:
            joint, nothing = _LISTS[name]
            wanted = [token for token in re.findall(r"\{[a-z_0-9]+\}", text) if token[1:-1] in self._only]
            text = joint.join(wanted) or nothing
        return _PIECE.sub(self._put_in, text)

    def _put_in(self, match: re.Match[str]) -> str:
        whole = match[0][1:-1]
        return self.expand(whole, "") if whole in self._pieces else self.expand(match[1], match[2])
