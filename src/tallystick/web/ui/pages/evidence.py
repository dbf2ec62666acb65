"""Evidence on a page: a bundle for a question, a pack for a standard, and the bundles that are still being made."""

from __future__ import annotations

from typing import Final

from tallystick.errors import AuditError, Refused
from tallystick.query import Query, parse
from tallystick.query.parse import format as written
from tallystick.query.period import RANGES
from tallystick.services.evidence_bundle import DIRECT_MAX
from tallystick.services.evidence_bundle_words import query_in_words
from tallystick.services.export_jobs import KEPT
from tallystick.web.api.evidence_bundles import FORMAT, zip_answer
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.events.look import Look
from tallystick.web.ui.events.state import read_state
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.render import render, see_other

WHERE: Final = "/evidence"
PERIODS: Final = {"90d": "last 90 days", "6mo": "last 6 months", "1y": "last year"}
_PACK_QUERY: Final = "90d"


async def show(call: Call) -> Answer:
    """Show what a bundle of the current filter would answer, the packs there are, and what is being made."""
    state = read_state(call.query(), Look(), now=call.services.now())
    if state.wrong is not None:
        raise state.wrong
    return await _page(call, written(state.query))


async def _page(call: Call, filter: str, *, error: AuditError | None = None) -> Answer:
    services = call.services
    query = _query(call, filter)
    found = [one for one in await services.export_jobs.listed(call.caller) if one.format == FORMAT]
    open_ones = any(one.state in ("waiting", "running") for one in found)
    at_once, total = await services.bundles.fits_at_once(call.caller, query)
    return render(
        call, "evidence/evidence.html", 200 if error is None else status_of(error)[0], title="Evidence", filter=filter,
        words=query_in_words(query), total=total, at_once=at_once, direct_max=DIRECT_MAX, packs=services.packs.declared(),
        periods=PERIODS, whole=call.caller.sees_all, found=found, kept=KEPT, now=services.now(), error=error,
        headers={"Refresh": "3"} if open_ones else {},
    )  # fmt: skip


def _query(call: Call, filter: str) -> Query:
    return parse([("q", filter)] if filter else [], now=call.services.now())


async def begin(call: Call) -> Answer:
    """Hand out a bundle at once, or have a large one written into a file."""
    services, filter = call.services, (await read_form(call)).get("filter", "")
    try:
        query = _query(call, filter)
    except AuditError as error:
        return await _page(call, "", error=error)
    try:
        at_once, total = await services.bundles.fits_at_once(call.caller, query)
        if at_once:
            return zip_answer(await services.bundles.make(call.caller, query, context=call.context))
        await services.export_jobs.start(call.caller, query, FORMAT, total=total, context=call.context)
    except AuditError as error:
        return await _page(call, filter, error=error)
    return see_other(WHERE)


async def make_pack(call: Call) -> Answer:
    """Hand out an evidence pack."""
    period = (await read_form(call)).get("range", _PACK_QUERY)
    try:
        if period not in RANGES:
            raise Refused(f"{period[:16]!r} is no range. Nothing was made.", path="/range", rule="range")
        time = parse([("range", period)], now=call.services.now())
        return zip_answer(
            await call.services.packs.make(call.caller, call.path("name"), time, context=call.context)
        )
    except AuditError as error:
        return await _page(call, "", error=error)
