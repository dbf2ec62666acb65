"""Search flags, made from the one declaration of filters."""

from __future__ import annotations

from typing import Any

import click

from tallystick.query import FILTERS


def options() -> list[click.Parameter]:
    """Return a flag for each filter, repeatable where the filter is."""
    return [
        click.Option(
            [f"--{f.name.replace('_', '-')}", f"filter_{f.name}"],
            multiple=f.repeats,
            type=click.Choice(list(f.words)) if f.words else str,
            help=f"{f.summary} Example: {f.example}",
            metavar=None if f.words else "TEXT",
        )
        for f in FILTERS
    ]


def pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the query parameters that the given flags mean."""
    found: list[tuple[str, str]] = []
    for f in FILTERS:
        given = values.get(f"filter_{f.name}")
        for value in given if isinstance(given, tuple) else [given]:
            if value is not None:
                found.append((f.name, value))
    return found
