"""The event a leaf and its opening show to a reader, in the same words as the API.

`event.render` makes the same value for the API out of plain dictionaries; a test holds the two equal. This
one is built for speed: texts stay encoded from the opening to the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from tallystick.event.limits import ON_BEHALF_OF_MAX, TARGETS_MAX
from tallystick.event.model import ActorType
from tallystick.verify.leaf import Leaf, LeafActor, LeafDelegator, LeafRoles

Opening = Mapping[str, Raw]

TARGET_NAMES: Final = tuple(f"targets/{at}/name" for at in range(TARGETS_MAX))
DELEGATORS: Final = tuple(f"actor/on_behalf_of/{at}" for at in range(ON_BEHALF_OF_MAX))


class Sealed(Struct, forbid_unknown_fields=True):
    """What the opening holds of one of those acted for."""

    id: Raw | UnsetType = UNSET
    name: Raw | UnsetType = UNSET
    email: Raw | UnsetType = UNSET


class ReadableDelegator(Struct, gc=False):
    """One of those on whose behalf the actor acted."""

    type: ActorType
    id: Raw | UnsetType
    name: Raw | UnsetType
    email: Raw | UnsetType
    credential_id: str | UnsetType
    roles: LeafRoles | UnsetType


class ReadableActor(Struct, gc=False):
    """Who did it."""

    type: ActorType
    id: Raw | UnsetType
    name: Raw | UnsetType
    email: Raw | UnsetType
    credential_id: str | UnsetType
    roles: LeafRoles | UnsetType
    on_behalf_of: list[ReadableDelegator] | UnsetType


class ReadableTarget(Struct, gc=False):
    """What it was done to."""

    type: str
    id: str
    name: Raw | UnsetType


class ReadableContext(Struct, gc=False):
    """From where it was done."""

    ip: Raw | UnsetType
    user_agent: Raw | UnsetType
    request_id: str | UnsetType
    session_id: Raw | UnsetType
    trace_id: Raw | UnsetType
    http: Raw | UnsetType
    location: Raw | UnsetType


class Readable(Struct, gc=False):
    """One recorded event; fields that are absent have no key."""

    id: str
    organization: str
    position: int
    received_at: str
    occurred_at: str
    action: str
    outcome: str
    stream: str
    workspace: str | UnsetType
    source: str
    actor: ReadableActor
    targets: list[ReadableTarget | Raw]
    context: ReadableContext | UnsetType
    error: Raw | UnsetType
    before: Raw | UnsetType
    after: Raw | UnsetType
    metadata: Raw | UnsetType
    redacted: Raw | UnsetType
    flags: Raw | UnsetType


_sealed = msgspec.json.Decoder(Sealed).decode
_rest = msgspec.json.Decoder(list[Raw]).decode
_NOBODY: Final = Sealed()


def readable(leaf: Leaf, opening: Opening, position: int, organization: str) -> Readable:
    """Return the event at `position`; encoding it gives the JSON a reader sees.

    Raises msgspec.ValidationError where the opening holds something that is no part of an event.
    """
    get = opening.get
    return Readable(
        leaf.id,
        organization,
        position,
        leaf.received_at,
        leaf.occurred_at,
        leaf.action,
        leaf.outcome,
        leaf.stream,
        leaf.workspace,
        leaf.source,
        _actor(leaf.actor, opening),
        _targets(leaf, opening),
        _context(leaf, opening),
        get("error", UNSET),
        get("before", UNSET),
        get("after", UNSET),
        get("metadata", UNSET),
        get("redacted", UNSET),
        get("flags", UNSET),
    )


def _actor(actor: LeafActor, opening: Opening) -> ReadableActor:
    get = opening.get
    chain = actor.on_behalf_of
    return ReadableActor(
        actor.type,
        get("actor/id", UNSET),
        get("actor/name", UNSET),
        get("actor/email", UNSET),
        actor.credential_id,
        actor.roles,
        UNSET
        if chain is UNSET
        else [_delegator(one, opening.get(DELEGATORS[at])) for at, one in enumerate(chain)],
    )


def _delegator(one: LeafDelegator, sealed: Raw | None) -> ReadableDelegator:
    who = _NOBODY if sealed is None else _sealed(sealed)
    return ReadableDelegator(one.type, who.id, who.name, who.email, one.credential_id, one.roles)


def _targets(leaf: Leaf, opening: Opening) -> list[ReadableTarget | Raw]:
    if leaf.targets is UNSET:
        shown: list[ReadableTarget | Raw] = []
    else:
        get = opening.get
        shown = [
            ReadableTarget(one.type, one.id, get(TARGET_NAMES[at], UNSET))
            for at, one in enumerate(leaf.targets)
        ]
    rest = opening.get("targets/rest")
    return shown if rest is None else shown + _rest(rest)


def _context(leaf: Leaf, opening: Opening) -> ReadableContext | UnsetType:
    get = opening.get
    context = ReadableContext(
        get("context/ip", UNSET),
        get("context/user_agent", UNSET),
        leaf.request_id,
        get("context/session_id", UNSET),
        get("context/trace_id", UNSET),
        get("context/http", UNSET),
        get("context/location", UNSET),
    )
    return UNSET if context == _NOWHERE else context


_NOWHERE: Final = ReadableContext(UNSET, UNSET, UNSET, UNSET, UNSET, UNSET, UNSET)
