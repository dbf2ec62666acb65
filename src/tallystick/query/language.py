"""The language of `q`: `key:value`, `-key:value`, `"quoted text"` and free words, separated by spaces."""

from __future__ import annotations

from typing import NamedTuple

from tallystick.errors import Refused


class Term(NamedTuple):
    """One term of `q`; `key` is "" for a free word."""

    never: bool
    key: str
    value: str


def read_terms(text: str, key: str = "q") -> list[Term]:
    """Split `text` into its terms; inside quotes, backslash makes the next quote or backslash literal.

    Raises Refused naming `key` for a quote that is not closed, a minus without a term or a value without text.
    """
    terms: list[Term] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        term, at = _read_term(text, at, key)
        terms.append(term)
    return terms


def write_term(term: Term) -> str:
    """Write a term so that `read_terms` gives it back."""
    minus = "-" if term.never else ""
    value = _quoted(term.value) if _needs_quotes(term) else term.value
    return f"{minus}{term.key}:{value}" if term.key else minus + value


def _read_term(text: str, at: int, key: str) -> tuple[Term, int]:
    never = text[at] == "-"
    at += never
    name, value, quoted = "", [], False
    while at < len(text) and not text[at].isspace():
        if text[at] == '"':
            part, at = _read_quoted(text, at + 1, key)
            value.append(part)
            quoted = True
        elif text[at] == ":" and not name and not quoted and value:
            name, value = "".join(value), []
            at += 1
        else:
            value.append(text[at])
            at += 1
    if not name and not value and not quoted:
        raise Refused(f"{key}: a minus sign stands before nothing.", path="/" + key, rule="filter")
    if name and not value:
        raise Refused(f"{key}: '{name[:64]}:' has no value.", path="/" + name[:64], rule="filter")
    return Term(never, name, "".join(value)), at


def _read_quoted(text: str, at: int, key: str) -> tuple[str, int]:
    """Return the text up to the closing quote, and the place after it."""
    part: list[str] = []
    while at < len(text):
        character = text[at]
        if character == '"':
            return "".join(part), at + 1
        if character == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
            character = text[at]
        part.append(character)
        at += 1
    raise Refused(f"{key}: a quote is not closed.", path="/" + key, rule="filter")


def _needs_quotes(term: Term) -> bool:
    value = term.value
    if not value or '"' in value or any(character.isspace() for character in value):
        return True
    return not term.key and (value.startswith("-") or ":" in value)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
