"""Exports on a page: what the current filter would give, a download or a job, and who exported what."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.responses import FileResponse, Response

from tallystick.errors import AuditError
from tallystick.event.moment import instant_text
from tallystick.formats import parquet
from tallystick.query import Query, parse
from tallystick.query.parse import format as written
from tallystick.services.export_jobs import FORMATS, KEPT, PROVEN_BESIDE
from tallystick.verify.layout import PROOF_ENDING
from tallystick.web.api.answers import json_answer
from tallystick.web.api.export import TYPES
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.events.look import Look
from tallystick.web.ui.events.state import read_state
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.render import render, see_other

WHERE = "/exports"
DIRECT_MAX = 50_000  # more than this is written into a file first
LABELS = {
    "csv": "CSV, for spreadsheets", "jsonl": "JSONL with its proof, for auditors", "ocsf-1.1.0": "OCSF 1.1.0, for SIEMs and lakes",
    "ocsf-1.7.0": "OCSF 1.7.0", "langfuse-jsonl": "Langfuse's rows", "parquet": "Parquet with its proof",
}  # fmt: skip


def lacking() -> dict[str, str]:
    """Return the formats that cannot be had here, each with the reason."""
    return {} if parquet.available() else {"parquet": parquet.MISSING}


async def show(call: Call) -> Answer:
    """List the exports."""
    return await _list(call)


async def _list(call: Call, *, error: AuditError | None = None) -> Answer:
    found = await call.services.export_jobs.listed(call.caller)
    open_ones = any(one.state in ("waiting", "running") for one in found)
    return render(
        call, "exports/exports.html", 200 if error is None else status_of(error)[0], title="Exports", found=found,
        labels=LABELS, proven_beside=PROVEN_BESIDE, kept=KEPT, now=call.services.now(), error=error, headers={"Refresh": "2"} if open_ones else {},
    )  # fmt: skip


async def prepare(call: Call) -> Answer:
    """Show what the filters of the events page would export, and in which formats."""
    state = read_state(call.query(), Look(), now=call.services.now())
    if state.wrong is not None:
        raise state.wrong
    return await _prepared(call, written(state.query))


async def _prepared(call: Call, filter: str, *, error: AuditError | None = None) -> Response:
    total, exact = await _count(call, _query(call, filter))
    return render(
        call, "exports/prepare.html", 200 if error is None else status_of(error)[0], title="Export", filter=filter,
        total=total, exact=exact, labels=LABELS, lacking=lacking(), direct_max=DIRECT_MAX, error=error,
    )  # fmt: skip


def _query(call: Call, filter: str) -> Query:
    return parse([("q", filter)] if filter else [], now=call.services.now())


async def _count(call: Call, query: Query) -> tuple[int, bool]:
    """Return how many events match, and whether that is all of them: counting stops at its time limit."""
    found = await call.services.read.count(call.caller, query, exact=True)
    return found["count"], found["exact"]


async def begin(call: Call) -> Answer:
    """Send a small export at once; write a large one into a file."""
    fields = await read_form(call)
    filter, wanted = fields.get("filter", ""), fields.get("format", "")
    try:
        query = _query(call, filter)
        total, exact = await _count(call, query)
        if exact and total <= DIRECT_MAX and wanted in FORMATS and "job" not in fields:
            return see_other(_download(wanted, filter, proof="proof" in fields))
        await call.services.export_jobs.start(
            call.caller, query, wanted, total=total, exact=exact, context=call.context
        )
    except AuditError as error:
        return await _list(call, error=error)
    return see_other(WHERE)


def _download(wanted: str, filter: str, *, proof: bool) -> str:
    """Return the address of the stream that the API gives; with `proof`, where it is not in the file, a ZIP of both."""
    pairs = (
        [("format", "ocsf"), ("version", wanted[5:])] if wanted.startswith("ocsf-") else [("format", wanted)]
    )
    if proof and wanted in PROVEN_BESIDE:
        pairs.append(("proof", "zip"))
    return "/v1/export?" + urlencode([*pairs, *([("q", filter)] if filter else [])])


async def cancel(call: Call) -> Answer:
    """Stop an export."""
    try:
        await call.services.export_jobs.cancel(call.caller, call.path("id"), call.context)
    except AuditError as error:
        return await _list(call, error=error)
    return see_other(WHERE)


async def fetch(call: Call) -> Answer:
    """Hand out the file of an export, or with `part=proof` the proof beside it."""
    proof = ("part", "proof") in call.query()
    found, path = await call.services.export_jobs.fetch(
        call.caller, call.path("id"), call.context, proof=proof
    )
    name = f"tallystick-{found.id}.{FORMATS[found.format]}"
    kind = "application/jsonl" if proof else TYPES.get(found.format, "application/jsonl")
    return FileResponse(path, media_type=kind, filename=name + (PROOF_ENDING if proof else ""))


async def manifest(call: Call) -> Answer:
    """Say in JSON what an export is: filter, counts, SHA-256 and the checkpoint of the log it was made from."""
    found = await call.services.export_jobs.get(call.caller, call.path("id"))
    values: dict[str, Any] = {
        "id": found.id, "organization": str(call.caller.organization_id), "format": found.format, "filter": found.filter,
        "asked_by": {"id": found.owner_id, "name": found.owner_name}, "asked_at": instant_text(found.created_at),
        "state": found.state, "events": found.events, "bytes": found.bytes,
        "sha256": None if found.sha256 is None else found.sha256.hex(),
        "finished_at": None if found.finished_at is None else instant_text(found.finished_at),
        "checkpoint": found.checkpoint, "keys": call.services.log.verifier_keys(call.caller.organization_id),
    }  # fmt: skip
    return json_answer(values)
