"""Text of events on a page: harmless, and nothing in it unseen."""

from __future__ import annotations

import html
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.web.ui.events.display import CHARACTERS_MAX, is_plain, shown

CHIP = re.compile(r'<span class="ch" title="[^"<>]*">[^<>]*</span>')


def texts_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))


@given(st.text(max_size=400))
def test_no_text_is_markup_or_invisible(text: str) -> None:
    """A name could be markup, or hold a character that nobody sees."""
    page = str(shown(text))
    left = CHIP.sub("", page)
    assert "<" not in left
    assert ">" not in left
    assert '"' not in left
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in page)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=400))
def test_plain_text_stays_as_it_is(text: str) -> None:
    """An ordinary name would be shown otherwise than it was sent."""
    assert texts_of(str(shown(text))) == text
    assert is_plain(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("invoice\u202efdp.exe", "invoiceU+202Efdp.exe"),
        ("ad\u200bm\u200din\ufeff", "adU+200BmU+200DinU+FEFF"),
        ("a\u00a0b\u3000c", "aU+00A0bU+3000c"),
        ("\u3164", "U+3164"),
        ("\x1b[2K\rOK", "ESC[2KCROK"),
        ("x\ny", "xLFy"),
        ("Zoë Ñandú 山田 حسن", "Zoë Ñandú 山田 حسن"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("a\ufe0f", "aU+FE0F"),
        ("\U000e0041", "U+E0041"),
    ],
)
def test_what_hides_becomes_a_chip(text: str, seen: str) -> None:
    """A right-to-left override, an empty letter or an escape would do its work on a reader."""
    assert texts_of(str(shown(text))) == seen
    assert is_plain(text) == (texts_of(str(shown(text))) == text)


def test_a_tower_of_marks_is_cut_down() -> None:
    """Four thousand marks on one letter would cover the lines above and below."""
    assert texts_of(str(shown("Z" + "\u0301" * 4000 + "a"))) == "Z\u0301\u0301\u0301+3997 marksa"


def test_lines_break_only_where_asked() -> None:
    """A name with a line end could look like two rows."""
    assert "\n" not in shown("a\nb")
    assert "\n" in shown("a\nb", lines=True)


def test_a_very_long_value_says_how_much_is_left() -> None:
    """A value of megabytes would be cut without a word, or would freeze the page."""
    assert "7 more characters" in shown("x" * (CHARACTERS_MAX + 7))


def test_the_display_groups_of_the_hostile_sample(shared) -> None:
    """A payload known to fool viewers would pass."""
    with (shared / "hostile-sample.jsonl").open() as lines:
        cases = [one for line in lines if (one := json.loads(line))["group"].startswith(("display", "text"))]
    assert len(cases) > 20
    for case in cases:
        for text in _texts(case["request"].get("body", {})):
            left = CHIP.sub("", str(shown(text)))
            assert "<" not in left, case["id"]
            assert "javascript:" not in left or "href" not in left, case["id"]


def _texts(value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
