"""The event as the API shows it, put together again from leaf and opening."""

from __future__ import annotations

from typing import Any

import msgspec

from tallystick.event.changes import changes
from tallystick.event.leaf import (
    ERASED,
    Leaf,
    LeafActor,
    LeafDelegator,
    LeafProducer,
    LeafRoles,
    read_leaf,
    read_opening,
)
from tallystick.event.projection import all_targets, organization_of


def render(leaf: bytes, opening: bytes, position: int, *, with_changes: bool = True) -> dict[str, Any]:
    """Return the event as JSON-ready values: what was sent, and what the server added.

    Absent fields are left out; `stream`, `outcome`, `actor` and `targets` are always there. `changes` is
    there when both `before` and `after` are (and wanted), `erased` lists what erasure removed.
    Raises Tampered when leaf or opening cannot be read.
    """
    parsed = read_leaf(leaf)
    values = read_opening(opening)
    event: dict[str, Any] = {
        "id": parsed.id,
        "position": position,
        "organization": organization_of(parsed.origin),
        "action": parsed.action,
        "outcome": parsed.outcome,
        "stream": parsed.stream,
    }
    if parsed.workspace is not None:
        event["workspace"] = parsed.workspace
    event["occurred_at"] = parsed.occurred_at
    event["received_at"] = parsed.received_at
    event["source"] = parsed.source
    event["actor"] = _actor(parsed.actor, values)
    event["targets"] = _targets(parsed, values)
    context = _context(parsed, values)
    if context:
        event["context"] = context
    for name in ("error", "before", "after", "metadata"):
        if name in values:
            event[name] = values[name]
    if with_changes and "before" in values and "after" in values:
        event["changes"] = msgspec.to_builtins(list(changes(values["before"], values["after"])))
    if parsed.producer is not None:
        event["producer"] = _producer(parsed.producer)
    for name in ("redacted", "flags"):
        if name in values:
            event[name] = values[name]
    if ERASED in values:
        event["erased"] = ["/" + path for path in sorted(values[ERASED])]
    return event


def _producer(producer: LeafProducer) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": producer.id, "epoch": producer.epoch, "sequence": producer.sequence}
    if producer.unsent:
        shown["unsent"] = [{"first": span.first, "last": span.last} for span in producer.unsent]
    return shown


def _actor(actor: LeafActor, values: dict[str, Any]) -> dict[str, Any]:
    shown = _clear(actor)
    for name in ("id", "name", "email"):
        if f"actor/{name}" in values:
            shown[name] = values[f"actor/{name}"]
    chain = [
        _clear(link) | values.get(f"actor/on_behalf_of/{index}", {})
        for index, link in enumerate(actor.on_behalf_of)
    ]
    if chain:
        shown["on_behalf_of"] = chain
    return shown


def _clear(actor: LeafActor | LeafDelegator) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": actor.type}
    if actor.credential_id is not None:
        shown["credential_id"] = actor.credential_id
    if actor.roles is not None:
        shown["roles"] = _roles(actor.roles)
    return shown


def _roles(roles: LeafRoles) -> dict[str, str]:
    both = {"organization": roles.organization, "workspace": roles.workspace}
    return {name: role for name, role in both.items() if role is not None}


def _targets(leaf: Leaf, values: dict[str, Any]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for index, (type, id) in enumerate(all_targets(leaf, values)):
        target = {"type": type, "id": id}
        name = values.get(f"targets/{index}/name")
        if name is not None:
            target["name"] = name
        shown.append(target)
    return shown


def _context(leaf: Leaf, values: dict[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name in ("ip", "user_agent", "session_id", "trace_id", "http", "location"):
        if f"context/{name}" in values:
            context[name] = values[f"context/{name}"]
    if leaf.request_id is not None:
        context["request_id"] = leaf.request_id
    return context
