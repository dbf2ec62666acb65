"""The event a leaf and its opening show to a reader, in the same words as the API.

`event.render` makes the same value for the API out of plain dictionaries; a test holds the two equal. This
one is built for speed: texts stay encoded from the opening to the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from tallystick.event.leaf import (
    ERASED,
    REST,
    Leaf,
    LeafActor,
    LeafDelegator,
    LeafProducer,
    LeafRoles,
    LeafTarget,
)
from tallystick.event.limits import ON_BEHALF_OF_MAX, TARGETS_MAX

Opening = Mapping[str, Raw]

TARGET_NAMES: Final = tuple(f"targets/{at}/name" for at in range(TARGETS_MAX))
DELEGATORS: Final = tuple(f"actor/on_behalf_of/{at}" for at in range(ON_BEHALF_OF_MAX))


class _Part(Struct, omit_defaults=True, gc=False):
    pass


class ReadableDelegator(_Part):
    """One of those on whose behalf the actor acted."""

    type: str
    credential_id: str | None = None
    roles: LeafRoles | None = None
    email: Raw | None = None
    id: Raw | None = None
    name: Raw | None = None


class ReadableActor(_Part):
    """Who did it."""

    type: str
    credential_id: str | None = None
    roles: LeafRoles | None = None
    id: Raw | None = None
    name: Raw | None = None
    email: Raw | None = None
    on_behalf_of: list[ReadableDelegator] | None = None


class ReadableTarget(_Part):
    """What it was done to."""

    type: str
    id: str
    name: Raw | None = None


class ReadableContext(_Part):
    """From where it was done."""

    ip: Raw | None = None
    user_agent: Raw | None = None
    session_id: Raw | None = None
    trace_id: Raw | None = None
    http: Raw | None = None
    location: Raw | None = None
    request_id: str | None = None


# All but the first have a default, so that absent ones are left out wherever they stand.
class Readable(_Part):
    """One recorded event; fields that are absent have no key."""

    id: str
    position: int
    organization: str
    action: str
    outcome: str
    stream: str
    workspace: str | None = None
    occurred_at: str | None = None
    received_at: str | None = None
    source: str | None = None
    actor: ReadableActor | None = None
    targets: list[ReadableTarget] | None = None
    context: ReadableContext | None = None
    error: Raw | None = None
    before: Raw | None = None
    after: Raw | None = None
    metadata: Raw | None = None
    producer: LeafProducer | None = None
    redacted: Raw | None = None
    flags: Raw | None = None
    erased: list[str] | None = None


_who = msgspec.json.Decoder(dict[str, Raw]).decode
_erased = msgspec.json.Decoder(dict[str, str]).decode
_rest = msgspec.json.Decoder(tuple[LeafTarget, ...]).decode


def readable(leaf: Leaf, opening: Opening, position: int, organization: str) -> Readable:
    """Return the event at `position`; encoding it gives the JSON a reader sees.

    Raises msgspec.ValidationError or IndexError where leaf or opening hold what is no part of an event.
    """
    get = opening.get
    actor = leaf.actor
    return Readable(
        leaf.id,
        position,
        organization,
        leaf.action,
        leaf.outcome,
        leaf.stream,
        leaf.workspace,
        leaf.occurred_at,
        leaf.received_at,
        leaf.source,
        ReadableActor(
            actor.type,
            actor.credential_id,
            actor.roles,
            get("actor/id"),
            get("actor/name"),
            get("actor/email"),
            _delegators(actor, opening) if actor.on_behalf_of else None,
        ),
        [
            ReadableTarget(one.type, one.id, get(name))
            for one, name in zip(_all_targets(leaf, opening), TARGET_NAMES, strict=False)
        ],
        _context(leaf, opening),
        get("error"),
        get("before"),
        get("after"),
        get("metadata"),
        leaf.producer,
        get("redacted"),
        get("flags"),
        ["/" + path for path in sorted(_erased(opening[ERASED]))] if ERASED in opening else None,
    )


def _delegators(actor: LeafActor, opening: Opening) -> list[ReadableDelegator]:
    return [_delegator(one, opening.get(DELEGATORS[at])) for at, one in enumerate(actor.on_behalf_of)]


def _delegator(one: LeafDelegator, sealed: Raw | None) -> ReadableDelegator:
    who = {} if sealed is None else _who(sealed)
    return ReadableDelegator(
        one.type, one.credential_id, one.roles, who.get("email"), who.get("id"), who.get("name")
    )


def _all_targets(leaf: Leaf, opening: Opening) -> tuple[LeafTarget, ...]:
    targets = leaf.targets + _rest(opening[REST]) if REST in opening else leaf.targets
    if len(targets) > TARGETS_MAX:
        raise IndexError(f"an event has at most {TARGETS_MAX} targets")
    return targets


def _context(leaf: Leaf, opening: Opening) -> ReadableContext | None:
    get = opening.get
    ip, agent, request, session = (
        get("context/ip"),
        get("context/user_agent"),
        leaf.request_id,
        get("context/session_id"),
    )
    trace, http, location = get("context/trace_id"), get("context/http"), get("context/location")
    if ip is agent is request is session is trace is http is location is None:
        return None
    return ReadableContext(ip, agent, session, trace, http, location, request)
