"""Taking events in: checked, redacted and prepared one by one, appended together, answered one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tallystick.catalogue.registered import Check, Violation
from tallystick.errors import AuditError, Forbidden, Refused, TryLater
from tallystick.event.batch import split
from tallystick.event.decode import decode_quick, decode_strict
from tallystick.event.model import Event
from tallystick.event.prepare import Prepared, prepare, prepare_event
from tallystick.event.redact import Redaction
from tallystick.services.append import Appender
from tallystick.services.group import SCHEMA_FLAG, Appended, Inside, Stored
from tallystick.services.log import Log
from tallystick.services.permissions import WRITE
from tallystick.services.principal import Principal
from tallystick.verify.records import SOURCE as OWN_SOURCE
from tallystick.verify.records import STREAM

RedactionOf = Callable[[UUID], Redaction]
# Returns the check of an organization's registered action, or None where nothing is registered.
CheckOf = Callable[[UUID, str], Awaitable[Check | None]]
_YIELD_EVERY = 64  # events prepared before other tasks get a turn: one or two milliseconds


class Recorded(Struct, frozen=True, kw_only=True):
    """One recorded event: where it is, since when, its receipt, and whether it was there before.

    `quarantined` says that it breaks the registered schema of its action; it is in the log all the same. `renumbered`
    says of a duplicate that the log has it under another number of its producer.
    """

    id: UUID
    position: int
    received_at: datetime
    receipt: str
    duplicate: bool = False
    quarantined: bool = False
    renumbered: bool = False


class EventError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an event of a batch was not stored: the rule, a sentence, and where in the event (a JSON pointer)."""

    rule: str
    message: str
    path: str = ""
    retry: bool = False


class EventResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event of a batch; `position` unless rejected, `error` when rejected.

    `renumbered` says of a duplicate that the log has it under another number of its producer: the one sent is unused.
    """

    status: Literal["created", "duplicate", "rejected", "quarantined"]
    id: UUID | None = None
    position: int | None = None
    error: EventError | None = None
    renumbered: bool = False


class BatchRecorded(Struct, frozen=True, kw_only=True):
    """What became of a batch, event by event in its order.

    `receipt` is that of the last event stored, whose checkpoint covers all of them; None when none was stored.
    """

    results: list[EventResult]
    receipt: str | None = None


class Ingest:
    """Records events for whoever calls; `redaction_of` gives what an organization hides, `new_id` makes event ids."""

    def __init__(
        self,
        appender: Appender,
        log: Log,
        *,
        redaction_of: RedactionOf,
        new_id: Callable[[], UUID],
        check_of: CheckOf | None = None,
    ) -> None:
        self._appender = appender
        self._log = log
        self._redaction_of = redaction_of
        self._new_id = new_id
        self._check_of = check_of

    async def record(self, principal: Principal, raw: bytes) -> Recorded:
        """Record one event, given as the bytes of one JSON document.

        Raises Refused, TooLarge, Conflict or Forbidden when it was not stored for a reason of its own, and what
        `Appender.append` raises.
        """
        principal.require(WRITE)
        organization_id = principal.organization_id
        event = prepare(raw, redaction=self._redaction_of(organization_id), new_id=self._new_id)
        return await self._record(organization_id, within(event, principal), raw, principal.source)

    async def record_own(
        self, organization_id: UUID, event: Event, *, source: str = OWN_SOURCE, inside: Inside | None = None
    ) -> Recorded:
        """Record an event made in this process; `inside` runs in the same transaction (see `Appender.append`)."""
        redaction = self._redaction_of(organization_id)
        prepared = prepare_event(event, redaction=redaction, new_id=self._new_id)
        return await self._record(organization_id, prepared, None, source, inside)

    async def record_own_together(
        self, organization_id: UUID, events: Sequence[Event], *, source: str, inside: Inside
    ) -> None:
        """Record events made in this process in one transaction with `inside`; all of it or nothing."""
        redaction = self._redaction_of(organization_id)
        prepared = [prepare_event(event, redaction=redaction, new_id=self._new_id) for event in events]
        appended = await self._appender.append(organization_id, prepared, source=source, inside=inside)
        for result in appended.results:
            if not isinstance(result, Stored):
                raise result

    async def _record(
        self,
        organization_id: UUID,
        event: Prepared,
        raw: bytes | None,
        source: str,
        inside: Inside | None = None,
    ) -> Recorded:
        events, violations = [event], {}
        if raw is not None:
            violations = await self._violations(organization_id, events, [raw])
        appended = await self._appender.append(
            organization_id, events, source=source, violations=violations, inside=inside
        )
        (result,) = appended.results
        if not isinstance(result, Stored):
            raise result
        receipt = await self._receipt(organization_id, appended, result.position)
        return Recorded(
            id=result.id,
            position=result.position,
            received_at=result.received_at,
            receipt=receipt,
            duplicate=result.duplicate,
            renumbered=result.renumbered,
            quarantined=bool(violations) and not result.duplicate,
        )

    async def record_batch(self, principal: Principal, body: bytes, *, ndjson: bool) -> BatchRecorded:
        """Record up to 1,000 events, given as a JSON array or as lines; a bad one does not harm the others.

        Raises Refused or TooLarge for a body that is no batch, and what `Appender.append` raises: then nothing
        of the batch was stored, or (UnknownOutcome) it is to be sent again with the same ids.
        """
        principal.require(WRITE)
        organization_id = principal.organization_id
        pieces = split(body, ndjson=ndjson)
        results: list[EventResult | None] = [None] * len(pieces)
        events, places = await self._prepare_all(principal, pieces, results)
        raws = [pieces[place] for place in places]
        violations = await self._violations(organization_id, events, raws)
        appended = await self._appender.append(
            organization_id, events, source=principal.source, violations=violations
        )
        _raise_if_none_stored(appended, results)
        last = -1
        for at, (place, result) in enumerate(zip(places, appended.results, strict=True)):
            results[place] = _result(result, events[at], quarantined=at in violations)
            if isinstance(result, Stored):
                last = result.position
        receipt = None if last < 0 else await self._receipt(organization_id, appended, last)
        return BatchRecorded(results=[result for result in results if result is not None], receipt=receipt)

    async def _prepare_all(
        self, principal: Principal, pieces: Sequence[bytes], results: list[EventResult | None]
    ) -> tuple[list[Prepared], list[int]]:
        """Prepare what can be; fill in the results of the rest. Returns the events and their places in the batch."""
        redaction = self._redaction_of(principal.organization_id)
        events: list[Prepared] = []
        places: list[int] = []
        for place, piece in enumerate(pieces):
            try:
                events.append(within(prepare(piece, redaction=redaction, new_id=self._new_id), principal))
                places.append(place)
            except (Refused, Forbidden) as error:
                results[place] = EventResult(status="rejected", error=_error(error))
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        return events, places

    async def _violations(
        self, organization_id: UUID, events: list[Prepared], raws: Sequence[bytes]
    ) -> Mapping[int, bytes]:
        """Hold events against the registered schemas of their actions; flags those that break them, in place."""
        if self._check_of is None:
            return {}
        actions = dict.fromkeys(event.action for event in events)
        checks = {action: await self._check_of(organization_id, action) for action in actions}
        found: dict[int, bytes] = {}
        for at, event in enumerate(events):
            check = checks[event.action]
            if check is not None and (violations := check(_tree(raws[at]))):
                found[at] = _violations_json(violations)
                events[at] = replace(event, flags=(*event.flags, SCHEMA_FLAG))
        return found

    async def _receipt(self, organization_id: UUID, appended: Appended, position: int) -> str:
        """Return the receipt out of the commit itself; read it from the log for an event of an earlier one."""
        return appended.receipt(position) or await self._log.receipt(organization_id, position)


def within(event: Prepared, principal: Principal) -> Prepared:
    """Return `event` in the workspace its key is bound to.

    Raises Refused for an event of the stream that is the server's own, Forbidden when it names another workspace.
    """
    if event.stream == STREAM:
        raise Refused(
            f"The stream {STREAM} holds what this server records about itself, and nobody else records there. Name "
            "another stream, or leave it out.",
            path="/stream",
            rule="own_stream",
        )
    bounds = principal.workspaces
    if bounds is None or (event.workspace and event.workspace in bounds):
        return event
    if event.workspace or len(bounds) != 1:
        known = ", ".join(sorted(bounds))
        raise Forbidden(
            f"This credential records events of the workspace {known} only. Leave workspace out, or use a key of the "
            "whole organization."
            if len(bounds) == 1
            else f"This credential records events of one of these workspaces: {known}. Say in workspace of which.",
            path="/workspace",
            rule="workspace",
        )
    (bound,) = bounds
    return replace(event, workspace=bound, clear_workspace=bound)


def _tree(raw: bytes) -> Any:
    tree = decode_quick(raw)
    return decode_strict(raw) if tree is None else tree


def _violations_json(violations: Sequence[Violation]) -> bytes:
    return msgspec.json.encode(violations)


def _error(error: AuditError) -> EventError:
    return EventError(rule=error.rule, message=str(error), path=error.path, retry=isinstance(error, TryLater))


def _result(result: Stored | AuditError, event: Prepared, *, quarantined: bool) -> EventResult:
    if not isinstance(result, Stored):
        return EventResult(status="rejected", id=event.id if event.id_given else None, error=_error(result))
    status = "duplicate" if result.duplicate else "quarantined" if quarantined else "created"
    return EventResult(status=status, id=result.id, position=result.position, renumbered=result.renumbered)


def _raise_if_none_stored(appended: Appended, results: Sequence[EventResult | None]) -> None:
    # When nothing was stored and something may be later, the whole call is best sent again as it is.
    if any(isinstance(result, Stored) for result in appended.results) or any(results):
        return
    for result in appended.results:
        if isinstance(result, TryLater):
            raise result
