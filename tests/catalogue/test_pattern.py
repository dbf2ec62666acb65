"""Patterns of an organization's schema: the harmless are accepted, the explosive refused."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.catalogue.pattern import PATTERN_CHARACTERS_MAX, WAYS_MAX, BoundedPattern, PatternRefused


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("^[A-Z]+-[0-9]+$", "AB-12", "ab-12"),
        ("^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "0190a4e2-0000-7000-8000-0123456789ab", "x"),
        (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", "bo@example.com", "bo"),
        ("^(?:low|medium|high)$", "medium", "none"),
        ("^(low|high)?$", "", "none"),
        ("^a{,3}$", "aa", "aaaa"),
        (r"^\[x]\(y\)\|[)(|*+?]$", "[x](y)|*", "x"),
        ("^[]a]+$", "]a", "b"),
        ("x{a}", "x{a}", "x"),
        ("^v[0-9]+(?:[.][0-9]{1,3}){2}$", "v1.20.3", "v1.20"),
    ],
)
def test_what_people_write_is_accepted(pattern: str, yes: str, no: str) -> None:
    """An ordinary pattern would be refused, or mean something else."""
    bounded = BoundedPattern(pattern)
    assert bounded.search(yes)
    assert not bounded.search(no)
    assert bounded.ways(max(len(yes), len(no))) <= WAYS_MAX


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "^(a*)*$", "^(a|a)*$", "^(a|ab)+$", "(a?){30}", "(?:a{1,5}){1,9}", "(x+x+)+y", "((ab)+c)*", "(" * 20 + "a?" + "){8}" * 20, "((a|b)c)*",
        r"(a)\1", "(?=a)b", "(?<!a)b", "(?i)a", "(?P<n>a)", "a++", "(", "[", "a**", "a" * (PATTERN_CHARACTERS_MAX + 1),
    ],
)  # fmt: skip
def test_what_explodes_is_refused(pattern: str) -> None:
    """A pattern whose cost cannot be bounded would run on every event."""
    with pytest.raises(PatternRefused):
        BoundedPattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "characters", "ways"),
    [
        ("^abc$", 1_000, 1),
        ("abc", 1_000, 1_001),
        ("^a*$", 1_000, 1_001),
        ("^a*b*$", 1_000, 1_001**2),
        ("^a?b?$", 1_000, 4),
        ("^a{2,5}$", 1_000, 4),
        ("^a{2,500}$", 10, 11),
        ("^(?:a|b|c)$", 1_000, 3),
        ("^a|b$", 9, 20),
        ("^a{7}$", 1_000, 1),
        ("^(?:a{1,5}){1,5}$", 1_000, 5**6),
        ("^(?:a+b){2}$", 9, 100),
    ],
)
def test_ways_are_counted(pattern: str, characters: int, ways: int) -> None:
    """A costly pattern would be taken for a cheap one."""
    assert BoundedPattern(pattern).ways(characters) == ways


PIECES = st.sampled_from(
    ["a", "b", "[ab]", ".", r"\w", "a*", "[ab]+", "b?", "a{1,3}", ".*", "(?:a|b)", "(?:ab)*", "a+?"]
)


@settings(max_examples=100)
@given(st.lists(PIECES, min_size=1, max_size=6), st.booleans(), st.text("ab", max_size=200))
def test_an_affordable_match_is_quick(pieces: list[str], is_anchored: bool, text: str) -> None:
    """The count of ways would not bound the time."""
    pattern = ("^" if is_anchored else "") + "".join(pieces) + "c$"
    bounded = BoundedPattern(pattern)
    if bounded.ways(len(text)) <= WAYS_MAX:
        started = time.monotonic()
        assert bounded.search(text) == (re.search(pattern, text) is not None)
        assert time.monotonic() - started < 10
