"""Groups of a directory over HTTP: who is in them is the directory's to say, what role goes with them is ours."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.services.people.directory import PAGE_MAX, Named
from tallystick.services.people.groups import GroupRow
from tallystick.web.api.answers import json_answer
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter
from tallystick.web.wish import DONE, ID, read_wish, wish

_OR_NULL = {"type": ["string", "null"], "minLength": 1}
LIST: dict[str, Any] = {
    "parameters": (
        Parameter(name="offset", summary="How many to skip.", schema={"type": "integer", "minimum": 0}),
        Parameter(name="limit", schema={"type": "integer", "minimum": 1, "maximum": PAGE_MAX}),
    )
}
CHANGE: dict[str, Any] = {
    "parameters": (ID,),
    "body": wish(
        {"role": _OR_NULL, "workspace": _OR_NULL}, "role", example={"role": "AUDITOR", "workspace": None}
    ),
    "replies": DONE,
}


class _Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: str | None
    workspace: str | None = None


async def list_groups(call: Call) -> Answer:
    """Return the groups that a directory keeps, with the role that goes with each, and how many are in it."""
    numbers = {"offset": 0, "limit": PAGE_MAX}
    for key, value in call.query():
        if key not in numbers or not value.isascii() or not value.isdigit() or len(value) > 9:
            raise Refused(f"'{key[:80]}' is no parameter of this call, or no number.", rule="parameter")
        numbers[key] = int(value)
    total, found = await call.services.groups.groups(
        call.caller, Named(), offset=numbers["offset"], limit=min(numbers["limit"], PAGE_MAX)
    )
    return json_answer({"groups": [_shown(one) for one in found], "total": total})


async def change_group(call: Call) -> Answer:
    """Say what role goes with a group, on the organization or in one workspace; null takes it away.

    From then on the directory that keeps the group says who has the role.
    """
    wanted = await read_wish(call, _Change)
    changed = await call.services.groups.give_role(
        call.caller, call.path("id"), wanted.role, wanted.workspace, call.context
    )
    return json_answer(_shown(changed))


def _shown(group: GroupRow) -> dict[str, Any]:
    return {
        "id": group.id,
        "display_name": group.display_name,
        "external_id": group.external_id,
        "role": group.role,
        "workspace": group.workspace_id,
        "members": len(group.members),
        "created_at": group.created_at,
    }
