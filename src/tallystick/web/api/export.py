"""Exports: a stream with its proof."""

from __future__ import annotations

from starlette.responses import StreamingResponse

from tallystick.errors import Refused
from tallystick.query import parse
from tallystick.web.call import Answer, Call

FORMATS = ("jsonl",)


async def export_events(call: Call) -> Answer:
    """Stream the events that match with everything needed to check them offline."""
    pairs = call.query()
    formats = [value for key, value in pairs if key == "format"] or ["jsonl"]
    if len(formats) > 1 or formats[0] not in FORMATS:
        raise Refused(f"'format' is one of {', '.join(FORMATS)}.", path="/format", rule="format")
    query = parse([pair for pair in pairs if pair[0] != "format"], now=call.services.now())
    stream = await call.services.export.jsonl(call.caller, query)
    headers = {"Content-Disposition": 'attachment; filename="tallystick.jsonl"', "Cache-Control": "no-store"}
    return StreamingResponse(stream, headers=headers, media_type="application/jsonl")
