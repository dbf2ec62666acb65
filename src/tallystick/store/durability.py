"""What a PostgreSQL must promise before we acknowledge anything on it, asked of the server itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from tallystick.errors import Misconfigured

Level = Literal["refuse", "warn"]
MAJOR_MIN = 15


@dataclass(frozen=True)
class Finding:
    """One setting of the server that endangers what we promise, why, and what to do about it."""

    level: Level
    setting: str
    value: str
    why: str
    what_to_do: str

    def __str__(self) -> str:
        return f"{self.setting} = {self.value}: {self.why} {self.what_to_do}"


@dataclass(frozen=True)
class _Rule:
    setting: str
    level: Level
    is_bad: Callable[[str], bool]
    why: str
    what_to_do: str


_RULES = (
    _Rule(
        "server_version_num",
        "refuse",
        lambda value: int(value) < MAJOR_MIN * 10_000,
        "The schema needs PostgreSQL 15 or newer.",
        "Upgrade the server, or leave TALLYSTICK_DATABASE_URL unset to use the embedded one.",
    ),
    _Rule(
        "server_encoding",
        "refuse",
        lambda value: value != "UTF8",
        "Events are Unicode text and could not be stored as they are.",
        "Create a database with: CREATE DATABASE tallystick TEMPLATE template0 ENCODING 'UTF8'.",
    ),
    _Rule(
        "fsync",
        "refuse",
        lambda value: value == "off",
        "A crash of the machine can destroy the whole database, acknowledged events included.",
        "Set fsync = on in postgresql.conf and reload.",
    ),
    _Rule(
        "full_page_writes",
        "refuse",
        lambda value: value == "off",
        "A crash of the machine can leave half-written pages that no replay repairs.",
        "Set full_page_writes = on in postgresql.conf and reload.",
    ),
    _Rule(
        "synchronous_commit",
        "warn",
        lambda value: value == "off",
        "A commit would be acknowledged before it is on disk; Tallystick turns it on for its own transactions.",
        "Set synchronous_commit = on for the server, the database and the roles.",
    ),
    _Rule(
        "data_checksums",
        "warn",
        lambda value: value == "off",
        "Damage done by a disk goes unnoticed by the database until a proof fails.",
        "Stop the server and run pg_checksums --enable, or make the cluster with initdb --data-checksums.",
    ),
)
# An unsafe database may be allowed on purpose, for instance in a test; an impossible one may not.
_NEVER_ALLOWED = frozenset({"server_version_num", "server_encoding"})


async def check(connection: asyncpg.Connection) -> list[Finding]:
    """Return what is unsafe about the server behind `connection`, which must have no settings of its own."""
    async with connection.transaction():  # one server connection, whatever stands between
        rows = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1)", [rule.setting for rule in _RULES]
        )
    return judge({row["name"]: row["setting"] for row in rows})


def judge(settings: Mapping[str, str]) -> list[Finding]:
    """Return the findings for these `settings`; a setting the server does not show is not judged."""
    return [
        Finding(rule.level, rule.setting, settings[rule.setting], rule.why, rule.what_to_do)
        for rule in _RULES
        if rule.setting in settings and rule.is_bad(settings[rule.setting])
    ]


def enforce(findings: Sequence[Finding], *, allow_unsafe: bool, warn: Callable[[str], None]) -> None:
    """Warn about what may be used, and raise Misconfigured for what may not.

    `allow_unsafe` (TALLYSTICK_ALLOW_UNSAFE_DATABASE) turns refusals into warnings, except for a server that
    cannot hold the data at all.
    """
    refused = [
        finding
        for finding in findings
        if finding.level == "refuse" and (finding.setting in _NEVER_ALLOWED or not allow_unsafe)
    ]
    for finding in findings:
        if finding not in refused:
            warn(f"The database is not safe: {finding}")
    if refused:
        raise Misconfigured(
            "This database could lose acknowledged events, so Tallystick does not start. "
            + " ".join(str(finding) for finding in refused)
            + (
                " To run on it all the same, set TALLYSTICK_ALLOW_UNSAFE_DATABASE=1."
                if not _NEVER_ALLOWED.intersection(finding.setting for finding in refused)
                else ""
            )
        )
