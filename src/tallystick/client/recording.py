"""Keeping events: composed here, put into the spool, in a thread that may wait or a task that must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

from msgspec import Struct

from tallystick.client.actors import Actor, Target
from tallystick.client.delivery import Delivery
from tallystick.client.recorder import Recorder
from tallystick.client.settings import Settings
from tallystick.client.transport import Committed
from tallystick.event.model import Outcome


class Receipt(Struct, frozen=True, kw_only=True):
    """An event was recorded: its id, and whether it survives the death of this process already."""

    id: str
    durable: bool


class Fields(TypedDict, total=False):
    """What `record` takes beside the action; what is not given comes from the context.

    `before` and `after` are whole states, plain values or anything `snapshot` takes; the server computes the
    difference. `id` makes recording idempotent: the same id is in the log once. `occurred_at` must be aware.
    """

    actor: Actor | None
    target: Target | None
    targets: Sequence[Target]
    outcome: Outcome
    error: BaseException | Mapping[str, str] | str | None
    before: Any
    after: Any
    metadata: Mapping[str, Any] | None
    workspace: str | None
    stream: str | None
    on_behalf_of: Actor | None
    occurred_at: datetime | None
    id: UUID | str | None
    context: Mapping[str, Any] | None


class Recording:
    """Composes events and hands them to the process's delivery."""

    def __init__(self, chosen: Settings, delivery: Delivery) -> None:
        self.recorder = Recorder(chosen.redaction)
        self.delivery = delivery

    def keep(self, action: str, **fields: Unpack[Fields]) -> Receipt:
        """Keep an event; raises Refused for a developer's mistake and SpoolFull when it could not be kept."""
        id, raw = self.recorder.event(action, **fields)
        return Receipt(id=id, durable=self.delivery.put(id, raw))

    def confirm(self, action: str, seconds: float, **fields: Unpack[Fields]) -> Committed:
        """Keep an event and return its place in the log; raises NotConfirmed or ServerRejected besides."""
        id, raw = self.recorder.event(action, **fields)
        self.delivery.put(id, raw)
        return self.delivery.confirm(id, raw, seconds)

    async def keep_soon(self, action: str, **fields: Unpack[Fields]) -> Receipt:
        """Keep an event as `keep` does, without holding up the event loop for the disk."""
        id, raw = self.recorder.event(action, **fields)
        return Receipt(id=id, durable=await self._put(id, raw))

    async def confirm_soon(self, action: str, seconds: float, **fields: Unpack[Fields]) -> Committed:
        """Keep an event and return its place in the log, as `confirm` does."""
        import asyncio

        id, raw = self.recorder.event(action, **fields)
        await self._put(id, raw)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.delivery.threads, self.delivery.confirm, id, raw, seconds)

    async def _put(self, id: str, raw: bytes) -> bool:
        import asyncio

        delivery = self.delivery
        loop = asyncio.get_running_loop()
        if delivery.profile == "durable":
            error = await self._committed(loop, id, raw)
        else:
            outcome = delivery.attempt(id, raw)  # microseconds: going to another thread takes longer
            error = None if isinstance(outcome, bool) else outcome
        if error is not None:  # what the policy says may take its time
            await loop.run_in_executor(delivery.threads, delivery.spool.when_refused, id, raw, error)
        return delivery.profile != "memory"

    async def _committed(self, loop: Any, id: str, raw: bytes) -> Exception | None:
        """Return once the event is on disk, or what stood in the way."""
        settled = loop.create_future()

        def tell(error: Exception | None) -> None:
            if not settled.done():  # the task may have been cancelled; the event is kept all the same
                settled.set_result(error)

        def done(error: Exception | None) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile, and with it whoever waited
                loop.call_soon_threadsafe(tell, error)

        self.delivery.put_soon(id, raw, done)
        return await settled
