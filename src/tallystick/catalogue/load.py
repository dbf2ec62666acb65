"""Read the catalogue that ships with the package; once a process, in a few milliseconds.

Each product's actions stand in one literal string inside its TOML file, one line an action. A TOML table
for each action says no more, is eight lines long and takes sixty times as long to parse.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, cast

from tallystick.catalogue.model import (
    PRODUCTS,
    Family,
    KnownAction,
    Product,
    Published,
    Sensitivity,
    TargetType,
    Verb,
)
from tallystick.catalogue.words import singular
from tallystick.errors import Misconfigured

# name, title, verb class, target type, sensitivity, native class.activity, activity in the 6003 view
ACTION_COLUMNS = 7
# name, label, family, sensitivity, Mistral's word, also called
TARGET_TYPE_COLUMNS = 6


def _resource(path: str) -> str:
    return files("tallystick.catalogue").joinpath(path).read_text("utf-8")


def rows(table: str, columns: int, origin: str) -> Iterator[list[str]]:
    """Yield the cells of each line of a `|` table; blank lines and lines that start with `#` say nothing.

    Raises Misconfigured, naming `origin` and the line, when a line has another number of cells.
    """
    for line in table.splitlines():
        if not line or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != columns:
            raise Misconfigured(
                f"{origin}: a line must have {columns} cells, found {len(cells)}: {line.strip()!r}"
            )
        yield cells


def parse_action(cells: list[str], product: str) -> KnownAction:
    """Build one entry from its cells; the values are not judged here, that is the lint's work.

    Raises Misconfigured when the OCSF cells are not `class.activity` and a number.
    """
    name, title, verb, target_type, sensitivity, native, api_activity = cells
    class_uid, _, activity_id = native.partition(".")
    try:
        return KnownAction(
            name, product, title, cast(Verb, verb), target_type, cast(Sensitivity, sensitivity),
            int(class_uid), int(activity_id), int(api_activity),
        )  # fmt: skip
    except ValueError:
        raise Misconfigured(
            f"{product}: the OCSF cells of {name!r} must be class.activity and a number, "
            f"found {native!r} and {api_activity!r}"
        ) from None


def parse_product(text: str, name: str) -> Product:
    """Parse one product's TOML file.

    Raises Misconfigured when a line is malformed or a name stands there twice.
    """
    document: dict[str, Any] = tomllib.loads(text)
    actions: dict[str, KnownAction] = {}
    for cells in rows(document["actions"], ACTION_COLUMNS, f"{name}.toml"):
        action = parse_action(cells, name)
        if action.name in actions:
            raise Misconfigured(f"{name}.toml: {action.name!r} is there twice")
        actions[action.name] = action
    published = document.get("published")
    return Product(
        name=name,
        title=document["title"],
        published=Published(published["count"], published["sha256"]) if published else None,
        additional=frozenset(document.get("additional", ())),
        actions=actions,
    )


@cache
def catalogue() -> dict[str, Product]:
    """Return every product's part of the catalogue by product name, in the order of `PRODUCTS`."""
    return {name: parse_product(_resource(f"actions/{name}.toml"), name) for name in PRODUCTS}


@cache
def target_types() -> dict[str, TargetType]:
    """Return every declared target type by name.

    Raises Misconfigured when a line is malformed or a type stands there twice.
    """
    types: dict[str, TargetType] = {}
    for cells in rows(
        tomllib.loads(_resource("target_types.toml"))["types"], TARGET_TYPE_COLUMNS, "target_types.toml"
    ):
        name, label, family, sensitivity, mistral, also = cells
        if name in types:
            raise Misconfigured(f"target_types.toml: {name!r} is there twice")
        types[name] = TargetType(
            name=name,
            label=label,
            family=cast(Family, family),
            sensitivity=cast(Sensitivity, sensitivity),
            mistral=None if mistral == "-" else mistral,
            also_called=tuple(phrase.strip() for phrase in also.split(",") if phrase.strip()),
        )
    return types


@cache
def type_phrases() -> dict[tuple[str, ...], TargetType]:
    """Return the target type that each run of singular words names: its own name and what it is also called."""
    phrases: dict[tuple[str, ...], TargetType] = {}
    for declared in target_types().values():
        for phrase in (declared.name.replace("_", " "), *declared.also_called):
            phrases.setdefault(tuple(singular(word) for word in phrase.split()), declared)
    return phrases
