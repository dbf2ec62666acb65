"""OpenAPI 3.1 from the table of operations, and the JSON Schema of an event."""

from __future__ import annotations

from typing import Any

from msgspec import json
from starlette.responses import Response

from tallystick import __version__
from tallystick.event.schema import json_schema
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Operation, Parameter, Reply

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "rule"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "rule": {"type": "string"},
        "path": {"type": "string", "description": "JSON pointer to the offending place."},
        "request_id": {"type": "string"},
    },
}
_ERRORS = {
    400: "The input is not accepted; nothing was stored.",
    401: "No valid credential.",
    403: "The credential does not permit this.",
    404: "Not found.",
    405: "The path does not answer to this method.",
    408: "The request came too slowly; nothing was stored.",
    413: "Too large; nothing was stored.",
    415: "The media type is not accepted.",
    429: "Too many failed attempts.",
    431: "Headers are too large.",
    500: "The log disagrees with its proof; a human must look.",
    503: "Try again with the same id after Retry-After.",
}


def document(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Return the OpenAPI document of `operations`."""
    schema = json_schema()
    definitions = schema.pop("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick",
            "version": __version__,
            "summary": "The provable audit log for AI platforms.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _local({"Event": schema, **definitions, "Problem": _PROBLEM}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _local(value: Any) -> Any:
    """Point references of the event's own schema to where OpenAPI keeps schemas."""
    if isinstance(value, dict):
        return {
            k: v.replace("#/$defs/", "#/components/schemas/")
            if k == "$ref" and isinstance(v, str)
            else _local(v)
            for k, v in value.items()
            if k not in ("$schema", "$id")
        }
    return [_local(item) for item in value] if isinstance(value, (list, tuple)) else value


def _operation(operation: Operation) -> dict[str, Any]:
    replies = operation.replies or (Reply(status=200, summary="The answer."),)
    answers = {str(status): _problem(text) for status, text in _ERRORS.items()}
    answers |= _answers(replies)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": dict(sorted(answers.items())),
        "x-permission": operation.permission or "public",
        "security": [] if operation.permission is None else [{"bearer": []}, {"key": []}],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = [_parameter(p) for p in operation.parameters]
    if operation.body is not None:
        content = {"schema": dict(operation.body.schema), "example": operation.body.example}
        described["requestBody"] = {"required": True, "content": dict.fromkeys(operation.body.types, content)}
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.summary,
        "schema": {"type": "array", "items": schema} if parameter.repeats else schema,
    }
    if parameter.repeats:
        described |= {"style": "form", "explode": True}
    if parameter.example is not None:
        described["example"] = [parameter.example] if parameter.repeats else parameter.example
    return described


def _answers(replies: tuple[Reply, ...]) -> dict[str, Any]:
    """Return the answers by status; those of one status are one answer in several media types."""
    found: dict[str, Any] = {}
    for reply in replies:
        described = _reply(reply)
        known = found.setdefault(str(reply.status), described)
        known["content"] |= described["content"]
    return found


def _reply(reply: Reply) -> dict[str, Any]:
    return {"description": reply.summary, "content": {reply.type: {"schema": dict(reply.schema or {})}}}


def _problem(text: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "content": content}


async def get_openapi(call: Call) -> Answer:
    """Return this API as OpenAPI 3.1."""
    from tallystick.web.app import OPERATIONS  # the table names this handler, so it cannot be imported above

    return Response(json.encode(document(OPERATIONS)), media_type="application/json")


async def get_event_schema(call: Call) -> Answer:
    """Return the JSON Schema of an event as producers send it."""
    return Response(json.encode(json_schema()), media_type="application/schema+json")
