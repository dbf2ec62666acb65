"""The page that proves the log: its checkpoint, its growth, a check by this server, and one by the visitor's browser."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tallystick.errors import NotFound
from tallystick.query import parse
from tallystick.query.period import RANGES
from tallystick.services.checks import Check
from tallystick.services.permissions import EXPORT
from tallystick.web.api.answers import json_answer, text_answer
from tallystick.web.call import Answer, Call
from tallystick.web.ui.clock import set_clock
from tallystick.web.ui.events.moments import stamp, zone_of
from tallystick.web.ui.forms import field, read_form
from tallystick.web.ui.outside import outside_of
from tallystick.web.ui.render import render, see_other

WIDTH, HEIGHT = 600, 120  # of the chart, in its own units
ALL = "all"


class Growth(Struct, frozen=True, kw_only=True):
    """How the log grew, as a drawing and as a table: `line` and `area` are paths, `rows` a few of the points."""

    line: str
    area: str
    first: datetime
    last: datetime
    most: int
    rows: list[tuple[datetime, int]]
    summary: str


async def show(call: Call) -> Answer:
    """Show where the log stands and how to check it."""
    return await _page(call)


async def _page(call: Call, status: int = 200, *, error: str = "", check: Check | None = None) -> Answer:
    principal = call.caller
    try:
        standing = await call.services.log.standing(principal.organization_id)
    except NotFound:
        standing = None
    log_key, clock_key = call.services.log.verifier_keys(principal.organization_id)
    headers = {"Refresh": "1"} if check is not None and check.is_running else {}
    return render(
        call, "verify/verify.html", status, title="Verify", headers=headers, standing=standing,
        signed=None if standing is None or standing.signed_at is None else stamp(standing.signed_at, zone_of(set_clock(call)), call.services.now()),
        growth=None if standing is None else growth_of(standing.growth), log_key=log_key, clock_key=clock_key,
        ranges=(*RANGES, ALL), chosen="24h" if check is None else check.what, may_export=principal.may(EXPORT),
        check=check, error=error, outside=await outside_of(call),
    )  # fmt: skip


async def start(call: Call) -> Answer:
    """Have this server read a range back and check it."""
    wanted = field(await read_form(call), "range", 16) or ALL
    if wanted != ALL and wanted not in RANGES:
        return await _page(call, 400, error=f"'{wanted}' is no range. Nothing was checked.")
    pairs = [] if wanted == ALL else [("range", wanted)]
    query = parse(pairs, now=call.services.now())
    try:
        check = await call.services.checks.start(call.caller, query, what=wanted)
    except NotFound as error:
        return await _page(call, 404, error=str(error))
    return see_other(f"/verify/checks/{check.id}")


async def show_check(call: Call) -> Answer:
    """Show how far a check is, or what it found."""
    return await _page(call, check=call.services.checks.get(call.caller, call.path("id")))


async def progress(call: Call) -> Answer:
    """Tell a script how far a check is."""
    check = call.services.checks.get(call.caller, call.path("id"))
    return json_answer({"done": check.done, "total": check.total, "running": check.is_running})


def growth_of(points: list[tuple[int, datetime]]) -> Growth | None:
    """Return the drawing of a log's growth, None when there is nothing to draw yet."""
    known = sorted({(moment, size) for size, moment in points})
    if len(known) < 2 or known[0][0] == known[-1][0]:
        return None
    begin, end, most = known[0][0], known[-1][0], max(1, max(size for _, size in known))
    length = (end - begin).total_seconds()

    def at(moment: datetime, size: int) -> str:
        return f"{WIDTH * (moment - begin).total_seconds() / length:.1f} {HEIGHT - HEIGHT * size / most:.1f}"

    line = "M" + " L".join(at(moment, size) for moment, size in known)
    step = max(1, len(known) // 12)
    rows = known[::step]
    return Growth(
        line=line, area=f"{line} L{WIDTH} {HEIGHT} L0 {HEIGHT} Z", first=begin,
        last=end, most=most, rows=rows,
        summary=f"The log grew from {known[0][1]:,} events on {begin:%Y-%m-%d} to {known[-1][1]:,} on {end:%Y-%m-%d}.",
    )  # fmt: skip


async def checkpoint(call: Call) -> Answer:
    """Hand out the newest checkpoint as a file to keep elsewhere."""
    return text_answer(await call.services.log.checkpoint(call.caller.organization_id))
