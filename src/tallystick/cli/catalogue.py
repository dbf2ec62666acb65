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
from tallystick.catalogue.own import own_actions, product_actions
from tallystick.catalogue.typed import typed_actions
from tallystick.catalogue.usage import used_actions
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


def generate(file: Path | None, product: str | None, output: Path | None, is_check: bool) -> None:
    """Write the actions of FILE, or of a product, as Python: `Actions.api_key.create` for editors and type checkers.

    FILE has one table: [actions], with lines such as "api_key.create" = "API key created". With --check nothing is
    written, and the exit code is 1 when the module is not what FILE says.
    """
    if (file is None) == (product is None):
        raise Refused("Give a file, or --product with one of its names; just one of the two.")
    if file is not None:
        text = typed_actions(_actions_of(file), file.name)
    else:
        text = typed_actions(product_actions(str(product)), str(product))
    if output is None:
        click.echo(text, nl=False)
    elif is_check:
        if not output.is_file() or output.read_text() != text:
            out.print(safe(f"{output} is not what {file or product} says: run the command without --check."))
            raise SystemExit(1)
    else:
        output.write_text(text)


def check_code(file: Path, sources: tuple[Path, ...], seen: Path | None) -> None:
    """Find actions that FILE does not name in Python SOURCES, folders or files. Exit code 1 when there are any.

    Seen is what is given as text to record, action, audited and the like. With --seen, the file that
    `pytest --audit-seen` wrote, what tests have recorded is looked at as well.
    """
    known = _actions_of(file)
    found = [
        (f"{path}:{one.line}", one.action)
        for path in _python_files(sources)
        for one in used_actions(path.read_text("utf-8"), str(path))
    ]
    if seen is not None:
        found += [
            (f"{seen.name}: recorded by a test", name) for name in json.loads(seen.read_text())["actions"]
        ]
    unknown = [(where, name) for where, name in found if name not in known]
    for where, name in unknown:
        out.print(safe(f"{where}: {name} is not in {file.name}"), soft_wrap=True)
    if unknown:
        raise SystemExit(1)
    out.print(f"{len({name for _, name in found})} actions in use, all of them known.")


def _actions_of(file: Path) -> dict[str, str]:
    return own_actions(file.read_text("utf-8"), file.name)


def _python_files(sources: tuple[Path, ...]) -> list[Path]:
    return sorted(one for path in sources for one in (path.rglob("*.py") if path.is_dir() else [path]))


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
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
CATALOGUE.add_command(
    click.Command(
        "gen", callback=generate, help=generate.__doc__, params=[
            click.Argument(["file"], required=False, type=_FILE),
            click.Option(["--product"], type=click.Choice(PRODUCTS), help="A product whose names are known, instead of FILE."),
            click.Option(["-o", "--output"], type=click.Path(path_type=Path, dir_okay=False), help="The module to write."),
            click.Option(["--check", "is_check"], is_flag=True, help="Only tell whether it is up to date."),
        ],
    )
)  # fmt: skip
CATALOGUE.add_command(
    click.Command(
        "check-code", callback=check_code, help=check_code.__doc__, params=[
            click.Argument(["file"], type=_FILE),
            click.Argument(["sources"], nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)),
            click.Option(["--seen"], type=_FILE, help="What tests recorded, as `pytest --audit-seen` wrote it."),
        ],
    )
)  # fmt: skip
