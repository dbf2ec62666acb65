"""Events that broke the registered schema of their action: listed, and held against the mended schema again.

They are in the log like any other. Releasing one changes nothing in the log but adds an event that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tallystick.catalogue.registered import Check, Violation
from tallystick.errors import TryLater
from tallystick.event.model import DEFAULT_STREAM, Context, Target
from tallystick.event.render import render
from tallystick.query.cursor import Place, read_cursor, write_cursor
from tallystick.query.model import Query
from tallystick.services.contracts.pages import scope_of
from tallystick.services.group import Entry
from tallystick.services.ingest import Ingest
from tallystick.services.narrow import sight
from tallystick.services.own_events import record_act
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.services.registered import Registered
from tallystick.store import registered as rows
from tallystick.store.connect import Connection, Pool

State = Literal["open", "released", "all"]
LIMIT_MAX = 1_000
CHUNK_ROWS = 100
_RELEASED: Mapping[State, bool | None] = {"open": False, "released": True, "all": None}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a producer sends; the rest of a recorded event is the server's.
_SENT = (
    "action", "actor", "targets", "occurred_at", "id", "workspace", "stream", "outcome", "error", "context",
    "before", "after", "metadata",
)  # fmt: skip


class Reprocessing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events to hold against their schemas again: of one action, or some positions; beyond `after`."""

    action: str | None = None
    positions: tuple[int, ...] | None = None
    after: int = -1


class Reprocessed(Struct, frozen=True, kw_only=True):
    """What became of up to 1,000 events in quarantine.

    `released` and `failing` are positions, `gone` those that retention removed. `next` is the `after` to go on
    with, None when nothing is left. `recorded_at` is the position of the event that recorded the release.
    """

    released: list[int]
    failing: list[dict[str, Any]]
    gone: list[int]
    next: int | None
    recorded_at: int | None


class Quarantine:
    """Lists and re-processes; `cursor_key` signs cursors, the same on every server of one database."""

    def __init__(self, reader: Pool, registered: Registered, *, cursor_key: bytes) -> None:
        self._reader = reader
        self._registered = registered
        self._cursor_key = cursor_key

    async def list_events(
        self,
        principal: Principal,
        *,
        state: State,
        action: str | None,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return events in quarantine in the order of positions, and the cursor of the next page."""
        scope = scope_of(principal, "quarantine", f"{state}\n{action or ''}")
        after = -1
        if cursor is not None:
            asked = Query(order="oldest", cursor=cursor)
            after = read_cursor(asked, scope=scope, key=self._cursor_key).position
        shown: list[dict[str, Any]] = []
        while len(shown) <= limit:
            wanted = min(CHUNK_ROWS, limit + 1 - len(shown))
            found = await self._page(principal, after, _RELEASED[state], action, None, wanted)
            shown += [_shown(row) for row in self._seen(principal, found)]
            if len(found) < wanted:
                return shown, None
            after = found[-1].position
        place = Place(_EPOCH, shown[limit - 1]["position"], 0)
        return shown[:limit], write_cursor(place, Query(order="oldest"), scope=scope, key=self._cursor_key)

    async def reprocess(
        self, principal: Principal, ingest: Ingest, asked: Reprocessing, *, context: Context | None = None
    ) -> Reprocessed:
        """Hold up to 1,000 events against the newest schema of their action, and release those that fit.

        What was redacted or cut when an event was recorded stays so, and is checked as it is. Raises TryLater
        when somebody else released some of them at the same moment; nothing was changed then.
        """
        principal.require(MANAGE)
        released: list[int] = []
        failing: list[dict[str, Any]] = []
        gone: list[int] = []
        after, checked = asked.after, 0
        while checked < LIMIT_MAX:
            wanted = min(CHUNK_ROWS, LIMIT_MAX - checked)
            found = await self._page(principal, after, False, asked.action, asked.positions, wanted)
            for row in self._seen(principal, found):
                await asyncio.sleep(0)
                violations = await self._check(principal, row)
                if violations is None:
                    gone.append(row.position)
                elif violations:
                    failing.append({"position": row.position, "violations": violations})
                else:
                    released.append(row.position)
            checked += len(found)
            if len(found) < wanted:
                after = None
                break
            after = found[-1].position
        recorded_at = await self._release(principal, ingest, asked, released, context) if released else None
        return Reprocessed(released=released, failing=failing, gone=gone, next=after, recorded_at=recorded_at)

    async def _page(
        self,
        principal: Principal,
        after: int,
        released: bool | None,
        action: str | None,
        positions: Sequence[int] | None,
        limit: int,
    ) -> list[rows.Quarantined]:
        return await rows.quarantined(
            self._reader,
            principal.organization_id,
            after=after,
            released=released,
            action=action,
            positions=positions,
            workspaces=None if principal.workspaces is None else sorted(principal.workspaces - {""}),
            limit=limit,
        )

    def _seen(self, principal: Principal, found: Sequence[rows.Quarantined]) -> list[rows.Quarantined]:
        """Return those that the principal may see; of what retention took, only who sees everything learns."""
        if not principal.locked:
            return list(found)
        seen = sight(principal)
        return [
            row
            for row in found
            if row.leaf is not None
            and row.opening is not None
            and seen(render(row.leaf, row.opening, row.position, with_changes=False))
        ]

    async def _check(self, principal: Principal, row: rows.Quarantined) -> list[Violation] | None:
        """Return what an event breaks now, None when it is gone."""
        if row.leaf is None or row.opening is None:
            return None
        check = await self._registered.check_of(principal.organization_id, row.action)
        if check is None:
            return []
        return violations_of(render(row.leaf, row.opening, row.position, with_changes=False), check)

    async def _release(
        self,
        principal: Principal,
        ingest: Ingest,
        asked: Reprocessing,
        released: list[int],
        context: Context | None,
    ) -> int:
        async def inside(connection: Connection, entries: Sequence[Entry]) -> None:
            (entry,) = entries
            count = await rows.release(connection, principal.organization_id, released, entry.position)
            if count != len(released):
                raise TryLater("Some of these events were released by somebody else just now. Try again.")

        recorded = await record_act(
            ingest,
            principal,
            "quarantine.reprocessed",
            targets=(Target(type="quarantine", id=asked.action or str(principal.organization_id)),),
            metadata={"released": released},
            context=context,
            inside=inside,
        )
        return recorded.position


def violations_of(event: Mapping[str, Any], check: Check) -> list[Violation]:
    """Return what a recorded event breaks, as its producer may have sent it: with or without the defaults."""
    sent = {key: event[key] for key in _SENT if key in event}
    violations = check(sent)
    return violations and (check(_without_defaults(sent, event)) and violations)


def _without_defaults(sent: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the server puts in when a producer says nothing."""
    defaults = {"stream": DEFAULT_STREAM, "outcome": "success", "targets": []}
    bare = {key: value for key, value in sent.items() if key not in defaults or value != defaults[key]}
    bare.pop("id", None)
    if bare["occurred_at"] == event["received_at"]:
        del bare["occurred_at"]
    return bare


def _shown(row: rows.Quarantined) -> dict[str, Any]:
    event = None
    if row.leaf is not None and row.opening is not None:
        event = render(row.leaf, row.opening, row.position)
    return {
        "position": row.position,
        "action": row.action,
        "violations": msgspec.json.decode(row.violations),
        "released_by": row.released_by,
        "event": event,
    }
