"""Exports: streams of the log, with its proof or in other products' words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import cast

from starlette.responses import StreamingResponse

from tallystick.errors import Refused
from tallystick.ocsf import Version, View
from tallystick.query import Query, parse
from tallystick.web.call import Answer, Call

# What each format takes beside the filters: name → the values it knows, the first one by default.
FORMATS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "jsonl": {},
    "ocsf": {"version": ("1.1.0", "1.7.0"), "view": ("default", "native", "api_activity")},
    "langfuse-jsonl": {},
    "csv": {},
}
TYPES = {"csv": "text/csv; charset=utf-8; header=present"}


async def export_events(call: Call) -> Answer:
    """Stream the events that match: `jsonl` with everything needed to check them offline, as OCSF, as Langfuse's rows or as CSV.

    OCSF comes in version 1.1.0, which SIEMs and lakes read, or 1.7.0; view `native` takes the best class for each
    action, `api_activity` always 6003, `default` what is read best in that version.
    """
    pairs = call.query()
    format = _one(pairs, "format", tuple(FORMATS))
    options = {name: _one(pairs, name, known) for name, known in FORMATS[format].items()}
    taken = ("format", *options)
    query = parse([pair for pair in pairs if pair[0] not in taken], now=call.services.now())
    stream, name = await _begin(call, query, format, options)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(stream, headers=headers, media_type=TYPES.get(format, "application/jsonl"))


async def _begin(
    call: Call, query: Query, format: str, options: Mapping[str, str]
) -> tuple[AsyncIterator[bytes], str]:
    """Return the stream and the name of its file."""
    services = call.services
    if format == "ocsf":
        version, view = cast(Version, options["version"]), cast(View, options["view"])
        lines = await services.export_lines.ocsf(call.caller, query, version=version, view=view)
        return lines, f"tallystick.ocsf-{version}.jsonl"
    if format == "langfuse-jsonl":
        return await services.export_lines.langfuse(call.caller, query), "tallystick.langfuse.jsonl"
    if format == "csv":
        return await services.export_lines.csv(call.caller, query), "tallystick.csv"
    return await services.export.jsonl(call.caller, query), "tallystick.jsonl"


def _one(pairs: list[tuple[str, str]], name: str, known: tuple[str, ...]) -> str:
    values = [value for key, value in pairs if key == name] or [known[0]]
    if len(set(values)) > 1 or values[0] not in known:
        raise Refused(f"'{name}' is one of {', '.join(known)}.", path=f"/{name}", rule=name)
    return values[0]
