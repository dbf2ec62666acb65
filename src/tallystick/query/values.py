"""One value of a filter: checked, and in the form in which it is compared."""

from __future__ import annotations

from typing import assert_never

from tallystick.errors import Refused
from tallystick.event.address import read_ip
from tallystick.query.filters import Filter
from tallystick.query.text import fold, fold_ascii, split_pattern


def read_value(filter: Filter, text: str, key: str) -> str:
    """Return the canonical form of one value of a clause, so that equal values are equal texts.

    Raises Refused naming `key`, the name the caller used.
    """
    check_text(text, key, filter.characters_max)
    match filter.kind:
        case "exact":
            return text
        case "person":
            return fold(text)
        case "pattern":
            return _read_pattern(text, key)
        case "word":
            if text not in filter.words:
                raise refusal(key, f"'{text[:64]}' is none of {', '.join(filter.words)}.")
            return text
        case "address":
            address, doubt = read_ip(text)
            if not address or doubt:
                raise refusal(key, f"'{text[:64]}' is no IP address.")
            return address
        case "moment" | "range" | "language":
            raise AssertionError(f"{filter.name} is no clause")
        case _:
            assert_never(filter.kind)


def check_text(text: str, key: str, characters_max: int) -> None:
    """Raise Refused naming `key` when no event can hold `text`: empty, too long, or not storable."""
    if not text:
        raise refusal(key, "the value is empty. Leave the filter out, or give it a value.")
    if len(text) > characters_max:
        raise refusal(key, f"the value has {len(text)} characters, at most {characters_max} are allowed.")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise refusal(key, "the value holds U+0000 or half a surrogate pair, which no event can hold.")


def refusal(key: str, why: str) -> Refused:
    """Return the error for a bad value of `key`."""
    return Refused(f"{key[:64]}: {why}", path="/" + key[:64], rule="filter")


def _read_pattern(text: str, key: str) -> str:
    inner, tied_start, tied_end = split_pattern(text)
    if not inner:
        raise refusal(key, "there is no text beside the anchor ^ or $.")
    return "^" * tied_start + fold_ascii(inner) + "$" * tied_end
