"""OpenAI's audit log: `GET /v1/organization/audit_logs`.

Source: OpenAI's API reference, "List audit logs", and its Python client, which pages by `after`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tallystick.errors import AuditError, Refused
from tallystick.query.model import Clause, Query
from tallystick.query.text import fold
from tallystick.services.contracts import Ask, Clauses, Found, exactly, too_slow
from tallystick.services.contracts.openai import actor_email, actor_ids, is_tenant_scoped, openai_item
from tallystick.web.api.answers import json_answer
from tallystick.web.api.contract import (
    BadParameters,
    Given,
    errors_of,
    object_of,
    replies_of,
    require_organization,
)
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
# From the year 1 to the last second but one of 9999, so that every second there is has one after it.
SECONDS_MIN = -62_135_596_800
SECONDS_MAX = 253_402_300_798
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = {"type": "integer"}
PARAMETERS = (
    *(
        Parameter(name=f"effective_at[{bound}]", summary=f"Events whose time in unix seconds is {words} this.",
                  schema=_SECONDS)
        for bound, words in (("gt", "greater than"), ("gte", "greater than or equal to"), ("lt", "less than"),
                             ("lte", "less than or equal to"))
    ),
    Parameter(name="project_ids[]", summary="Only events of these projects.", repeats=True),
    Parameter(name="event_types[]", summary="Only events of these types.", repeats=True, example="api_key.created"),
    Parameter(name="actor_ids[]", summary="Only events of these users, service accounts or API keys.", repeats=True),
    Parameter(name="actor_emails[]", summary="Only events of users with these e-mails.", repeats=True),
    Parameter(name="resource_ids[]", summary="Only events done to these targets.", repeats=True),
    Parameter(name="tenant_only", summary="Only events scoped to the tenant.", schema={"type": "boolean"}),
    Parameter(name="limit", summary="Number of objects to return.",
              schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    Parameter(name="after", summary="The id of the object after which the page begins."),
    Parameter(name="before", summary="The id of the object before which the page ends."),
)  # fmt: skip
_ID = {"type": ["string", "null"]}
_DATA = {"type": "array", "items": {"type": "object"}}
REPLIES = replies_of(
    object_of(object={"const": "list"}, data=_DATA, first_id=_ID, last_id=_ID, has_more={"type": "boolean"}),
    object_of(error=object_of(message={"type": "string"}, type={"type": "string"}, param=_ID, code=_ID)),
)


async def list_audit_logs(call: Call) -> Answer:
    """List user actions and configuration changes, newest first.

    OpenAI's contract. Pages go on at the id of their last object.
    """
    require_organization(call)
    given = Given(call, PARAMETERS)
    since, until = _window(given)
    limit = given.number("limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    after, before = given.text("after"), given.text("before")
    if after is not None and before is not None:
        given.bad("before", "conflict", "Give after or before, not both")
    clauses, keep = _filters(given)
    actors, emails = given.texts("actor_ids"), given.texts("actor_emails")
    given.done()
    any_of, credentials = await _actors(call, actors, emails)
    ask = Ask(
        contract="openai",
        query=Query(only=clauses, since=since, until=until, order="newest" if before is None else "oldest"),
        limit=limit,
        keep=keep,
        any_of=any_of,
        credentials=credentials,
    )
    if (text := after or before) is not None:
        name = "after" if after is not None else "before"
        ask = await call.services.contracts.at_event(call.caller, ask, text, name)
    found = await call.services.contracts.page(call.caller, ask)
    if before is not None:
        found = replace(found, rows=found.rows[::-1])
    return json_answer(_page(found))


def _page(found: Found) -> dict[str, Any]:
    if found.stopped and not found.rows:
        raise too_slow()
    items = [openai_item(row.event) for row in found.rows]
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": found.place is not None,
    }


def _window(given: Given) -> tuple[datetime | None, datetime | None]:
    """Return the times that `effective_at` allows; it is shown in whole seconds, so a bound stands for its second."""

    def bound(name: str, add: int) -> datetime | None:
        key = f"effective_at.{name}"
        if given.texts(key) is None:
            return None
        return EPOCH + timedelta(
            seconds=given.number(key, default=0, least=SECONDS_MIN, most=SECONDS_MAX) + add
        )

    lower = [moment for moment in (bound("gt", 1), bound("gte", 0)) if moment is not None]
    upper = [moment for moment in (bound("lt", 0), bound("lte", 1)) if moment is not None]
    return max(lower, default=None), min(upper, default=None)


async def _actors(
    call: Call, ids: tuple[str, ...] | None, emails: tuple[str, ...] | None
) -> tuple[tuple[Clauses, ...], tuple[str, ...]]:
    """Return the ways to find who is asked for, and the ids that may be credentials."""
    contracts = call.services.contracts
    if ids is not None:
        # Who must have one of the e-mails too is found by the ids alone; the e-mail decides afterwards.
        return await contracts.actors_with(call.caller, ids)
    if emails is not None:
        return await contracts.actors_known_as(call.caller, emails), ()
    return ((),), ()


def _filters(given: Given) -> tuple[tuple[Clause, ...], Callable[[dict[str, Any]], bool] | None]:
    """Return what narrows the search, and what decides on each event by what of it is shown."""
    types, emails, actors = given.texts("event_types"), given.texts("actor_emails"), given.texts("actor_ids")
    tenant_only = given.choices("tenant_only", ("true", "false")) == ("true",)
    clauses: list[Clause] = []
    if types is not None:
        clauses.append(exactly(types))
        if tenant_only and not all(map(is_tenant_scoped, types)):
            given.bad(
                "event_types", "value_error", "With tenant_only every type must be scoped to the tenant"
            )
    elif tenant_only:
        clauses.append(Clause("action", ("^role.", "^tenant.")))
    for name, key in (("project_ids", "workspace"), ("resource_ids", "target_id")):
        values = given.texts(name)
        if values is not None:
            clauses.append(Clause(key, tuple(sorted(values))))
    projects = given.texts("project_ids")
    folded = None if emails is None else frozenset(map(fold, emails))

    def keep(event: dict[str, Any]) -> bool:
        return (
            (types is None or event["action"] in types)
            and (not tenant_only or is_tenant_scoped(event["action"]))
            and (folded is None or actor_email(event) in folded)
            and (projects is None or event.get("workspace") in projects)
            and (actors is None or any(one in actors for one in actor_ids(event) if one))
        )

    asked = clauses or actors is not None or emails is not None
    return tuple(sorted(clauses)), keep if asked else None


_TYPES = {401: "invalid_request_error", 403: "insufficient_permissions", 429: "rate_limit_exceeded"}
_CODES = {401: "invalid_api_key", 404: "not_found"}


def _shape(error: AuditError, status: int, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    param, code = None, _CODES.get(status, error.rule)
    if isinstance(error, BadParameters):
        param, code = error.problems[0].name, error.problems[0].type
    elif isinstance(error, Refused) and error.path:
        param = error.path.removeprefix("/")
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


openai_errors = errors_of(_shape)
