"""What the operations of our own API take and answer with; the filters come from their one declaration in `query`."""

from __future__ import annotations

from typing import Any

from tallystick.event.limits import BATCH_EVENTS_MAX
from tallystick.query import FILTERS as FILTER_DECLARATIONS
from tallystick.web.operation import Body, Parameter, Reply

_NUMBER = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean", "default": False}
_EVENT_EXAMPLE = {
    "action": "api_key.create",
    "actor": {"type": "user", "id": "usr_1", "name": "Ada Lovelace", "email": "ada@example.com"},
    "targets": [{"type": "api_key", "id": "key_9", "name": "ci"}],
    "context": {"ip": "192.0.2.10", "request_id": "req_1"},
    "after": {"scopes": ["read"]},
}
_RECORDED = {
    "type": "object",
    "required": ["id", "position", "received_at", "receipt"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "position": _NUMBER,
        "received_at": {"type": "string", "format": "date-time"},
        "receipt": {
            "type": "string",
            "description": "A tlog-proof@v1 text: inclusion proof and signed checkpoint.",
        },
    },
}
_RESULTS = {
    "type": "object",
    "required": ["results", "receipt"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "id": {"type": ["string", "null"]},
                    "status": {"enum": ["created", "duplicate", "rejected", "quarantined"]},
                    "position": {"type": ["integer", "null"]},
                    "error": {"type": ["object", "null"]},
                    "renumbered": {
                        "type": "boolean",
                        "description": "A duplicate: the log has the event under another number of its producer.",
                    },
                },
            },
        },
        "receipt": {"type": ["string", "null"]},
    },
}

FILTERS: tuple[Parameter, ...] = tuple(
    Parameter(name=f.name, summary=f.summary, repeats=f.repeats, schema=f.schema, example=f.example)
    for f in FILTER_DECLARATIONS
)
PAGE = (
    Parameter(
        name="order", summary="newest (default) or oldest first.", schema={"enum": ["newest", "oldest"]}
    ),
    Parameter(
        name="limit", summary="Events on a page.", schema={"type": "integer", "minimum": 1, "maximum": 1000}
    ),
    Parameter(name="cursor", summary="The next_cursor of the page before; only with the same filters."),
)
COUNT = (Parameter(name="exact", summary="Count beyond 10,000 too.", schema=_FLAG),)
ONE_EVENT = (
    Parameter(name="id", place="path", required=True, schema={"type": "string", "format": "uuid"}),
    Parameter(name="proof", summary="Add the inclusion proof to the newest checkpoint.", schema=_FLAG),
)
EVENT_ID = (ONE_EVENT[0],)
FEED = (
    Parameter(name="after", summary="The last position already read; -1 or absent starts at the beginning.",
              schema={"type": "integer", "minimum": -1}),
    Parameter(name="limit", summary="Events on a page.", schema={"type": "integer", "minimum": 1, "maximum": 1000}),
)  # fmt: skip
EXPORT_FORMAT = (
    Parameter(
        name="format",
        summary="jsonl (default): every row with its proof; ocsf: an OCSF event a line; langfuse-jsonl: its rows; csv; parquet.",
        schema={"enum": ["jsonl", "ocsf", "langfuse-jsonl", "csv", "parquet"]},
    ),
    Parameter(
        name="version",
        summary="Of OCSF: 1.1.0 (default) or 1.7.0; only with format=ocsf.",
        schema={"enum": ["1.1.0", "1.7.0"]},
    ),
    Parameter(
        name="view",
        summary="OCSF classes: default, native or api_activity; only with format=ocsf.",
        schema={"enum": ["default", "native", "api_activity"]},
    ),
    Parameter(
        name="proof",
        summary="zip: the file and its proof in one archive; jsonl proves itself and does not take it.",
        schema={"enum": ["none", "zip"]},
    ),
)
TILE = (
    Parameter(
        name="tile", place="path", required=True, summary="<level>/<index>[.p/<width>] as in C2SP tlog-tiles."
    ),
)
PROOF_INCLUSION = (
    Parameter(name="position", required=True, schema=_NUMBER),
    Parameter(name="size", summary="Size of the tree; the newest when absent.", schema=_NUMBER),
)
PROOF_CONSISTENCY = (
    Parameter(name="old", required=True, schema=_NUMBER),
    Parameter(name="new", summary="Size of the newer tree; the newest when absent.", schema=_NUMBER),
)
_KEY_ID = (Parameter(name="id", place="path", required=True),)
_KEY_OVER = Reply(
    status=409, summary="It is over, or was changed at the same moment.", type="application/problem+json"
)
KEY_END: dict[str, Any] = {
    "parameters": _KEY_ID,
    "replies": (Reply(status=200, summary="Revoked."), _KEY_OVER),
}
KEY_ROTATION: dict[str, Any] = {
    "parameters": _KEY_ID,
    "replies": (Reply(status=201, summary="The new key; its secret is shown only here."), _KEY_OVER),
}

_EVENT_REF = {"$ref": "#/components/schemas/Event"}
EVENT: dict[str, Any] = {
    "body": Body(types=("application/json",), schema=_EVENT_REF, example=_EVENT_EXAMPLE),
    "replies": (
        Reply(status=201, summary="Recorded: in the log, on disk, searchable.", schema=_RECORDED),
        Reply(status=200, summary="Recorded before under this id; the first position.", schema=_RECORDED),
        Reply(status=409, summary="The id was used with other content.", type="application/problem+json"),
    ),
}
BATCH: dict[str, Any] = {
    "body": Body(
        types=("application/json", "application/x-ndjson"),
        schema={"type": "array", "items": _EVENT_REF, "maxItems": BATCH_EVENTS_MAX},
        example=[_EVENT_EXAMPLE],
    ),
    "replies": (Reply(status=200, summary="One result for each event, in order.", schema=_RESULTS),),
}
KEY: dict[str, Any] = {
    "body": Body(
        types=("application/json",),
        schema={
            "type": "object",
            "required": ["name", "permissions"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 128},
                "permissions": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "workspace": {"type": ["string", "null"]},
                "expires_in_days": {"type": ["integer", "null"], "minimum": 1, "maximum": 3650},
            },
        },
        example={"name": "billing service", "permissions": ["write"]},
    ),
    "replies": (Reply(status=201, summary="The key; its secret is shown only here."),),
}
