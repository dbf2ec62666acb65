"""LangSmith's audit log: `GET /api/v1/audit-logs`, `/api/v1/audit-logs/operations` and `/info`.

Source: LangSmith's API reference, "Get Audit Logs" and "List audit log operations".
"""

from __future__ import annotations

import base64
from binascii import Error as NotBase64
from typing import Any

from msgspec import DecodeError, Struct, json

from tallystick import __version__
from tallystick.catalogue.products import operations
from tallystick.errors import Refused
from tallystick.ocsf import langsmith_item
from tallystick.query.model import Clause, Query
from tallystick.services.contracts import Ask, exactly
from tallystick.web.api.answers import json_answer
from tallystick.web.api.contract import (
    FASTAPI_ERROR,
    Given,
    more_of,
    object_of,
    replies_of,
    require_organization,
    window,
)
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter

LIMIT_DEFAULT = 10
LIMIT_MAX = 100
_TIME = {"type": "string", "format": "date-time"}
PARAMETERS = (
    Parameter(name="start_time", required=True, summary="Start, inclusive, ISO 8601.", schema=_TIME,
              example="2026-01-01T00:00:00Z"),
    Parameter(name="end_time", required=True, summary="End, inclusive, ISO 8601.", schema=_TIME,
              example="2026-01-30T00:00:00Z"),
    Parameter(name="limit", summary="Number of items to return.",
              schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    Parameter(name="cursor", summary="The cursor of the page before, a base64-encoded JSON string."),
    Parameter(name="workspace_id", summary="Only events of this workspace."),
    Parameter(name="operations", summary="Only these operation names.", repeats=True, example="create_api_key"),
)  # fmt: skip


_TEXT_OR_NULL = {"type": ["string", "null"]}
REPLIES = replies_of(
    object_of(items={"type": "array", "items": {"type": "object"}}, cursor=_TEXT_OR_NULL),
    FASTAPI_ERROR,
    bad_parameters=422,
)
OPERATIONS_REPLIES = replies_of(
    object_of(operations={"type": "array", "items": {"type": "string"}}), FASTAPI_ERROR, bad_parameters=422
)


class _Cursor(Struct, frozen=True, forbid_unknown_fields=True):
    """What the base64 stands for: an object, as LangSmith's is, around our own signed cursor."""

    next: str


async def list_audit_logs(call: Call) -> Answer:
    """Return audit log records as OCSF API Activity (6003), newest first.

    LangSmith's contract. Both times are required and inclusive.
    """
    require_organization(call)
    given = Given(call, PARAMETERS)
    start, end = given.moment("start_time", required=True), given.moment("end_time", required=True)
    limit = given.number("limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    names, workspaces = given.texts("operations"), given.texts("workspace_id")
    cursor = given.text("cursor")
    given.done()
    clauses = [] if names is None else [exactly(names)]
    if workspaces is not None:
        clauses.append(Clause("workspace", workspaces))

    def keep(event: dict[str, Any]) -> bool:
        return (names is None or event["action"] in names) and (
            workspaces is None or event.get("workspace") in workspaces
        )

    since, until = window(since=start, through=end)
    contracts = call.services.contracts
    ask = Ask(
        contract="langsmith",
        query=Query(only=tuple(sorted(clauses)), since=since, until=until),
        limit=limit,
        keep=keep if clauses else None,
        more=more_of(names, workspaces),
    )
    if cursor is not None:
        ask = contracts.at_cursor(call.caller, ask, _open(cursor))
    found = await contracts.page(call.caller, ask)
    log_name = contracts.log_name(call.caller.organization_id)
    items = [
        langsmith_item(row.event, leaf_hash=row.leaf_hash, log_name=log_name, product_version=__version__)
        for row in found.rows
    ]
    return json_answer({"items": items, "cursor": _close(contracts.write_cursor(call.caller, ask, found))})


async def list_operations(call: Call) -> Answer:
    """Return all operation names there are, for populating filters; not those recorded so far."""
    Given(call, ()).done()
    return json_answer({"operations": operations("langsmith")})


async def get_info(call: Call) -> Answer:
    """Say what this server is, in the words LangSmith's clients ask for before they do anything else."""
    return json_answer(
        {
            "version": __version__,
            "license_expiration_time": None,
            "instance_flags": {"audit_logs_enabled": call.services.switches.enabled},
        }
    )


def _open(cursor: str) -> str:
    try:
        return json.decode(base64.b64decode(cursor, validate=True), type=_Cursor).next
    except (NotBase64, ValueError, DecodeError):
        raise Refused(
            "cursor: this is no cursor of this server. Ask for the first page again, without a cursor.",
            path="/cursor",
            rule="cursor",
        ) from None


def _close(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    text = json.encode(_Cursor(cursor))
    # Three bytes make four characters; blanks keep "=" out, which some clients forget to escape.
    return base64.b64encode(text + b" " * (-len(text) % 3)).decode()
