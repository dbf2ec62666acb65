"""What a caller wishes for, decoded from a JSON body into its declaration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from tallystick.errors import Refused
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Call
from tallystick.web.operation import Body, Parameter, Reply

_T = TypeVar("_T")
ID = Parameter(name="id", place="path", required=True)
CONFLICT = Reply(
    status=409, summary="Something else has this name, or stands in the way.", type="application/problem+json"
)


async def read_wish(call: Call, type: type[_T]) -> _T:
    """Return the body of a call as `type`; raises Refused saying where it is not understood."""
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        return msgspec.json.decode(raw, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"The wish is not understood: {error}", rule="shape") from error


def wish(properties: Mapping[str, Any], *required: str, example: Any) -> Body:
    """Declare the body of an operation: its properties, and which of them must be there."""
    return Body(
        types=("application/json",),
        schema={
            "type": "object",
            "required": list(required),
            "additionalProperties": False,
            "properties": dict(properties),
        },
        example=example,
    )


def made(summary: str) -> tuple[Reply, ...]:
    """Declare the answers of an operation that makes something."""
    return (Reply(status=201, summary=summary), CONFLICT)


DONE = (Reply(status=200, summary="Done."), CONFLICT)
