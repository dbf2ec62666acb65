"""Bytes to a JSON tree, twice: quickly for ordinary input, strictly and slowly for everything else.

The quick decoder answers only where both would give the same tree; a property test holds them equal. The
strict one keeps what ordinary decoders lose (repeated keys, digits of numbers, lone surrogates) as markers
in the tree, so that whoever walks it next can name the exact path.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import isinf
from typing import Any, Final, NoReturn

import msgspec

from tallystick.errors import Refused
from tallystick.event.limits import DEPTH_MAX, INTEGER_MAX

_INTEGER_DIGITS_SAFE: Final = 15
_FLOAT_DIGITS_SAFE: Final = 15  # every decimal of so many digits survives a double (IEEE 754, DBL_DIG)
_STRUCTURE: Final = re.compile(rb'[\[\]{}]|"(?:[^"\\]+|\\.)*"?', re.DOTALL)


class OutOfRange(str):
    """The digits of a number no JSON reader is sure to keep: beyond ±(2^53−1), or beyond a double."""

    __slots__ = ()


class Imprecise(str):
    """The digits of a fraction that a double would round."""

    __slots__ = ()


class Repeated:
    """An object that names a key twice; `key` is the first such key."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key


class _Unusual(Exception):
    """A number the quick decoder leaves to the strict one."""


def _plain_float(literal: str) -> float:
    number = float(literal)
    if (len(literal) > _FLOAT_DIGITS_SAFE or not 1e-300 < abs(number) < 1e15) and literal.strip("-0."):
        raise _Unusual
    return number


_quick = msgspec.json.Decoder(float_hook=_plain_float).decode


def decode_quick(raw: bytes) -> Any | None:
    """Return the tree of an ordinary document, or None when only the strict decoder can tell.

    Two things are left to the caller: repeated keys are lost (compare the number of keys with `keys_in`),
    and integers come in any size.
    """
    if b"\\" in raw and b"\\u0000" in raw:
        return None
    try:
        return _quick(raw)
    except (msgspec.MsgspecError, _Unusual, ValueError, RecursionError):
        return None


def keys_in(raw: bytes) -> int:
    """Return how many keys a JSON document writes, repeated ones included; exact or too high, never too low."""
    # Every key ends in a quote, then perhaps white space, then a colon. Inside a text a quote is escaped, so
    # that a text can only add to the count.
    return raw.translate(None, b" \t\r\n").count(b'":')


def decode_strict(raw: bytes) -> Any:
    """Return the tree of exactly one JSON document, with OutOfRange, Imprecise and Repeated where due.

    Text may hold lone surrogates. Raises Refused with rule `invalid_utf8`, `too_deep` or `invalid_json`.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(
            f"the text is not UTF-8: byte {error.start} cannot be read", rule="invalid_utf8"
        ) from None
    _check_depth(raw)
    try:
        return _strict(text)
    except json.JSONDecodeError as error:
        raise Refused(
            f"this is not one JSON document: {error.msg} at character {error.pos}", rule="invalid_json"
        ) from None


def _check_depth(raw: bytes) -> None:
    """Raise Refused when brackets nest deeper than DEPTH_MAX, before anything recurses into them."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for token in _STRUCTURE.finditer(raw):
        mark = raw[token.start()]
        if mark in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise Refused(f"objects and lists nest deeper than {DEPTH_MAX} levels", rule="too_deep")
        elif mark in b"]}":
            depth -= 1


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return Repeated(key)
        seen.add(key)
    raise AssertionError("fewer keys than pairs, yet none twice")


def _integer(literal: str) -> int | OutOfRange:
    if len(literal) <= _INTEGER_DIGITS_SAFE:
        return int(literal)
    if len(literal) > 17:
        return OutOfRange(literal)
    number = int(literal)
    return number if -INTEGER_MAX <= number <= INTEGER_MAX else OutOfRange(literal)


def _float(literal: str) -> float | OutOfRange | Imprecise:
    number = float(literal)
    if isinf(number) or abs(number) > INTEGER_MAX:
        return OutOfRange(literal)
    mantissa = re.split("[eE]", literal)[0].strip("-0.").replace(".", "")
    if number == 0:
        return OutOfRange(literal) if mantissa else number  # 1e-400 is not nothing
    exact = len(mantissa) <= _FLOAT_DIGITS_SAFE and abs(number) > 1e-300
    return number if exact or _same(literal, number) else Imprecise(literal)


def _same(literal: str, number: float) -> bool:
    """Tell whether writing `number` again gives the value that was sent."""
    return len(literal) < 400 and Decimal(literal) == Decimal(repr(number))


def _constant(literal: str) -> NoReturn:
    raise Refused(f"{literal} is not JSON; send null or a text", rule="invalid_json")


_strict = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
).decode
