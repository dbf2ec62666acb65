"""The log of the log: what is done to Tallystick itself is recorded in the log it concerns, stream `tallystick`.

An administrative change and its event are one transaction: `inside` makes the change where the event is appended, so
that neither is ever there without the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from msgspec import UNSET

from tallystick.errors import Forbidden
from tallystick.event.model import Actor, Context, Error, Event, Outcome, Target
from tallystick.services.group import Inside
from tallystick.services.ingest import Ingest, Recorded
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.verify.records import STREAM

CATALOGUE = "tallystick"  # catalogue/actions/tallystick.toml declares every action that is recorded here


def own_event(
    actor: Actor,
    action: str,
    *,
    targets: Sequence[Target] = (),
    before: Any = UNSET,
    after: Any = UNSET,
    outcome: Outcome = "success",
    error: Error | None = None,
    metadata: Mapping[str, Any] | None = None,
    context: Context | None = None,
    workspace: str | None = None,
) -> Event:
    """Return the event of an act on Tallystick itself; UNSET for `before` or `after` says there is nothing to tell."""
    return Event(
        action=action,
        actor=actor,
        targets=tuple(targets),
        stream=STREAM,
        workspace=workspace,
        outcome=outcome,
        error=error,
        context=context,
        before=before,
        after=after,
        metadata=None if metadata is None else dict(metadata),
    )


async def record_act(
    ingest: Ingest,
    principal: Principal,
    action: str,
    *,
    targets: Sequence[Target] = (),
    before: Any = UNSET,
    after: Any = UNSET,
    outcome: Outcome = "success",
    error: Error | None = None,
    metadata: Mapping[str, Any] | None = None,
    context: Context | None = None,
    workspace: str | None = None,
    inside: Inside | None = None,
) -> Recorded:
    """Record what `principal` did to Tallystick, and make the change itself by `inside`, both or neither.

    `action` is one of catalogue/actions/tallystick.toml, `context` that of the call (`Call.context` in web). Raises
    what `inside` raises, which undoes both, and what `Appender.append` raises.
    """
    event = own_event(
        actor_of(principal), action, targets=targets, before=before, after=after, outcome=outcome, error=error,
        metadata=metadata, context=context, workspace=workspace,
    )  # fmt: skip
    return await ingest.record_own(principal.organization_id, event, inside=inside)


def actor_of(principal: Principal) -> Actor:
    """Return the actor of an event that records what `principal` did here."""
    match principal.kind:
        case "key" | "operator":
            kind, credential = "api_key", principal.id
        case "member":
            kind, credential = "user", principal.session_id
        case "viewer" | "server":
            kind, credential = "service", principal.id
        case _:
            assert_never(principal.kind)
    return Actor(
        type=kind,
        id=principal.id,
        name=principal.name or None,
        email=principal.email,
        credential_id=credential,
    )


def require_whole_organization(principal: Principal, permission: str = MANAGE) -> None:
    """Raise Forbidden unless `principal` manages the organization and is not bound to some workspaces of it."""
    principal.require(permission)
    if not principal.sees_all:
        raise Forbidden(
            "This credential is bound to a part of the organization, and this concerns all of it. Use one of the "
            "whole organization.",
            rule="workspace",
        )
