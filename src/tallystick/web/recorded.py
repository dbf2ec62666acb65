"""Which calls leave a trace in the log of the log, declared by the name of the operation, and how the guard leaves it.

Three kinds: a look (a read that is an event of its own), a change (its service records it together with the change),
and what is not recorded, with the reason. A test walks over all operations and asks for each to be one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import structlog
from msgspec import Struct

from tallystick import errors
from tallystick.event.model import Actor, Error, Event, Outcome, Target
from tallystick.services.own_events import actor_of, own_event
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.web.call import Call

log = structlog.get_logger("tallystick.web")

PEOPLE = frozenset({"member", "viewer"})
KEY_USE_SECONDS = 3600.0
# Parameters that turn pages or pages' shape: the same look goes on.
_PAGING = frozenset(
    {"cursor", "limit", "order", "exact", "after", "before_id", "after_id", "before", "proof"}
)


class Look(Struct, frozen=True, kw_only=True):
    """How a read is recorded: the action, by whom, and whether the answer waits until it is on record.

    `seconds` is how long the same look counts as the same; 0 = each one is an event.
    """

    action: str
    by_keys: bool = False
    first_recorded: bool = False
    seconds: float = 60.0


SEARCH = Look(action="events.searched")
VIEW = Look(action="event.viewed", first_recorded=True)
EXPORT = Look(action="events.exported", by_keys=True, first_recorded=True, seconds=0.0)
PROOF = Look(action="proof.downloaded")

LOOKS: Mapping[str, Look] = {
    "anthropicActivities": SEARCH,
    "consistencyProof": PROOF,
    "countEvents": SEARCH,
    "export": EXPORT,
    "facets": SEARCH,
    "feed": SEARCH,
    "getEvent": VIEW,
    "histogram": SEARCH,
    "inclusionProof": PROOF,
    "langsmithAuditLogs": SEARCH,
    "langwatchPull": SEARCH,
    "listQuarantine": SEARCH,
    "mistralAuditLogs": SEARCH,
    "mistralAuditLogsBeta": SEARCH,
    "openaiAuditLogs": SEARCH,
    "searchEvents": SEARCH,
}
# Operation → the action its service records in the transaction of the change.
CHANGES: Mapping[str, tuple[str, ...]] = {
    "changeGroup": ("group.role_changed",),
    "changeMember": ("member.deactivated", "member.reactivated", "member.role_changed", "member.updated"),
    "changeRole": ("role.updated",),
    "changeWorkspace": ("workspace.archived", "workspace.restored", "workspace.updated"),
    "createRole": ("role.created",),
    "createTeam": ("team.created",),
    "createWorkspace": ("workspace.created",),
    "deleteTeam": ("team.deleted",),
    "deleteWorkspace": ("workspace.deleted",),
    "inviteMember": ("invitation.created",),
    "removeMember": ("member.removed",),
    "removeRole": ("role.removed",),
    "removeWorkspaceRole": ("member.workspace_role_changed",),
    "renameTeam": ("team.updated",),
    "rotateKey": ("key.rotated",),
    "setWorkspaceRole": ("member.workspace_role_changed",),
    "changeIdentityProvider": ("sso.configured",),
    "createIdentityProvider": ("sso.configured",),
    "createKey": ("key.created",),
    "createSignInLink": ("signin.link_created",),
    "createViewer": ("viewer_session.created",),
    "exchangeViewer": ("viewer_session.started",),
    "registerAction": ("catalogue.action_registered",),
    "removeIdentityProvider": ("sso.removed",),
    "reprocessQuarantine": ("quarantine.reprocessed",),
    "resetSecondFactor": ("second_factor.disabled",),
    "revokeKey": ("key.revoked",),
    "revokeSession": ("session.revoked",),
    "revokeViewer": ("viewer_session.revoked",),
    "scimCreateGroup": ("group.created",),
    "scimCreateUser": ("member.added",),
    "scimPatchGroup": ("group.members_changed", "group.updated"),
    "scimPatchUser": ("member.deactivated", "member.reactivated", "member.updated"),
    "scimRemoveGroup": ("group.removed",),
    "scimRemoveUser": ("member.removed",),
    "scimReplaceGroup": ("group.members_changed", "group.updated"),
    "scimReplaceUser": ("member.deactivated", "member.reactivated", "member.updated"),
    "switchOrganization": ("organization.audit_logs_disabled", "organization.audit_logs_enabled"),
}
# Operation that changes something → why it leaves no event of this stream.
UNRECORDED: Mapping[str, str] = {
    "scimSearch": "it asks and changes nothing",
    "scimSearchGroups": "it asks and changes nothing",
    "scimSearchUsers": "it asks and changes nothing",
    "recordBatch": "what is recorded is in the log itself, with the credential that brought it",
    "recordEvent": "what is recorded is in the log itself, with the credential that brought it",
}


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
        event = self._seen(call, look.action, principal, pairs)
        about: Hashable = (look.action, principal.id, call.scope["path"] if self._by_id else "", pairs)
        if look.first_recorded:
            await own_log.record(principal.organization_id, about, lambda: event, seconds=look.seconds)
        else:
            own_log.notice(principal.organization_id, about, lambda: event, seconds=look.seconds)

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
        if self._by_id and self._look is VIEW:
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
}


def _asked(call: Call, *, strict: bool = True) -> tuple[tuple[str, str], ...]:
    """Return what was asked for, without what only turns pages, sorted so that order makes no difference."""
    try:
        pairs = call.query()
    except errors.Refused:
        if strict:
            raise
        pairs = []
    return tuple(sorted((key, value) for key, value in pairs if key not in _PAGING))
