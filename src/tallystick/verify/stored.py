"""One stored row: does every column say what its leaf and opening say?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from tallystick.errors import Tampered
from tallystick.event.projection import Projection, projection
from tallystick.event.unseal import unseal

VerbOf = Callable[[str], str]

PROJECTED = (
    "received_at", "occurred_at", "id", "actor_ref", "actor_type", "action", "outcome", "stream", "workspace",
    "target_type", "target_id", "more_targets", "ip", "request_id",
)  # fmt: skip


class StoredRow(NamedTuple):
    """A row of audit_logs, its columns as Python values; times are aware, in any zone."""

    position: int
    received_at: datetime
    occurred_at: datetime
    id: UUID
    actor_ref: UUID
    actor_type: str
    action: str
    verb: str
    outcome: str
    stream: str
    workspace: str
    target_type: str
    target_id: str
    more_targets: tuple[str, ...]
    ip: str
    request_id: str
    leaf_hash: bytes
    seed: bytes
    leaf: bytes
    opening: bytes


class Wrong(NamedTuple):
    """What is wrong with a row: a kind in a word, and a sentence."""

    kind: str
    message: str


def check_row(row: StoredRow, organization_id: UUID, verb_of: VerbOf) -> Iterator[Wrong]:
    """Yield everything about one row that does not follow from its leaf and opening.

    `verb_of` gives the verb class of an action, as the append asked for it.
    """
    if sha256(b"\x00" + row.leaf).digest() != row.leaf_hash:
        yield Wrong("leaf_hash", "the stored hash is not that of the stored leaf")
    try:
        unseal(row.leaf, row.opening, row.seed)
        proven = projection(row.leaf, row.opening)
    except Tampered as error:
        yield Wrong(error.rule, str(error))
        return
    if proven.organization_id != organization_id:
        yield Wrong("origin", "its event is of another organization's log")
    yield from _columns(row, proven)
    if row.verb != verb_of(row.action):
        yield Wrong("projection", f"column verb does not say what the catalogue says of {row.action!a}")


def _columns(row: StoredRow, proven: Projection) -> Iterator[Wrong]:
    for column in PROJECTED:
        if getattr(row, column) != getattr(proven, column):
            yield Wrong("projection", f"column {column} does not say what the event says")
