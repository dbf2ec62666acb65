"""Canonical JSON (RFC 8785, "JCS"): one value, one sequence of bytes, in every language.

`msgspec` writes these bytes at the speed of C, with two exceptions that are handled here: floats, and keys
beyond the basic multilingual plane, which JCS sorts by UTF-16 code unit. A property test holds the result
equal to the reference `rfc8785`, which is not needed at run time: an SDK should bring as little as it can.
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any, Final

from msgspec import Raw
from msgspec.json import Encoder

from tallystick.errors import Refused
from tallystick.event.limits import INTEGER_MAX

_encode = Encoder(order="deterministic").encode
_NON_BMP_LEADS: Final = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")

# The canonical bytes of one text: no key to sort and no number to write, hence nothing to look after.
canonical_text = Encoder().encode
_encode_as_ordered = canonical_text


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value (dict, list, str, int, float, bool or None).

    Raises Refused for what JSON readers would not agree on: NaN, infinity, an integer outside ±(2^53−1), a
    lone surrogate, a key that is not text.
    """
    try:
        return canonical_plain(_write_floats(value, "") if _needs_care(value) else value)
    except UnicodeEncodeError:
        raise Refused("a lone surrogate has no canonical form", rule="surrogate") from None


def canonical_plain(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a value known to hold no float and no integer beyond ±(2^53−1)."""
    written = _encode(value)
    if written.isascii() or not any(lead in written for lead in _NON_BMP_LEADS):
        return written
    # Code points sort differently from UTF-16 code units only where a key is beyond U+FFFF.
    return _encode_as_ordered(_in_utf16_order(value)) if _has_non_bmp_key(value) else written


def number_text(number: float) -> str:
    """Return how ECMAScript writes a finite double (ECMA-262, Number::toString), as RFC 8785 asks.

    Python's digits are the same, the shortest that read back as `number`; only the notation differs.
    """
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0") if number else "0"
    mantissa, _, digits = text.partition("e")
    exponent = int(digits)
    return f"{Decimal(text):f}" if -7 < exponent < 21 else f"{mantissa}e{exponent:+d}"


def _needs_care(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return any(type(key) is not str for key in value) or any(map(_needs_care, value.values()))
    if kind is list or kind is tuple:
        return any(map(_needs_care, value))
    if kind is int:
        return not -INTEGER_MAX <= value <= INTEGER_MAX
    return kind is float


def _write_floats(value: Any, path: str) -> Any:
    """Return `value` with each float already written out, after refusing what has no canonical form."""
    match value:
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise Refused(f"the key {key!r} is not text", path=path, rule="key")
            return {key: _write_floats(item, f"{path}/{key}") for key, item in value.items()}
        case list() | tuple():
            return [_write_floats(item, f"{path}/{index}") for index, item in enumerate(value)]
        case float():
            if not isfinite(value):
                raise Refused(f"{value} is not a JSON number", path=path, rule="number")
            return Raw(number_text(value).encode())
        case int() if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise Refused(f"{value} is beyond ±(2^53−1)", path=path, rule="number")
        case _:
            return value


def _has_non_bmp_key(value: Any) -> bool:
    if isinstance(value, dict):
        return any(max(key, default="") > "\uffff" for key in value) or any(
            map(_has_non_bmp_key, value.values())
        )
    return isinstance(value, list | tuple) and any(map(_has_non_bmp_key, value))


def _in_utf16_order(value: Any) -> Any:
    """Return `value` with the keys of every object in the order of their UTF-16 code units."""
    match value:
        case dict():
            ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
            return {key: _in_utf16_order(item) for key, item in ordered}
        case list() | tuple():
            return [_in_utf16_order(item) for item in value]
        case _:
            return value
