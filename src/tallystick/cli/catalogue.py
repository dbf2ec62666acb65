"""`catalogue`: what an action name means here, and whether the catalogue is whole and sound."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec
from rich.table import Table

from tallystick.catalogue import (
    ACTIVITIES,
    CLASS_NAMES,
    PRODUCTS,
    ActionInfo,
    catalogue,
    coverage,
    describe,
    lint,
    operations,
)
from tallystick.cli.output import out, safe
from tallystick.errors import Refused


def show(action: str | None, product: str | None, as_json: bool) -> None:
    """Show what is known of ACTION, or of all actions of a product.

    Any name has an answer: one no product publishes is read by its words.
    """
    if (action is None) == (product is None):
        raise Refused("Give an action, or --product with one of its names; just one of the two.")
    names = (action,) if action is not None else operations(str(product))
    found = [describe(name) for name in names]
    if as_json:
        for one in found:
            click.echo(json.dumps(msgspec.to_builtins(one)))
        return
    table = _table("action", "title", "verb", "target", "sensitivity", "OCSF", "in 6003", "products")
    for one in found:
        table.add_row(*(safe(cell) for cell in _row(one)))
    out.print(table)


def _row(one: ActionInfo) -> tuple[str, ...]:
    return (
        one.name,
        one.title,
        one.verb,
        one.target_type or "—",
        one.sensitivity,
        f"{one.class_uid} {CLASS_NAMES[one.class_uid]}: {ACTIVITIES[one.class_uid][one.activity_id]}",
        ACTIVITIES[6003][one.api_activity_id],
        ", ".join(one.products) or "read by its words",
    )


def check() -> None:
    """Refuse entries without a class and a title, and names that mean two things. Exit code 1 when there are any."""
    findings = lint()
    for one in findings:
        out.print(safe(f"{one.where}: {one.message}"))
    count = sum(len(product.actions) for product in catalogue().values())
    if findings:
        raise SystemExit(1)
    out.print(f"{count} entries of {len(catalogue())} products, nothing to mend.")


def show_coverage(lists: Path | None) -> None:
    """Tell for each product whether every name it publishes has an entry. Exit code 1 when one is missing.

    Without --lists the names are held against the count and digest of the published list in the catalogue.
    """
    published = None
    if lists is not None:
        files = {name: lists / f"catalogue-{name}.txt" for name in PRODUCTS}
        published = {name: file.read_text().split() for name, file in files.items() if file.is_file()}
        if not published:
            raise Refused(f"{lists} holds no catalogue-<product>.txt.")
    rows = coverage(published=published)
    table = _table("product", "published", "with an entry", "further names", "")
    for one in rows:
        table.add_row(
            one.title,
            str(one.published),
            "unknown" if one.covered is None else str(one.covered),
            str(one.additional),
            safe("complete" if one.is_complete else one.sentence()),
        )
    out.print(table)
    if not all(one.is_complete for one in rows):
        raise SystemExit(1)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name)
    return table


CATALOGUE = click.Group("catalogue", help="What action names mean, and whether all known ones are covered.")
CATALOGUE.add_command(
    click.Command(
        "show", callback=show, help=show.__doc__, params=[
            click.Argument(["action"], required=False),
            click.Option(["--product"], type=click.Choice(PRODUCTS), help="All actions of one product."),
            click.Option(["--json", "as_json"], is_flag=True, help="One JSON object a line."),
        ],
    )
)  # fmt: skip
CATALOGUE.add_command(click.Command("lint", callback=check, help=check.__doc__))
CATALOGUE.add_command(
    click.Command(
        "coverage", callback=show_coverage, help=show_coverage.__doc__, params=[
            click.Option(["--lists"], type=click.Path(path_type=Path, exists=True, file_okay=False),
                         help="A folder of catalogue-<product>.txt, a published name a line, to compare with."),
        ],
    )
)  # fmt: skip
