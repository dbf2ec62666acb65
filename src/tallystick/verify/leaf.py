"""The leaf, version 1, as a verifier reads it: decoding and encoding it again must give the same bytes."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tallystick.event.model import ActorType, Outcome


# Fields stand in byte order, so that encoding a decoded leaf gives its canonical form and nothing else.
class LeafRoles(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """The roles in a leaf."""

    organization: str | UnsetType = UNSET
    workspace: str | UnsetType = UNSET


class LeafDelegator(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """One of those on whose behalf the actor acted: no name, no id, only a reference."""

    credential_id: str | UnsetType = UNSET
    ref: str
    roles: LeafRoles | UnsetType = UNSET
    type: ActorType


class LeafActor(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """The actor in a leaf."""

    credential_id: str | UnsetType = UNSET
    on_behalf_of: tuple[LeafDelegator, ...] | UnsetType = UNSET
    ref: str
    roles: LeafRoles | UnsetType = UNSET
    type: ActorType


class LeafTarget(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """A target in a leaf; its name is sealed."""

    id: str
    type: str


class Leaf(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """The clear part of an event, version 1."""

    action: str
    actor: LeafActor
    id: str
    occurred_at: str
    origin: str
    outcome: Outcome
    received_at: str
    request_id: str | UnsetType = UNSET
    sealed: str
    source: str
    stream: str
    targets: tuple[LeafTarget, ...] | UnsetType = UNSET
    v: Literal[1]
    workspace: str | UnsetType = UNSET


# Decodes a leaf; raises msgspec.MsgspecError for anything that is not one.
read_leaf = msgspec.json.Decoder(Leaf).decode
# Encodes a leaf canonically (RFC 8785): it has no number but `v`, and its keys are ASCII and in order.
write_leaf = msgspec.json.Encoder().encode
