"""The keeper's way into a log: a record and what it records, in one transaction on the keeper's own connections.

Whatever changes what is kept, held or removed takes its turn before the log is locked, so that a plan made from holds
and policies is carried out under the same ones, or not at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from tallystick.errors import TryLater
from tallystick.event.leaf import read_leaf
from tallystick.event.model import Actor, Context, Event, Target
from tallystick.event.moment import read_instant
from tallystick.event.prepare import Prepared, prepare_event
from tallystick.event.redact import Redaction
from tallystick.services.append import Appender
from tallystick.services.group import Entry, Stored
from tallystick.services.own_events import own_event
from tallystick.store import keeping
from tallystick.store.connect import Connection, Pool
from tallystick.verify.records import SOURCE, Record

SERVER = Actor(type="service", id="tallystick", name="Tallystick")
# Records hold what their readers compute with: it must not be changed on its way. What people wrote is not in there.
_AS_IT_IS = Redaction(key=bytes(32), enabled=False)

Do = Callable[[Connection], Awaitable[None]]
Placed = Callable[[Connection, Sequence["Place"]], Awaitable[None]]


class Stale(TryLater):
    """What was planned no longer fits what is there: plan again. Nothing was changed."""

    rule = "stale"


class Place(msgspec.Struct, frozen=True):
    """Where a record came to stand."""

    position: int
    received_at: datetime


class Door:
    """Appends records; `keeper` is a pool of the keeping role, `appender` one that works on that pool."""

    def __init__(
        self, keeper: Pool, appender: Appender, *, redaction_of: Callable[[UUID], Redaction], new_id: Callable[[], UUID]
    ) -> None:  # fmt: skip
        self.keeper = keeper
        self._appender = appender
        self._redaction_of = redaction_of
        self.new_id = new_id

    async def record(
        self, organization_id: UUID, events: Sequence[Prepared], *, first: Do | None = None, then: Placed | None = None
    ) -> list[Place]:  # fmt: skip
        """Append `events` in a transaction that begins with `first` and ends with `then`; all of it or nothing.

        Raises what they raise, and what `Appender.append` raises.
        """

        async def before(connection: Connection) -> None:
            await keeping.take_turn(connection, organization_id)
            if first is not None:
                await first(connection)

        async def inside(connection: Connection, entries: Sequence[Entry]) -> None:
            if then is not None:
                await then(connection, [_place(entry) for entry in entries])

        appended = await self._appender.append(
            organization_id, events, source=SOURCE, before=before, inside=inside
        )
        places: list[Place] = []
        for result in appended.results:
            if not isinstance(result, Stored):
                raise result
            places.append(Place(result.position, result.received_at))
        return places

    def prepared(
        self,
        organization_id: UUID,
        action: str,
        record: Record | None = None,
        *,
        actor: Actor = SERVER,
        targets: Sequence[Target] = (),
        before: Any = UNSET,
        after: Any = UNSET,
        context: Context | None = None,
        id: UUID | None = None,
        told_by_people: bool = True,
    ) -> Prepared:
        """Return the event that records something; what people told of it is redacted like everything else."""
        event: Event = own_event(
            actor, action, targets=targets, before=before, after=after, context=context,
            metadata=None if record is None else msgspec.to_builtins(record),
        )  # fmt: skip
        event = msgspec.structs.replace(event, id=str(id or self.new_id()))
        redaction = self._redaction_of(organization_id) if told_by_people else _AS_IT_IS
        return prepare_event(event, redaction=redaction, new_id=self.new_id)


def _place(entry: Entry) -> Place:
    return Place(entry.position, read_instant(read_leaf(entry.sealed.leaf).received_at)[0])
