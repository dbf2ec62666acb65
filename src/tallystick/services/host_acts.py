"""Acts of whoever runs the server, from outside any request: on its command line, or by the server as it starts.

Each change and its event are one transaction, as everywhere. Where no log can be written at that moment, since the key
that signs it is elsewhere or the log waits for a human, the event is kept in a table by the transaction of the change,
and a server appends it at its next turn: never lost, never silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import UNSET
from msgspec.structs import replace

from tallystick.errors import AuditError, Misconfigured, Tampered, TryLater, UnknownOutcome
from tallystick.event.model import Actor, Event, Target
from tallystick.event.moment import instant_text
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import own_event
from tallystick.store import deferred
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.deferred import DeferredAct

log = structlog.get_logger("tallystick.own_log")

COMMAND_LINE = "command line"  # no caller's source can be called so: theirs name a kind and an id
ROUND_SECONDS = 2.0
AT_ONCE = 100

Change = Callable[[Connection], Awaitable[None]]


class HostActs:
    """Makes changes together with their events.

    Args:
        writer: the pool of the writing database role.
        ingest: appends to the logs, None where that cannot be done from here.
        actor: who acts.
        source: what the events' `source` says.
        metadata: what else is known of who acts.
        new_id: makes ids of events.
        now: the clock, in UTC.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest | None,
        *,
        actor: Actor,
        source: str,
        new_id: Callable[[], UUID],
        now: Callable[[], datetime],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._actor = actor
        self._source = source
        self._metadata = metadata
        self._new_id = new_id
        self._now = now
        self.deferred = 0
        """How many events wait for a server."""

    def act(
        self, action: str, *, targets: Sequence[Target] = (), before: Any = UNSET, after: Any = UNSET
    ) -> Event:
        """Return the event of an act that happens now."""
        event = own_event(
            self._actor, action, targets=targets, before=before, after=after, metadata=self._metadata
        )
        return replace(event, id=str(self._new_id()), occurred_at=instant_text(self._now()))

    async def record(self, organization_id: UUID, events: Sequence[Event], change: Change) -> None:
        """Make `change` and record `events` of it, both or neither; at the latest a server appends them.

        Raises what `change` raises, UnknownOutcome when the database did not confirm, and TryLater when it is away.
        """
        if self._ingest is not None:

            async def inside(connection: Connection, entries: object) -> None:
                await change(connection)

            try:
                await self._ingest.record_own_together(
                    organization_id, events, source=self._source, inside=inside
                )
                return
            except UnknownOutcome:
                raise
            except (Tampered, TryLater, Misconfigured):
                pass  # this log takes nothing now; the act must not wait for that, and its event is not lost
        async with transaction(self._writer, organization=organization_id) as connection:
            await change(connection)
            for event in events:
                waiting = DeferredAct(
                    organization_id, UUID(event.id), self._source, msgspec.json.encode(event)
                )
                await deferred.insert(connection, waiting, self._now())
        self.deferred += len(events)


class _AppendedByAnother(AuditError):
    """Another server was faster; its append stands and ours is undone."""


class DeferredActs:
    """Appends the events that wait in the table; several servers may do so at once, each event is recorded once."""

    def __init__(self, writer: Pool, ingest: Ingest) -> None:
        self._writer = writer
        self._ingest = ingest
        self.late = ""
        """Why some could not be appended in the last round, "" when all could."""

    async def append_all(self) -> None:
        """Append what waits, oldest first; what one log does not take stays, and holds up no other."""
        late = ""
        try:
            for act in await deferred.oldest(self._writer, AT_ONCE):
                try:
                    await self._append(act)
                except _AppendedByAnother:
                    continue
                except AuditError as error:
                    late = f"An act on the command line is not in the log yet. {error}"
                    log.error("a deferred act is not appended yet", id=str(act.id), detail=str(error))
        except AuditError as error:
            late = str(error)
        self.late = late

    async def _append(self, act: DeferredAct) -> None:
        async def inside(connection: Connection, entries: object) -> None:
            if not await deferred.remove(connection, act.organization_id, act.id):
                raise _AppendedByAnother("This event is in the log already.")

        event = msgspec.json.decode(act.event, type=Event)
        await self._ingest.record_own_together(act.organization_id, [event], source=act.source, inside=inside)

    async def run(self) -> None:
        """Append what waits, every two seconds, until cancelled."""
        while True:
            await self.append_all()
            await asyncio.sleep(ROUND_SECONDS)
