"""`Audit` and `AsyncAudit`: what an application calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, TypeVar, Unpack, overload

from tallystick.client import context as ctx
from tallystick.client.act import Act, Draft, audited_call
from tallystick.client.actors import Actor, Target
from tallystick.client.delivery import Stats, delivery, forget
from tallystick.client.recording import Fields, Receipt, Recording
from tallystick.client.settings import HEARTBEAT_SECONDS, SPOOL_BYTES_MAX, Profile, WhenFull, settings
from tallystick.client.transport import Committed

WAIT_SECONDS: Final = 30.0
P = ParamSpec("P")
R = TypeVar("R")


class _Base:
    """What both kinds share: settings, context, decorator, numbers."""

    def __init__(
        self,
        *,
        url: str | None = None,
        api_key: str | None = None,
        spool: str | Path | None = None,
        profile: Profile | None = None,
        spool_bytes_max: int = SPOOL_BYTES_MAX,
        when_full: WhenFull = "block",
        block_seconds: float = 30.0,
        linger_seconds: float = 1.0,
        exit_seconds: float | None = None,
        redaction_key: bytes | str | None = None,
        producer: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Choose a server and a spool; what is not given comes from the environment (`TALLYSTICK_…`).

        Objects with the same settings share one spool and one sender in a process.

        Args:
            url: of the server. api_key: one that may write.
            spool: folder of the spool files.
            profile: what a recorded event survives. `durable`: a power cut (one fsync an event, shared by threads).
                `fast`: the death of the process, but not of the machine. `memory`: neither.
            spool_bytes_max: size of the spool file; `when_full` it is `block` (for `block_seconds`, then SpoolFull),
                `raise` SpoolFull, or `drop_oldest`. Whatever is lost is counted, and the count is recorded.
            linger_seconds: how long a small batch waits for company.
            exit_seconds: how long the end of the process may wait for the sender.
            redaction_key: keys the fingerprints of secrets; 16 bytes or more.
            producer: the name under which events are numbered, so that the server can tell what is missing.
            heartbeat_seconds: how often the server is told how far the numbers go; it reports silence. 0 = never.

        Raises Misconfigured for a setting that cannot be. Never fails because no server answers.
        """
        chosen = settings(
            url=url, api_key=api_key, spool=spool, profile=profile, spool_bytes_max=spool_bytes_max,
            when_full=when_full, block_seconds=block_seconds, linger_seconds=linger_seconds,
            exit_seconds=exit_seconds, redaction_key=redaction_key, producer=producer,
            heartbeat_seconds=heartbeat_seconds,
        )  # fmt: skip
        self.recording = Recording(chosen, delivery(chosen))

    def context(
        self,
        *,
        actor: Actor | None = None,
        on_behalf_of: Actor | None = None,
        workspace: str | None = None,
        stream: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **places: Any,
    ) -> AbstractContextManager[ctx.Bound]:
        """Have these hold for all that is recorded inside the block, in this thread or task.

        `places` are parts of an event's context: ip, user_agent, request_id, session_id, trace_id, http, location.
        """
        return ctx.within(
            ctx.extended(
                actor=actor, on_behalf_of=on_behalf_of, workspace=workspace, stream=stream, metadata=metadata, **places
            )
        )  # fmt: skip

    def bind(
        self,
        *,
        actor: Actor | None = None,
        on_behalf_of: Actor | None = None,
        workspace: str | None = None,
        stream: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **places: Any,
    ) -> None:
        """Have these hold for the rest of this request or task; as `context`, without a block."""
        ctx.bind(
            ctx.extended(
                actor=actor, on_behalf_of=on_behalf_of, workspace=workspace, stream=stream, metadata=metadata, **places
            )
        )  # fmt: skip

    def audited(
        self,
        action: str,
        *,
        target: Callable[..., Target | Sequence[Target] | None] | Target | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Record every call of a function, `async` or not: success, failure with its exception, denied.

        `target` gets the call's arguments by name; without it the targets are looked for in arguments and result.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return audited_call(self.recording, function, action, target, metadata)

        return decorate

    def compose(self, action: str, **fields: Unpack[Fields]) -> tuple[str, bytes]:
        """Return id and bytes of an event as `record` would keep it, without keeping it; for an outbox."""
        return self.recording.recorder.event(action, **fields)

    def stats(self) -> Stats:
        """Return how recording goes; counts what waits, so ask some times a minute."""
        return self.recording.delivery.stats()


class Audit(_Base):
    """Records events, from threads and from anywhere else that may wait for a disk."""

    @overload
    def record(self, action: str, *, wait: Literal[False] = False, **fields: Unpack[Fields]) -> Receipt: ...
    @overload
    def record(
        self, action: str, *, wait: Literal[True], timeout: float = WAIT_SECONDS, **fields: Unpack[Fields]
    ) -> Committed: ...
    def record(
        self, action: str, *, wait: bool = False, timeout: float = WAIT_SECONDS, **fields: Unpack[Fields]
    ) -> Receipt | Committed:
        """Record that something happened; on return it is in the spool.

        With `wait` it is in the log on return, with position and proof: for the few acts that must not be done
        unrecorded. Raises Refused for a mistake in the call, SpoolFull when the event could not be kept, and with
        `wait` NotConfirmed (it is in the spool and will be sent) or ServerRejected (it is a dead letter).
        """
        if wait:
            return self.recording.confirm(action, timeout, **fields)
        return self.recording.keep(action, **fields)

    def action(self, action: str, **fields: Unpack[Fields]) -> AbstractContextManager[Draft]:
        """Record what a block does when it ends, with outcome and duration; the draft takes before, after and more."""
        return Act(self.recording, action, fields)

    def flush(self, timeout: float = 10.0) -> bool:
        """Send now what waits; True when nothing waits any more, False when time ran out (nothing is lost)."""
        return self.recording.delivery.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Flush and stop; what could not be sent waits on disk for the next start. Returns as `flush`."""
        forget(self.recording.delivery)
        return self.recording.delivery.close(timeout)


class AsyncAudit(_Base):
    """Records events from an event loop, which never waits for a disk or a server here."""

    @overload
    async def record(
        self, action: str, *, wait: Literal[False] = False, **fields: Unpack[Fields]
    ) -> Receipt: ...
    @overload
    async def record(  # a time-out of the server's, not of the task
        self, action: str, *, wait: Literal[True], timeout: float = WAIT_SECONDS, **fields: Unpack[Fields]
    ) -> Committed: ...
    async def record(
        self, action: str, *, wait: bool = False, timeout: float = WAIT_SECONDS, **fields: Unpack[Fields]
    ) -> Receipt | Committed:
        """Record that something happened; as `Audit.record`."""
        if wait:
            return await self.recording.confirm_soon(action, timeout, **fields)
        return await self.recording.keep_soon(action, **fields)

    def action(self, action: str, **fields: Unpack[Fields]) -> AbstractAsyncContextManager[Draft]:
        """Record what an `async with` block does when it ends, with outcome and duration."""
        return Act(self.recording, action, fields)

    async def flush(self, timeout: float = 10.0) -> bool:
        """Send now what waits; as `Audit.flush`."""
        import asyncio

        delivery = self.recording.delivery
        return await asyncio.get_running_loop().run_in_executor(delivery.threads, delivery.flush, timeout)

    async def close(self, timeout: float = 10.0) -> bool:
        """Flush and stop; as `Audit.close`."""
        import asyncio

        held = self.recording.delivery
        forget(held)
        return await asyncio.get_running_loop().run_in_executor(None, held.close, timeout)
