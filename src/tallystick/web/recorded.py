"""How the guard leaves the trace of a call in the log of the log; what leaves which is declared in web/traces.py."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import structlog

from tallystick import errors
from tallystick.event.model import Actor, Error, Event, Outcome, Target
from tallystick.services.own_events import actor_of, own_event
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.web.call import Call
from tallystick.web.traces import EVIDENCE, EXPORT, LOOKS, UNRECORDED, VIEW

log = structlog.get_logger("tallystick.web")

PEOPLE = frozenset({"member", "viewer"})
KEY_USE_SECONDS = 3600.0
# Parameters that turn pages, or say how one looks: the same look goes on.
_PAGING = frozenset({
    "after_id", "before_id", "cols", "count", "cursor", "density", "event", "exact", "limit", "live", "newer", "order",
    "part", "proof", "remember", "tz", "view",
})  # fmt: skip


class Recorder:
    """Leaves the trace of one operation's calls.

    Args:
        name: the operation's name.
        method: its HTTP method.
        by_id: whether its path names a thing by id.
    """

    def __init__(self, name: str, *, method: str, by_id: bool) -> None:
        self._name = name
        self._by_id = by_id
        self._look = LOOKS.get(name)
        self._changes = method not in ("GET", "HEAD") and name not in UNRECORDED

    def used(self, call: Call, principal: Principal) -> None:
        """Note the use of a key that may do everything, once an hour for each operation and address."""
        if principal.kind not in ("key", "operator") or MANAGE not in principal.permissions:
            return
        about = ("key.used", principal.id, self._name, call.address)
        call.services.own_log.notice(
            principal.organization_id, about, lambda: self._use(call, principal), seconds=KEY_USE_SECONDS
        )

    def _use(self, call: Call, principal: Principal) -> Event:
        return own_event(
            actor_of(principal),
            "key.used",
            targets=(Target(type="api_key", id=principal.id, name=principal.name or None),),
            context=call.context,
            metadata={"operation": self._name},
        )

    async def looked(self, call: Call) -> None:
        """Record a read before it is answered; raises TryLater when it cannot be recorded, then nothing is shown."""
        look, principal = self._look, call.principal
        if look is None or principal is None or not (look.by_keys or principal.kind in PEOPLE):
            return
        own_log, pairs = call.services.own_log, _asked(call)
        if look.opens and (opened := _parameter(call, look.opens)) is not None:
            await self._viewed(call, principal, opened)
        event = self._seen(call, look.action, principal, pairs)
        about: Hashable = (
            look.action,
            principal.id,
            call.path("id") if self._by_id and look in (VIEW, EVIDENCE) else "",
            pairs,
        )
        if look.first_recorded:
            await own_log.record(principal.organization_id, about, lambda: event, seconds=look.seconds)
        else:
            own_log.notice(principal.organization_id, about, lambda: event, seconds=look.seconds)

    async def _viewed(self, call: Call, principal: Principal, event_id: str) -> None:
        """Record that one event was opened beside a list, as its own page records it."""
        event = own_event(
            actor_of(principal),
            VIEW.action,
            targets=(Target(type="event", id=event_id),),
            context=call.context,
            metadata={"operation": self._name, "filters": {}},
        )
        about: Hashable = (VIEW.action, principal.id, event_id, ())
        await call.services.own_log.record(
            principal.organization_id, about, lambda: event, seconds=VIEW.seconds
        )

    def _seen(
        self,
        call: Call,
        action: str,
        principal: Principal,
        pairs: tuple[tuple[str, str], ...],
        outcome: Outcome = "success",
        error: Error | None = None,
    ) -> Event:
        filters: dict[str, Any] = {}
        for key, value in pairs:
            filters.setdefault(key[:128], []).append(value)
        return own_event(
            actor_of(principal),
            action,
            targets=(self._target(call, principal),),
            outcome=outcome,
            error=error,
            context=call.context,
            metadata={"operation": self._name, "filters": filters},
        )

    def _target(self, call: Call, principal: Principal) -> Target:
        if self._by_id and self._look in (VIEW, EVIDENCE):
            return Target(type="event", id=call.path("id"))
        return Target(type="audit_log", id=str(principal.organization_id))

    def refused(self, call: Call, error: errors.AuditError) -> None:
        """Note a refusal beside its answer, which it neither delays nor changes."""
        principal = call.principal
        if principal is None:
            return
        found = self._refusal(error)
        if found is None:
            return
        action, outcome = found
        about = ("refused", action, principal.id, self._name, error.rule)
        try:
            call.services.own_log.notice(
                principal.organization_id,
                about,
                lambda: self._refused(call, principal, action, outcome, error),
            )
        except errors.TryLater as late:
            log.error("a refusal is not on record", action=action, operation=self._name, detail=str(late))

    def _refusal(self, error: errors.AuditError) -> tuple[str, Outcome] | None:
        """Return the action and outcome of the event about a refusal, None when there is none.

        A read that was not understood has shown nothing; a producer's event that was refused is answered to it.
        """
        denied = isinstance(error, errors.Forbidden)
        missed = isinstance(error, errors.NotFound) and self._by_id
        if self._look is EXPORT:
            return "events.exported", "denied" if denied else "failure"
        if denied:
            return "access.denied", "denied"
        if missed and self._look is not None:
            return self._look.action, "failure"
        if self._changes and isinstance(error, (errors.Refused, errors.NotFound)):
            return "change.refused", "failure"
        return None

    def _refused(
        self, call: Call, principal: Principal, action: str, outcome: Outcome, error: errors.AuditError
    ) -> Event:
        why = Error(type=type(error).__name__, code=error.rule, message=str(error))
        if self._look is not None and action == self._look.action:
            return self._seen(call, action, principal, _asked(call, strict=False), outcome, why)
        target = Target(type="operation", id=self._name)
        named = tuple(str(value) for value in call.scope.get("path_params", {}).values())
        return own_event(
            actor_of(principal),
            action,
            targets=(target,),
            outcome=outcome,
            error=why,
            context=call.context,
            metadata={"method": call.scope["method"], **({"named": named} if named else {})},
        )

    def attempted(self, call: Call, credential: str) -> None:
        """Have it found out whose a refused credential was, beside the answer: its bytes and its time tell nothing."""
        context = call.context
        digest = hashlib.sha256(credential.encode()).digest()

        def make(holder: Actor, why: str) -> Event:
            return own_event(
                holder,
                "access.denied",
                targets=(Target(type="operation", id=self._name),),
                outcome="denied",
                error=Error(type="Unauthorized", code=why, message=_WHY.get(why)),
                context=context,
            )

        if not call.services.own_log.investigate(credential, digest, make):
            call.services.metrics.unknown_credentials.inc()


_WHY: Mapping[str, str] = {
    "revoked": "The credential was revoked.",
    "expired": "The credential has expired.",
    "used": "The token was used before.",
    "not_exchanged": "The token opens nothing by itself; it must be exchanged first.",
}


def _parameter(call: Call, name: str) -> str | None:
    """Return one value of the query, None when it is absent or the query cannot be read."""
    try:
        return next((value for key, value in call.query() if key == name), None)
    except errors.Refused:
        return None


def _asked(call: Call, *, strict: bool = True) -> tuple[tuple[str, str], ...]:
    """Return what was asked for, without what only turns pages, sorted so that order makes no difference."""
    try:
        pairs = call.query()
    except errors.Refused:
        if strict:
            raise
        pairs = []
    return tuple(sorted((key, value) for key, value in pairs if key not in _PAGING))
