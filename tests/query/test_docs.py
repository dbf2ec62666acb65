"""The reference page of searching says what the declaration of the filters says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.query.filters import FILTERS, PAGE_ALIASES, PAGE_KEYS, Filter
from tallystick.query.model import LIMIT_MAX, OFFSET_MAX

PAGE = (Path(__file__).parents[2] / "docs/reference/search.md").read_text()


def line_of(filter: Filter) -> str:
    """Return the line of the page's table that belongs to a filter."""
    aliases = ", ".join(f"`{alias}`" for alias in filter.aliases)
    words = f" One of {', '.join(f'`{word}`' for word in filter.words)}." if filter.words else ""
    return f"| `{filter.name}` | {aliases} | {filter.summary}{words} | `{filter.example}` |"


@pytest.mark.parametrize("filter", FILTERS, ids=lambda filter: filter.name)
def test_every_filter_stands_on_the_page(filter: Filter) -> None:
    """A filter that exists and is not documented, or is documented as something else."""
    assert line_of(filter) in PAGE.splitlines()


def test_the_page_names_what_a_page_takes() -> None:
    """An option of paging, or a limit of it, that nobody can find."""
    for word in (*PAGE_KEYS, *PAGE_ALIASES):
        assert f"`{word}`" in PAGE
    assert f"1 to {LIMIT_MAX:,}" in PAGE
    assert f"at most {OFFSET_MAX:,}" in PAGE
