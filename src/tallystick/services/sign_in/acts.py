"""The events that sign-in writes into the log: who, from where, how, and why not."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct

from tallystick.event.model import Actor, Context, Error, Event, Outcome, Target
from tallystick.services.own_events import own_event
from tallystick.store.sign_in import Standing

USER_AGENT_MAX = 512
SERVER = Actor(type="system", name="Tallystick")


class Visit(Struct, frozen=True, kw_only=True):
    """Where a request came from."""

    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


def context_of(visit: Visit, session_id: str | None = None) -> Context:
    """Return the context of an event; a user agent is kept up to 512 characters."""
    agent = visit.user_agent[:USER_AGENT_MAX] if visit.user_agent else None
    return Context(ip=visit.ip, user_agent=agent, request_id=visit.request_id, session_id=session_id)


def person(standing: Standing) -> Actor:
    """Return a member as the actor of an event."""
    return Actor(
        type="user", id=standing.id, name=standing.display_name or None, email=standing.email or None
    )


def stranger(email: str | None) -> Actor:
    """Return somebody of whom only a typed address is known; what does not look like one is not kept."""
    looks_like_one = email is not None and email.count("@") == 1 and " " not in email and len(email) <= 254
    return Actor(type="anonymous", email=email if looks_like_one else None)


def member_target(member_id: str, name: str | None = None) -> Target:
    """Return a member as what an act was done to."""
    return Target(type="membership", id=member_id, name=name or None)


def session_target(session_id: str) -> Target:
    """Return a session as what an act was done to."""
    return Target(type="session", id=session_id)


def act(
    action: str,
    actor: Actor,
    visit: Visit,
    *targets: Target,
    outcome: Outcome = "success",
    reason: str | None = None,
    message: str | None = None,
    session_id: str | None = None,
    before: Any = UNSET,
    after: Any = UNSET,
    metadata: dict[str, Any] | None = None,
) -> Event:
    """Return an event of the stream `tallystick`; `reason` is a word that does not change between releases."""
    return own_event(
        actor,
        action,
        targets=targets,
        outcome=outcome,
        error=None if reason is None else Error(code=reason, message=message),
        context=context_of(visit, session_id),
        before=before,
        after=after,
        metadata=metadata,
    )
