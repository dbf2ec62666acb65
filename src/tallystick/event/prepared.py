"""One event between checking and sealing: what searching needs of it, and what the leaf is made of."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from tallystick.event.leaf import LeafDelegator, LeafProducer, LeafRoles, LeafTarget, SealedPath
from tallystick.event.model import Flag


class Subject(Struct, frozen=True, gc=False):
    """Who an actor or delegator is, for the subject directory; `id` is "" where the type needs none."""

    type: str
    id: str
    name: str | None
    email: str | None


class Prepared(Struct, frozen=True, kw_only=True, gc=False):
    """One event ready to be sealed.

    The first fields are what searching needs ("" = none). The rest is for `seal`: the clear parts of the
    leaf, and `sealed`, the canonical bytes of each sealed value in the byte order of their paths, without
    `flags` and `redacted`, which `seal` adds.
    """

    id: UUID
    id_given: bool
    action: str
    outcome: str
    stream: str
    workspace: str
    occurred_at: datetime | None
    actor_type: str
    subjects: tuple[Subject, ...]
    target_type: str
    target_id: str
    more_targets: tuple[str, ...]
    ip: str
    request_id: str
    size_bytes: int

    id_text: str
    occurred_text: str
    credential_id: str | None
    roles: LeafRoles | None
    delegators: tuple[LeafDelegator, ...]
    targets: tuple[LeafTarget, ...]
    clear_request_id: str | None
    clear_workspace: str | None
    sealed: list[tuple[SealedPath, bytes]]
    flags: tuple[Flag, ...]
    redacted: tuple[str, ...]
    producer: LeafProducer | None = None
