"""Rows of changes: complete, right on both sides, honest about what is masked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tallystick.web.ui.events.diff import Piece, diff_rows, pieces, unchanged_rows, word_diff

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def text_of(side) -> str:
    return "".join(f"[{p.text}]" if p.mark in ("redacted", "truncated") else p.text for p in side)


@given(st.text(alphabet="ab \n.[]", max_size=300), st.text(alphabet="ab \n.[]", max_size=300))
def test_a_word_diff_loses_no_character(before: str, after: str) -> None:
    """A character of a long text would be missing on the page."""
    left, right = word_diff(before, after)
    assert (text_of(left), text_of(right)) == (before, after)
    kept = [p.text for p in left if p.mark == "kept"], [p.text for p in right if p.mark == "kept"]
    assert "".join(kept[0]) == "".join(kept[1])


@given(JSON, JSON)
def test_equal_states_have_no_rows_and_others_have_some(before, after) -> None:
    """A change would be invisible, or something unchanged would look changed."""
    assert diff_rows({"before": before, "after": before}) == []
    rows = diff_rows({"before": before, "after": after})
    assert all(row.kind in ("added", "removed", "changed", "more") for row in rows)
    assert not {row.path for row in unchanged_rows({"before": before, "after": after})} & {
        row.path for row in rows if row.kind == "changed"
    }


def test_one_sided_events_show_their_side() -> None:
    """What a creation began with, or a deletion ended, would not be shown."""
    (row,) = diff_rows({"after": {"rules": [{"limit": 0}]}})
    assert (row.path, row.kind, row.before) == ("/rules/0/limit", "added", None)
    (row,) = diff_rows({"before": {"a/b": False}})
    assert (row.path, row.kind, row.after) == ("/a~1b", "removed", None)
    assert diff_rows({}) == []


def test_masked_and_cut_values_are_badges() -> None:
    """A masked secret would look like a value, or its change would be hidden."""
    (row,) = diff_rows({"before": {"key": {"$redacted": "a1"}}, "after": {"key": {"$redacted": "b2"}}})
    assert (row.path, row.before, row.after) == (
        "/key", (Piece("redacted a1", "redacted"),), (Piece("redacted b2", "redacted"),)
    )  # fmt: skip
    assert pieces({"$truncated": {"bytes": 12_288, "sha256": "00"}}) == (
        Piece("truncated 12 KB", "truncated"),
    )
    assert pieces("token [redacted:9f] end") == (
        Piece("token ", ""), Piece("redacted:9f", "redacted"), Piece(" end", "")
    )  # fmt: skip
    (row,) = diff_rows({"after": {"key": {"$redacted": "a1"}}})
    assert row.path == "/key"


def test_a_long_text_is_compared_word_by_word() -> None:
    """One changed word in a long prompt would have to be searched for by eye."""
    before = "You are a careful assistant that answers questions about refunds."
    (row,) = diff_rows({"before": {"p": before}, "after": {"p": before.replace("careful", "quick")}})
    assert row.before is not None
    assert [p.text for p in row.before if p.mark == "gone"] == ["careful"]
    assert row.after is not None
    assert [p.text for p in row.after if p.mark == "new"] == ["quick"]
