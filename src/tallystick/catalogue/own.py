"""An application's own list of actions: what it may record, as a file beside its code.

[actions]
"api_key.create" = "API key created"
"dataset.delete" = "Dataset deleted"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

from tallystick.catalogue.load import catalogue
from tallystick.catalogue.model import PRODUCTS
from tallystick.errors import Refused

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}")
ACTIONS_MAX: Final = 10_000


def own_actions(text: str, origin: str) -> dict[str, str]:
    """Return the actions of a file, name → title; raises Refused, naming `origin` and what to write, when it is not one."""
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{origin} is no TOML: {error}", rule="shape") from error
    table = read.get("actions")
    if not isinstance(table, Mapping) or not table or read.keys() - {"actions"}:
        raise Refused(
            f'{origin} must have one table, [actions], with lines such as "api_key.create" = "API key created"',
            rule="shape",
        )
    if len(table) > ACTIONS_MAX:
        raise Refused(f"{origin} names {len(table)} actions; {ACTIONS_MAX} is the most", rule="too_many")
    for name, title in table.items():
        if not _NAME.fullmatch(name):
            raise Refused(
                f"{origin}: {name[:80]!r} is no action's name (letters, digits and ._:/-)", rule="action"
            )
        if not isinstance(title, str) or not title.strip():
            raise Refused(f'{origin}: {name} needs a title, as in "{name}" = "API key created"', rule="title")
    return dict(table)


def product_actions(product: str) -> dict[str, str]:
    """Return the actions of a product whose names are known, name → title; Refused for another."""
    known = catalogue()
    if product not in known:
        raise Refused(
            f"There is no product '{product[:40]}'; known are {', '.join(PRODUCTS)}.", rule="product"
        )
    return {name: one.title for name, one in known[product].actions.items()}
