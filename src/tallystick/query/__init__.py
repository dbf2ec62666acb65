"""Queries: their filters, their text, what they mean, and the cursors of their pages."""

from tallystick.query.cursor import Place, read_cursor, write_cursor
from tallystick.query.filters import FILTERS, PAGE_ALIASES, Filter
from tallystick.query.meaning import matches
from tallystick.query.model import Clause, Query, filters_of
from tallystick.query.parse import format, parse

__all__ = [
    "FILTERS",
    "PAGE_ALIASES",
    "Clause",
    "Filter",
    "Place",
    "Query",
    "filters_of",
    "format",
    "matches",
    "parse",
    "read_cursor",
    "write_cursor",
]
