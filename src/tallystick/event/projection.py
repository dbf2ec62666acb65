"""The searchable columns of a stored row, computed from what the log proves.

The append writes them and every verifier computes them again: a column edited by hand, so that a search
misses the row, is found.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Refused, Tampered
from tallystick.event.address import indexed_ip
from tallystick.event.leaf import REST, Leaf, read_leaf, read_opening
from tallystick.event.moment import read_instant


class Projection(Struct, frozen=True, kw_only=True):
    """Columns of `audit_logs` that follow from leaf and opening; "" stands for none.

    `verb` is not here: it follows from the catalogue, which is another room.
    """

    organization_id: UUID
    received_at: datetime
    occurred_at: datetime
    id: UUID
    actor_ref: UUID
    actor_type: str
    action: str
    outcome: str
    stream: str
    workspace: str
    target_type: str
    target_id: str
    more_targets: tuple[str, ...]
    ip: str
    request_id: str


def projection(leaf: bytes, opening: bytes) -> Projection:
    """Return the columns of a row with this leaf and opening; raises Tampered when they cannot be read."""
    parsed = read_leaf(leaf)
    values = read_opening(opening)
    targets = all_targets(parsed, values)
    try:
        return Projection(
            organization_id=UUID(organization_of(parsed.origin)),
            received_at=read_instant(parsed.received_at)[0],
            occurred_at=read_instant(parsed.occurred_at)[0],
            id=UUID(parsed.id),
            actor_ref=UUID(parsed.actor.ref),
            actor_type=parsed.actor.type,
            action=parsed.action,
            outcome=parsed.outcome,
            stream=parsed.stream,
            workspace=parsed.workspace or "",
            target_type=targets[0][0] if targets else "",
            target_id=targets[0][1] if targets else "",
            more_targets=tuple(text for target in targets[1:] for text in target),
            ip=indexed_ip(values.get("context/ip")),
            request_id=parsed.request_id or "",
        )
    except (ValueError, Refused) as error:
        raise Tampered(f"the stored leaf cannot be read: {error}", rule="leaf") from None


def organization_of(origin: str) -> str:
    """Return the organization's id in the origin of its log, `<instance>/o/<id>`."""
    return origin.rpartition("/o/")[2]


def all_targets(leaf: Leaf, values: dict[str, object]) -> list[tuple[str, str]]:
    """Return type and id of every target, those that did not fit into the leaf included."""
    targets = [(target.type, target.id) for target in leaf.targets]
    rest = values.get(REST, ())
    try:
        targets += [(target["type"], target["id"]) for target in rest]  # pyright: ignore
    except (TypeError, KeyError) as error:
        raise Tampered(f"the stored targets cannot be read: {error}", rule="opening") from None
    return targets
