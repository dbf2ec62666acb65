"""Exports: streams of the log, with its proof or in other products' words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, cast

from starlette.responses import StreamingResponse

from tallystick.errors import Refused
from tallystick.formats.zip import zipped
from tallystick.query import Query, parse
from tallystick.verify.layout import PROOF_ENDING
from tallystick.web.call import Answer, Call

# What goes beside a rendering that does not prove itself: nothing, or in one ZIP archive with it its proof.
_PROOF = {"proof": ("none", "zip")}
# What each format takes beside the filters: name → the values it knows, the first one by default.
FORMATS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "jsonl": {},
    "ocsf": {
        "version": ("1.1.0", "1.7.0"), "view": ("default", "native", "api_activity"), **_PROOF,
    },
    "langfuse-jsonl": _PROOF,
    "csv": _PROOF,
    "parquet": {},
}  # fmt: skip
TYPES = {
    "csv": "text/csv; charset=utf-8; header=present", "zip": "application/zip",
    "parquet": "application/vnd.apache.parquet",
}  # fmt: skip


class Sent(NamedTuple):
    """What is streamed, the name of its file, and its type."""

    stream: AsyncIterator[bytes]
    name: str
    type: str


async def export_events(call: Call) -> Answer:
    """Stream the events that match: `jsonl` with everything needed to check them offline, as OCSF, as Langfuse's rows, as CSV or as Parquet.

    OCSF comes in version 1.1.0, which SIEMs and lakes read, or 1.7.0; view `native` takes the best class for each
    action, `api_activity` always 6003, `default` what is read best in that version. `proof=zip` puts the file and its
    proof into one archive, which `tallystick verify` takes as it is; JSONL and Parquet have it in them. Parquet needs pyarrow on the server.
    """
    pairs = call.query()
    format = _one(pairs, "format", tuple(FORMATS))
    options = {name: _one(pairs, name, known) for name, known in FORMATS[format].items()}
    taken = ("format", *options)
    query = parse([pair for pair in pairs if pair[0] not in taken], now=call.services.now())
    stream, name, kind = await _begin(call, query, format, options)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(stream, headers=headers, media_type=kind)


async def _begin(call: Call, query: Query, format: str, options: Mapping[str, str]) -> Sent:
    services, caller = call.services, call.caller
    if format == "jsonl":
        return Sent(await services.export.jsonl(caller, query), "tallystick.jsonl", "application/jsonl")
    version, view = options.get("version", ""), options.get("view", "")
    rendering = services.export_lines.rendering(cast(Any, format), version, view)
    name = NAMES[format].format(version=version)
    if format == "parquet":
        found = await services.export.proven(caller, query, rendering)
        return Sent(found.file, name, TYPES[format])
    if options["proof"] == "zip":
        found = await services.export.proven(caller, query, rendering)
        members = [(name, found.file)]
        if found.proof is not None:
            members.append((name + PROOF_ENDING, found.proof))
        return Sent(zipped(members), name + ".zip", TYPES["zip"])
    return Sent(
        await services.export_lines.lines(caller, query, rendering),
        name,
        TYPES.get(format, "application/jsonl"),
    )


NAMES: Mapping[str, str] = {
    "csv": "tallystick.csv", "ocsf": "tallystick.ocsf-{version}.jsonl", "langfuse-jsonl": "tallystick.langfuse.jsonl",
    "parquet": "tallystick.parquet",
}  # fmt: skip


def _one(pairs: list[tuple[str, str]], name: str, known: tuple[str, ...]) -> str:
    values = [value for key, value in pairs if key == name] or [known[0]]
    if len(set(values)) > 1 or values[0] not in known:
        raise Refused(f"'{name}' is one of {', '.join(known)}.", path=f"/{name}", rule=name)
    return values[0]
