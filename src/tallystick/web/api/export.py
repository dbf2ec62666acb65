"""Exports: streams of the log, with its proof or as OCSF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from starlette.responses import StreamingResponse

from tallystick.errors import Refused
from tallystick.ocsf import Version, View
from tallystick.query import parse
from tallystick.web.call import Answer, Call

# What each format takes beside the filters: name → the values it knows, the first one by default.
FORMATS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "jsonl": {},
    "ocsf": {"version": ("1.1.0", "1.7.0"), "view": ("default", "native", "api_activity")},
}


async def export_events(call: Call) -> Answer:
    """Stream the events that match: `jsonl` with everything needed to check them offline, or as OCSF.

    OCSF comes in version 1.1.0, which SIEMs and lakes read, or 1.7.0; view `native` takes the best class for each
    action, `api_activity` always 6003, `default` what is read best in that version.
    """
    pairs = call.query()
    format = _one(pairs, "format", tuple(FORMATS))
    options = {name: _one(pairs, name, known) for name, known in FORMATS[format].items()}
    taken = ("format", *options)
    query = parse([pair for pair in pairs if pair[0] not in taken], now=call.services.now())
    stream: Any
    if format == "ocsf":
        stream = await call.services.export_ocsf.jsonl(
            call.caller,
            query,
            version=cast(Version, options["version"]),
            view=cast(View, options["view"]),
        )
    else:
        stream = await call.services.export.jsonl(call.caller, query)
    name = "tallystick.jsonl" if format == "jsonl" else f"tallystick.ocsf-{options['version']}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(stream, headers=headers, media_type="application/jsonl")


def _one(pairs: list[tuple[str, str]], name: str, known: tuple[str, ...]) -> str:
    values = [value for key, value in pairs if key == name] or [known[0]]
    if len(set(values)) > 1 or values[0] not in known:
        raise Refused(f"'{name}' is one of {', '.join(known)}.", path=f"/{name}", rule=name)
    return values[0]
