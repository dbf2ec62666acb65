"""Bound the time a regular expression of an organization's schema can take.

Python's matcher tries every way a pattern can divide a string. A pattern is accepted only when the number
of those ways can be counted from the pattern and the length of the string: no repetition or choice inside
an open repetition, nothing that looks around or back. Then the count is the product of the choices, and a
string for which it is too large is not matched but reported.

Patterns are Python's: close to ECMA-262, which JSON Schema names, for the subset that is accepted.
"""

from __future__ import annotations

import re

PATTERN_CHARACTERS_MAX = 256
# Ways to divide strings that one event may cost altogether; a second or so at worst.
WAYS_MAX = 30_000_000
# Rounds of a group that itself leaves choices; their numbers multiply.
ROUNDS_MAX = 8
CHOICES_MAX = 256

_REPEAT = re.compile(r"\*|\+|\?|\{(\d*)(,?)(\d*)\}")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_REFUSED_ESCAPES = frozenset("123456789kgpP")


class PatternRefused(ValueError):
    """The pattern is not one whose cost can be bounded; the text says which part and what to write instead."""


class BoundedPattern:
    """A compiled pattern together with the choices that decide how long it can take.

    Raises PatternRefused when the pattern is too long, invalid, or outside the accepted subset.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > PATTERN_CHARACTERS_MAX:
            raise PatternRefused(
                f"a pattern may have {PATTERN_CHARACTERS_MAX} characters, this one has {len(pattern)}"
            )
        try:
            self._compiled = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise PatternRefused(f"the pattern is not valid: {error}") from None
        reader = _Reader(pattern)
        reader.alternatives(depth=0)
        self._choices = reader.choices
        # An unanchored pattern is tried from every character.
        self._starts = [None] if not pattern.startswith("^") or reader.has_top_level_choice else []

    def ways(self, characters: int) -> int:
        """Return an upper bound of the ways to match a string of that many characters."""
        product = 1
        for most in (*self._choices, *self._starts):
            product *= characters + 1 if most is None else min(most, characters + 1)
        return product

    def search(self, text: str) -> bool:
        """Tell whether the pattern occurs in `text`; only to be asked when `ways(len(text))` is affordable."""
        return self._compiled.search(text) is not None


class _Reader:
    """Reads a pattern once, left to right, noting how many choices each part leaves."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self.choices: list[int | None] = []  # None: as many as the string has characters
        self.has_top_level_choice = False

    def alternatives(self, *, depth: int) -> None:
        """Read up to the end of a group (or of the pattern)."""
        branches = 1
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == ")" and depth:
                break
            self._at += 1
            if character == "|":
                branches += 1
                self.has_top_level_choice |= depth == 0
                continue
            self._item(character, depth)
        if branches > 1:
            self.choices.append(branches)

    def _item(self, character: str, depth: int) -> None:
        before = len(self.choices)
        if character == "(":
            self._group(depth)
        elif character == "[":
            self._at -= 1
            found = _CLASS.match(self._text, self._at)
            if found is None:
                raise PatternRefused("a character class is not closed")
            self._at = found.end()
        elif character == "\\":
            if self._text[self._at : self._at + 1] in _REFUSED_ESCAPES:
                raise PatternRefused(
                    r"a pattern may not refer back to a group (\1) or to a Unicode property (\p)"
                )
            self._at += 1
        self._repeat(self.choices[before:])

    def _group(self, depth: int) -> None:
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise PatternRefused(
                    "a pattern may use plain groups (…) and (?:…), nothing that looks ahead or behind"
                )
            self._at += 2
        self.alternatives(depth=depth + 1)
        self._at += 1

    def _repeat(self, inside: list[int | None]) -> None:
        found = _REPEAT.match(self._text, self._at)
        if found is None or found.group() in ("{}", "{,}"):
            return
        self._at = found.end()
        if self._text.startswith("?", self._at):
            self._at += 1
        if self._text.startswith("+", self._at):
            raise PatternRefused("a pattern may not use possessive repetition (a++)")
        least, most = _bounds(found)
        if inside:
            if most is None or most > ROUNDS_MAX:
                raise PatternRefused(
                    "a group that holds a repetition or a choice (a|b) may itself repeat "
                    f"at most {ROUNDS_MAX} times, as in {{0,{ROUNDS_MAX}}}"
                )
            self.choices += inside * (most - 1)
            if len(self.choices) > CHOICES_MAX:
                raise PatternRefused("groups repeat inside groups that repeat; write the pattern flatter")
        if most is None:
            self.choices.append(None)
        elif most > least:
            self.choices.append(most - least + 1)


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    match repeat.group():
        case "*":
            return 0, None
        case "+":
            return 1, None
        case "?":
            return 0, 1
        case _:
            least, comma, most = repeat.groups()
            if not comma:
                return int(least), int(least)
            return int(least or 0), int(most) if most else None
