"""Ways to answer in JSON."""

from __future__ import annotations

from typing import Any

from msgspec import json
from starlette.responses import Response

from tallystick.errors import NotFound
from tallystick.web.call import Call

_ENCODER = json.Encoder()
NO_STORE = {"Cache-Control": "no-store"}


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with `value` as JSON; never cached unless `headers` says so."""
    return Response(_ENCODER.encode(value), status, headers or NO_STORE, media_type="application/json")


def text_answer(text: str | bytes, headers: dict[str, str] | None = None) -> Response:
    """Answer with plain UTF-8 text: a signed note, a proof."""
    return Response(text, 200, headers or NO_STORE, media_type="text/plain")


async def newest_checkpoint(call: Call) -> str | None:
    """Return the checkpoint that goes with an answer about the caller's log, None before the first event."""
    try:
        return await call.services.log.checkpoint(call.caller.organization_id)
    except NotFound:
        return None
