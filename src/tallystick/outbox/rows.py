"""Changed rows as events: what an ORM's capture has in common with any other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import UNSET, Struct

from tallystick.client.actors import Actor, Target
from tallystick.client.audit import AsyncAudit, Audit
from tallystick.client.snapshot import snapshot

Kind = Literal["insert", "update", "delete"]
_VERBS: Final[dict[Kind, str]] = {"insert": "create", "update": "update", "delete": "delete"}


class AuditOptions(Struct, frozen=True, kw_only=True):
    """How changes of a model are recorded; put one on the class as `__audit__`.

    Args:
        type: of the target; by default the class's name in snake_case. Actions are `<type>.create`, `.update`, `.delete`.
        exclude: columns that are in no event. name: the column that names a row for people.
    """

    type: str | None = None
    exclude: frozenset[str] | set[str] = frozenset()
    name: str | None = None


class Change(Struct, frozen=True, kw_only=True):
    """One row before and after; UNSET where there was or is none. `key` is its primary key, `others` are more targets."""

    kind: Kind
    type: str
    key: Sequence[Any]
    before: Mapping[str, Any] | Any = UNSET
    after: Mapping[str, Any] | Any = UNSET
    name: str | None = None  # the column that names it
    others: Sequence[Target] = ()
    metadata: Mapping[str, Any] | None = None


def composed(
    audit: Audit | AsyncAudit, change: Change, *, actor: Actor | None = None
) -> tuple[str, bytes] | None:
    """Return id and bytes of the event of a change, None where nothing was changed."""
    before = change.before if change.before is UNSET else snapshot(change.before)
    after = change.after if change.after is UNSET else snapshot(change.after)
    if before == after:
        return None
    shown = before if after is UNSET else after
    name = shown.get(change.name) if change.name and isinstance(shown, dict) else None
    target = Target(change.type, ",".join(map(str, change.key)), None if name is None else str(name))
    return audit.compose(
        f"{change.type}.{_VERBS[change.kind]}", actor=actor, target=target, targets=change.others, before=before,
        after=after, metadata=change.metadata,
    )  # fmt: skip


def snake(name: str) -> str:
    """Return the name of a class as the type of a target: LineItem → line_item."""
    made = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return made.replace("__", "_")


__all__ = ["AuditOptions", "Change", "Kind", "composed", "snake"]
