"""The packs as they are declared in this folder, read and checked once."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec
from msgspec import Struct

from tallystick.errors import Refused
from tallystick.query.parse import parse
from tallystick.services.packs.checks import CHECKS

# In the order in which they are listed; each is a file of this folder.
NAMES: Final = ("soc2", "iso27001", "pci-dss", "hipaa", "nist-800-53")


class DeclaredControl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A control: its id in the standard, what it asks in our words, the query that shows it, and what no log shows."""

    id: str
    title: str
    asks: str
    query: str
    checks: tuple[str, ...]
    missing: str


class Pack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pack: which events its bundle holds in full (`filter`), and its controls."""

    name: str
    title: str
    source: str
    filter: str
    controls: tuple[DeclaredControl, ...]


@lru_cache(maxsize=1)
def packs() -> dict[str, Pack]:
    """Return all packs by name; a fault in their declaration is a fault of this release and raises ValueError."""
    folder = resources.files("tallystick.services.packs")
    found = {
        name: msgspec.convert(tomllib.loads(folder.joinpath(f"{name}.toml").read_text("utf-8")), Pack)
        for name in NAMES
    }
    for name, pack in found.items():
        for fault in faults_of(pack, name):
            raise ValueError(f"services/packs/{name}.toml: {fault}")
    return found


def faults_of(pack: Pack, name: str) -> list[str]:
    """Return what is wrong with a declaration, in sentences; nothing when all is well."""
    faults = [] if pack.name == name else [f"its name is {pack.name}, its file's {name}"]
    faults += [f"{one} stands twice" for one in {c.id for c in pack.controls if sum(c.id == o.id for o in pack.controls) > 1}]  # fmt: skip
    for control in pack.controls:
        if not control.checks:
            faults.append(f"{control.id} has no check")
        faults += [f"{control.id}: there is no check {one}" for one in control.checks if one not in CHECKS]
        for part in ("title", "asks", "query", "missing"):
            if not getattr(control, part).strip():
                faults.append(f"{control.id} has no {part}")
        try:
            parse([("q", control.query)], now=datetime(2026, 1, 1, tzinfo=UTC))
        except Refused as error:
            faults.append(f"{control.id}: its query cannot be read: {error}")
    return faults
