"""Text of events on a page: nothing in it is markup, and nothing in it can hide, reorder or imitate.

A character that shows nothing, moves what stands beside it or is not the space it looks like becomes a visible chip
with its number and name (UTS 36, 3.1; UAX 9). Autoescaping does the rest.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from markupsafe import Markup, escape

MARKS_MAX = 3  # combining marks on one letter; more climb over the lines above and below
CHARACTERS_MAX = 20_000  # of one value on a page; the raw event has all of it
_ID = re.compile(r"[A-Za-z0-9._:/@+-]{1,512}")
_AT = re.compile(r"@(?=.)")
_AFTER = re.compile(r"[._:/@-](?=.)")
_PLAIN = re.compile(r"[ -~]*")
_HIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Letters and marks that are drawn as nothing: Hangul fillers, Khmer inherent vowels, Mongolian selectors, Braille blank.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SHORT = {"\n": "LF", "\r": "CR", "\t": "TAB", "\x1b": "ESC", "\x00": "NUL"}


def shown(text: object, *, lines: bool = False) -> Markup:
    """Return `text` for a page: escaped, what cannot be seen made visible; with `lines`, line ends also break lines."""
    value = str(text)
    if _PLAIN.fullmatch(value) and len(value) <= CHARACTERS_MAX:
        return escape(value)
    return _shown(value, lines) if len(value) <= 256 else _chipped(value, lines)


@lru_cache(maxsize=4_096)
def _shown(text: str, lines: bool) -> Markup:
    return _chipped(text, lines)


def _chipped(text: str, lines: bool) -> Markup:
    pieces: list[str] = []
    marks = 0
    for at, character in enumerate(text[:CHARACTERS_MAX]):
        if unicodedata.combining(character):
            marks += 1
            if marks > MARKS_MAX:
                continue
        elif marks > MARKS_MAX:
            pieces.append(_marks_chip(marks - MARKS_MAX))
            marks = 0
        else:
            marks = 0
        if character == "\n" and lines:
            pieces.append("\n")
        elif _is_hidden(character, text[at - 1] if at else ""):
            pieces.append(_chip(character))
        else:
            pieces.append(str(escape(character)))
    if marks > MARKS_MAX:
        pieces.append(_marks_chip(marks - MARKS_MAX))
    if len(text) > CHARACTERS_MAX:
        pieces.append(f'<span class="more">… {len(text) - CHARACTERS_MAX:,} more characters</span>')
    return Markup("".join(pieces))  # noqa: S704 - every piece above is escaped or written here


def breakable(text: str) -> Markup:
    """Return an id or an action as `shown` does, and let a long one break behind its dots, dashes and underscores."""
    after = _AT if "@" in text else _AFTER
    return Markup(after.sub(r"\g<0><wbr>", text)) if _ID.fullmatch(text) else shown(text)  # noqa: S704 - letters, digits and these


def is_plain(text: str) -> bool:
    """Tell whether nothing in `text` had to be made visible."""
    return not any(_is_hidden(character, text[at - 1] if at else "") for at, character in enumerate(text))


def _is_hidden(character: str, before: str) -> bool:
    if "!" <= character <= "~" or character == " ":
        return False
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        # A variation selector behind a symbol says that it is an emoji; anywhere else it is a hiding place.
        return character != "\ufe0f" or unicodedata.category(before or " ") not in ("So", "Sk", "Po", "Nd")
    category = unicodedata.category(character)
    return category in _HIDDEN_CATEGORIES or category == "Zs" or character in _BLANKS


def _chip(character: str) -> str:
    number = f"U+{ord(character):04X}"
    name = unicodedata.name(
        character, "no character" if unicodedata.category(character) == "Cn" else "control"
    )
    label = _SHORT.get(character, number)
    return f'<span class="ch" title="{number} {escape(name.lower())}">{label}</span>'


def _marks_chip(count: int) -> str:
    return f'<span class="ch" title="{count} further combining marks">+{count} marks</span>'
