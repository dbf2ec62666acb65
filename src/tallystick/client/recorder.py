"""From the arguments of `record` to the bytes of an event: ids, clock, context, checks, redaction."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from tallystick.client.actors import Actor, Secret, Target, actor_part, agent_part
from tallystick.client.context import Bound, current
from tallystick.client.snapshot import plain
from tallystick.errors import Refused
from tallystick.event.identity import uuid7_text
from tallystick.event.model import Outcome
from tallystick.event.moment import instant_text
from tallystick.event.outgoing import outgoing
from tallystick.event.redact import Redaction

_RANDOM_BYTES: Final = 10  # of an id


def unix_ms() -> int:
    """Return the milliseconds of the clock of this machine since 1970."""
    return time.time_ns() // 1_000_000


def utc_now() -> datetime:
    """Return the time on the clock of this machine."""
    return datetime.now(UTC)


class Recorder:
    """Makes the bytes of events.

    Args:
        redaction: what is hidden, and the key of the fingerprints that stand in its place.
        now: the clock, in UTC.
        random: gives that many random bytes.
        monotonic: seconds that only grow, for durations.
    """

    def __init__(
        self,
        redaction: Redaction,
        *,
        now: Callable[[], datetime] = utc_now,
        random: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redaction = redaction
        self.monotonic = monotonic
        self._now = now
        self._random = random

    def now(self) -> datetime:
        """Return the time on the recorder's clock."""
        return self._now()

    def new_id(self) -> str:
        """Return a new id, the idempotency key of one event."""
        return uuid7_text(int(self._now().timestamp() * 1000), self._random(_RANDOM_BYTES))

    def event(
        self,
        action: str,
        *,
        actor: Actor | None = None,
        target: Target | None = None,
        targets: Sequence[Target] = (),
        outcome: Outcome = "success",
        error: BaseException | Mapping[str, str] | str | None = None,
        before: Any = UNSET,
        after: Any = UNSET,
        metadata: Mapping[str, Any] | None = None,
        workspace: str | None = None,
        stream: str | None = None,
        on_behalf_of: Actor | None = None,
        occurred_at: datetime | None = None,
        id: UUID | str | None = None,
        context: Mapping[str, Any] | None = None,
        bound: Bound | None = None,
    ) -> tuple[str, bytes]:
        """Return the id and the bytes of an event, checked and redacted; Refused for a developer's mistake."""
        bound = bound or current()
        moment = self._now()
        made = (
            uuid7_text(int(moment.timestamp() * 1000), self._random(_RANDOM_BYTES)) if id is None else str(id)
        )
        who = actor or (bound.actor() if callable(bound.actor) else bound.actor)
        if who is None:
            raise Refused(
                "nobody acts: give actor=, or bind one with audit.context(actor=…)",
                path="/actor",
                rule="invalid_field",
            )
        tree: dict[str, Any] = {
            "id": made,
            "action": action,
            "actor": actor_part(who, on_behalf_of or bound.on_behalf_of),
            "occurred_at": instant_text(moment if occurred_at is None else _aware(occurred_at)),
        }
        if target is not None or targets:
            tree["targets"] = _targets(target, targets)
        if outcome != "success":
            tree["outcome"] = outcome
        if error is not None:
            tree["error"] = _error(error)
        if workspace is not None or bound.workspace is not None:
            tree["workspace"] = workspace if workspace is not None else bound.workspace
        if stream is not None or bound.stream is not None:
            tree["stream"] = stream if stream is not None else bound.stream
        places = {**bound.places, **context} if context else bound.places
        if places:
            tree["context"] = plain(places, self._hidden)
        if before is not UNSET:
            tree["before"] = plain(before, self._hidden)
        if after is not UNSET:
            tree["after"] = plain(after, self._hidden)
        said = _metadata(who, bound, metadata)
        if said:
            tree["metadata"] = plain(said, self._hidden)
        return made, outgoing(tree, self._redaction, own_time=True)

    def checked(self, raw: bytes) -> bytes:
        """Return an event that was made elsewhere, as by a trigger, checked and redacted like one made here."""
        return outgoing(msgspec.json.decode(raw), self._redaction)

    def _hidden(self, secret: Secret) -> Any:
        return self._redaction.hidden(plain(secret.reveal(), self._hidden))


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise Refused(
            "occurred_at has no time zone: give an aware datetime, as in datetime.now(UTC)",
            path="/occurred_at",
            rule="invalid_time",
        )
    return moment


def _targets(target: Target | None, targets: Sequence[Target]) -> list[dict[str, Any]]:
    every = (*(() if target is None else (target,)), *targets)
    made: list[dict[str, Any]] = []
    for index, one in enumerate(every):
        if not isinstance(one, Target):
            raise Refused(
                f"a target is a {type(one).__name__}; give Target(type, id)",
                path=f"/targets/{index}",
                rule="invalid_field",
            )
        # Keys of databases are numbers and UUIDs; as ids in an event they are text.
        id = one.id if type(one.id) is str else _id_text(one.id, index)
        part = {"type": one.type, "id": id}
        if one.name is not None:
            part["name"] = one.name
        made.append(part)
    return made


def _id_text(id: Any, index: int) -> str:
    if isinstance(id, int | UUID) and not isinstance(id, bool):
        return str(id)
    raise Refused(
        f"/targets/{index}/id: expected text, a whole number or a UUID, got {type(id).__name__}",
        path=f"/targets/{index}/id",
        rule="invalid_field",
    )


def _error(error: BaseException | Mapping[str, str] | str) -> dict[str, Any]:
    if isinstance(error, BaseException):
        try:
            message = str(error)
        except Exception:  # an exception that cannot say what it is still has a type
            message = ""
        return {"type": type(error).__qualname__, **({"message": message} if message else {})}
    return {"message": error} if isinstance(error, str) else dict(error)


def _metadata(who: Actor, bound: Bound, metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    agent = agent_part(who)
    if not bound.metadata and agent is None:
        return metadata
    return {**bound.metadata, **({"agent": agent} if agent else {}), **(metadata or {})}
