"""Mistral's audit log: `GET /v1/admin/audit-logs`.

Source: Mistral's API reference, "Get audit logs", and its audit logs reference. The answer is a bare array, which
has no room for a cursor: the next page stands in a `Link` header, and clients that do not read it page by `before`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tallystick.catalogue.products import mistral_target_types
from tallystick.query.model import Clause, Query
from tallystick.services.contracts import Ask, Clauses, exactly, too_slow
from tallystick.services.contracts.mistral import (
    API_KEY,
    HUMAN,
    OTHER,
    actor_type,
    actor_types,
    mistral_item,
    target_type,
    ways_to,
)
from tallystick.web.api.answers import json_answer
from tallystick.web.api.contract import (
    FASTAPI_ERROR,
    Given,
    more_of,
    replies_of,
    require_organization,
    window,
)
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter

LIMIT_DEFAULT = 20
LIMIT_MAX = 1_000
_ACTORS = (HUMAN, API_KEY, OTHER)
_TIME = {"type": "string", "format": "date-time"}
PARAMETERS = (
    Parameter(name="actor_type[]", summary="Only entries of actors of these types.", repeats=True,
              schema={"enum": list(_ACTORS)}),
    Parameter(name="event_type[]", summary="Only entries of these types.", repeats=True, example="api_key.create"),
    Parameter(name="target_type[]", summary="Only entries whose target is of these types.", repeats=True,
              schema={"enum": list(mistral_target_types())}),
    Parameter(name="actor_user_uuid", summary="Only entries of this user."),
    Parameter(name="sort", summary="Order of created_at.",
              schema={"enum": ["ascending", "descending"], "default": "descending"}),
    Parameter(name="after", summary="Only entries created after this time.", schema=_TIME),
    Parameter(name="before", summary="Only entries created before this time.", schema=_TIME),
    Parameter(name="limit", summary="Number of entries to return.",
              schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    Parameter(name="cursor", summary="Ours: goes on where the page before ended, as its Link header says."),
)  # fmt: skip
REPLIES = replies_of({"type": "array", "items": {"type": "object"}}, FASTAPI_ERROR, bad_parameters=422)


async def list_audit_logs(call: Call) -> Answer:
    """List audit log entries as a bare array, newest first unless `sort` is ascending.

    Mistral's contract. `after` and `before` are exclusive.
    """
    require_organization(call)
    given = Given(call, PARAMETERS)
    since, until = window(after=given.moment("after"), before=given.moment("before"))
    limit = given.number("limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    actors = given.choices("actor_type", _ACTORS)
    events = given.texts("event_type")
    targets = given.choices("target_type", mistral_target_types())
    users = given.texts("actor_user_uuid")
    order = given.choices("sort", ("ascending", "descending"))
    cursor = given.text("cursor")
    given.done()
    contracts = call.services.contracts
    ask = Ask(
        contract="mistral",
        query=Query(
            only=_clauses(actors, events, users),
            since=since,
            until=until,
            order="oldest" if order == ("ascending",) else "newest",
        ),
        limit=limit,
        keep=_keep(actors, events, targets, users),
        any_of=((),) if targets is None else await _ways(call, targets),
        more=more_of(actors, events, targets, users),
    )
    if cursor is not None:
        ask = contracts.at_cursor(call.caller, ask, cursor)
    found = await contracts.page(call.caller, ask)
    if found.stopped:
        raise too_slow()
    headers = {"Cache-Control": "no-store"}
    if (following := contracts.write_cursor(call.caller, ask, found)) is not None:
        headers["Link"] = f'<{_following(call, given, following)}>; rel="next"'
    return json_answer([mistral_item(row.event) for row in found.rows], headers=headers)


def _clauses(
    actors: tuple[str, ...] | None, events: tuple[str, ...] | None, users: tuple[str, ...] | None
) -> Clauses:
    clauses: list[Clause] = []
    wanted = None if actors is None else {ours for one in actors for ours in actor_types(one)}
    if users is not None:
        clauses.append(Clause("actor_id", tuple(sorted(users))))
        wanted = {"user"} if wanted is None else wanted & {"user"}
    if wanted is not None:
        clauses.append(Clause("actor_type", tuple(sorted(wanted))))
    if events is not None:
        clauses.append(exactly(events))
    return tuple(sorted(clauses))


async def _ways(call: Call, targets: tuple[str, ...]) -> tuple[Clauses, ...]:
    """Return the ways to find events that are shown under one of these types; where there are too many, all."""
    contracts = call.services.contracts
    types = await contracts.values_of(call.caller, "target_type")
    actions = await contracts.values_of(call.caller, "action")
    return ((),) if types is None or actions is None else ways_to(targets, types, actions)


def _keep(
    actors: tuple[str, ...] | None,
    events: tuple[str, ...] | None,
    targets: tuple[str, ...] | None,
    users: tuple[str, ...] | None,
) -> Callable[[dict[str, Any]], bool] | None:
    if actors is None and events is None and targets is None and users is None:
        return None

    def keep(event: dict[str, Any]) -> bool:
        return (
            (actors is None or actor_type(event) in actors)
            and (events is None or event["action"] in events)
            and (targets is None or target_type(event) in targets)
            and (users is None or (event["actor"]["type"] == "user" and event["actor"].get("id") in users))
        )

    return keep


def _following(call: Call, given: Given, cursor: str) -> str:
    pairs = [(name, value) for name, value in given.pairs if name != "cursor"]
    return f"{call.scope['path']}?{urlencode([*pairs, ('cursor', cursor)])}"
