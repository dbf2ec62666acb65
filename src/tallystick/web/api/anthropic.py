"""Anthropic's compliance activity feed: `GET /v1/compliance/activities`.

Source: Anthropic's Compliance API, "Activity feed".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tallystick.errors import AuditError
from tallystick.query.model import Clause, Query
from tallystick.services.contracts import Ask, Found, exactly, too_slow
from tallystick.services.contracts.anthropic import actor_id, anthropic_item
from tallystick.web.api.answers import json_answer
from tallystick.web.api.contract import (
    Given,
    errors_of,
    object_of,
    replies_of,
    require_organization,
    window,
)
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter

LIMIT_DEFAULT = 100
LIMIT_MAX = 5_000
_TIME = {"type": "string", "format": "date-time"}
PARAMETERS = (
    Parameter(name="activity_types[]", summary="Only activities of these types.", repeats=True,
              example="claude_chat_created"),
    Parameter(name="exclude_activity_types[]", summary="No activities of these types.", repeats=True),
    Parameter(name="actor_ids[]", summary="Only activities of these users, keys or services.", repeats=True),
    Parameter(name="organization_ids[]", summary="Only activities of these organizations.", repeats=True),
    *(
        Parameter(name=f"created_at.{bound}", summary=f"Activities {words} this, RFC 3339.", schema=_TIME)
        for bound, words in (("gt", "after"), ("gte", "at or after"), ("lt", "before"), ("lte", "at or before"))
    ),
    Parameter(name="limit", summary="Number of activities to return.",
              schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    Parameter(name="after_id", summary="The id of the activity after which (older) the page begins."),
    Parameter(name="before_id", summary="The id of the activity before which (newer) the page ends."),
)  # fmt: skip
_ID = {"type": ["string", "null"]}
_DATA = {"type": "array", "items": {"type": "object"}}
REPLIES = replies_of(
    object_of(data=_DATA, has_more={"type": "boolean"}, first_id=_ID, last_id=_ID),
    object_of(
        type={"const": "error"},
        error=object_of(type={"type": "string"}, message={"type": "string"}),
        request_id=_ID,
    ),
)


async def list_activities(call: Call) -> Answer:
    """List activities, newest first.

    Anthropic's contract. `last_id` as `after_id` leads to older ones, `first_id` as `before_id` to newer ones.
    """
    require_organization(call)
    given = Given(call, PARAMETERS)
    since, until = window(
        after=given.moment("created_at.gt"),
        since=given.moment("created_at.gte"),
        before=given.moment("created_at.lt"),
        through=given.moment("created_at.lte"),
    )
    limit = given.number("limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    after, before = given.text("after_id"), given.text("before_id")
    if after is not None and before is not None:
        given.bad("before_id", "conflict", "Give after_id or before_id, not both")
    types, actors = given.texts("activity_types"), given.texts("actor_ids")
    excluded, organizations = given.texts("exclude_activity_types"), given.texts("organization_ids")
    given.done()
    if organizations is not None and str(call.caller.organization_id) not in map(str.lower, organizations):
        return json_answer(_page(Found([], None, 0)))
    clauses = [] if types is None else [exactly(types)]
    if actors is not None:
        clauses.append(Clause("actor_id", tuple(sorted(actors))))
    query = Query(
        only=tuple(sorted(clauses)),
        since=since,
        until=until,
        order="newest" if before is None else "oldest",
    )
    keep = _keep(types, excluded, actors)
    ask = Ask(contract="anthropic", query=query, limit=limit, keep=keep)
    if (text := after or before) is not None:
        name = "after_id" if after is not None else "before_id"
        ask = await call.services.contracts.at_event(call.caller, ask, text, name)
    found = await call.services.contracts.page(call.caller, ask)
    if before is not None:
        found = replace(found, rows=found.rows[::-1])
    return json_answer(_page(found))


def _page(found: Found) -> dict[str, Any]:
    if found.stopped and not found.rows:
        raise too_slow()
    items = [anthropic_item(row.event) for row in found.rows]
    return {
        "data": items,
        "has_more": found.place is not None,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
    }


def _keep(
    types: tuple[str, ...] | None, excluded: tuple[str, ...] | None, actors: tuple[str, ...] | None
) -> Callable[[dict[str, Any]], bool] | None:
    if types is None and excluded is None and actors is None:
        return None

    def keep(event: dict[str, Any]) -> bool:
        return (
            (types is None or event["action"] in types)
            and (excluded is None or event["action"] not in excluded)
            and (actors is None or actor_id(event) in actors)
        )

    return keep


_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error",
}  # fmt: skip


def _shape(error: AuditError, status: int, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": str(error)},
        "request_id": request_id or None,
    }


anthropic_errors = errors_of(_shape)
