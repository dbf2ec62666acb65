"""Evidence bundles and packs: a question and its answer with everything that proves it, as one file."""

from __future__ import annotations

from typing import Any

from starlette.responses import FileResponse, StreamingResponse

from tallystick.errors import Refused
from tallystick.event.moment import instant_text
from tallystick.query import parse
from tallystick.services.evidence_bundle import Answer as Made
from tallystick.web.api.answers import json_answer
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter, Reply

FORMAT = "evidence"  # as exports that are written into files call it
_TIMES = ("from", "to", "range", "startDate", "endDate", "period")
_ZIP = Reply(
    status=200, summary="The bundle.", type="application/zip", schema={"type": "string", "format": "binary"}
)
ISSUE = {
    "replies": (
        _ZIP,
        Reply(status=202, summary="A large answer: it is written into a file first; `id` says which."),
    )
}
ID: dict[str, Any] = {
    "parameters": (Parameter(name="id", place="path", required=True, example="exp_0123456789abcdef"),)
}
FILE: dict[str, Any] = {**ID, "replies": (_ZIP,)}
PACK: dict[str, Any] = {"replies": (_ZIP,)}
PACK_NAME = Parameter(name="name", place="path", required=True, example="soc2")


async def issue_evidence(call: Call) -> Answer:
    """Answer a question with an evidence bundle: what matches, its proofs, what was removed, and a report for people.

    The filters are those of a search. Up to 50,000 events the bundle is the answer; for more it is 202 and an id.
    """
    services = call.services
    query = parse(call.query(), now=services.now())
    at_once, total = await services.bundles.fits_at_once(call.caller, query)
    if at_once:
        return zip_answer(await services.bundles.make(call.caller, query, context=call.context))
    export_id = await services.export_jobs.start(
        call.caller, query, FORMAT, total=total, context=call.context
    )
    return json_answer({"id": export_id, "state": "waiting", "events": total}, status=202)


async def list_evidence(call: Call) -> Answer:
    """List the bundles that were too large to be answered at once, newest first; their files are kept for a day."""
    found = await call.services.export_jobs.listed(call.caller)
    return json_answer({"bundles": [shown(one) for one in found if one.format == FORMAT]})


async def get_evidence_bundle(call: Call) -> Answer:
    """Say how far a bundle is."""
    return json_answer(shown(await call.services.export_jobs.get(call.caller, call.path("id"))))


async def fetch_evidence(call: Call) -> Answer:
    """Hand out the file of a bundle that is done."""
    found, path = await call.services.export_jobs.fetch(call.caller, call.path("id"), call.context)
    return FileResponse(path, media_type="application/zip", filename=f"tallystick-{found.id}.evidence.zip")


async def list_packs(call: Call) -> Answer:
    """List the evidence packs and what each of their controls asks."""
    packs = call.services.packs.declared()
    return json_answer(
        {
            "packs": [
                {
                    "name": pack.name,
                    "title": pack.title,
                    "source": pack.source,
                    "controls": [
                        {"id": one.id, "title": one.title, "asks": one.asks, "query": one.query} for one in pack.controls
                    ],
                }
                for pack in packs
            ]
        }
    )  # fmt: skip


async def issue_pack(call: Call) -> Answer:
    """Make an evidence pack: each control of a standard with its query, its result, its proof and what is missing.

    Over the last 90 days, or the time that `from`, `to` or `range` give. It needs sight of the whole organization.
    """
    pairs = call.query()
    for name, _ in pairs:
        if name not in _TIMES:
            raise Refused(
                f"'{name}' does not go with a pack; give from, to or range.", path=f"/{name}", rule="filter"
            )
    time = parse(pairs, now=call.services.now())
    return zip_answer(
        await call.services.packs.make(call.caller, call.path("name"), time, context=call.context)
    )


def zip_answer(made: Made) -> Answer:
    """Return the response that hands a bundle out."""
    headers = {
        "Content-Disposition": f'attachment; filename="tallystick-{made.bundle}.zip"',
        "Content-Length": str(made.bytes),
        "Cache-Control": "no-store",
    }
    return StreamingResponse(made.pieces(), headers=headers, media_type="application/zip")


def shown(one: Any) -> dict[str, Any]:
    """Return a bundle that is written into a file, as JSON shows it."""
    return {
        "id": one.id, "state": one.state, "filter": one.filter, "events": one.events, "total": one.total,
        "bytes": one.bytes, "sha256": None if one.sha256 is None else one.sha256.hex(), "failure": one.failure,
        "asked_at": instant_text(one.created_at),
        "finished_at": None if one.finished_at is None else instant_text(one.finished_at),
    }  # fmt: skip
