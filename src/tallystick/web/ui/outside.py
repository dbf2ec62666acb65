"""What the page Verify says about outsiders: witnesses, time stamps, copies, as people read it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec import Struct

from tallystick.services.outside_health import OutsideStanding
from tallystick.services.permissions import MANAGE
from tallystick.services.witnessing import State
from tallystick.web.call import Call
from tallystick.web.ui.events.moments import Stamp, stamp

_STATES: Final[dict[State, tuple[str, str]]] = {
    "well": ("well", "good"),
    "late": ("not heard of lately", "warn"),
    "alarm": ("refuses: another history", "bad"),
}


class WitnessLine(Struct, frozen=True, kw_only=True):
    """One witness: `mark` is the colour of its state; `failure` is for those who may do something about it."""

    name: str
    state: str
    mark: str
    size: int
    at: Stamp | None
    failure: str


class TaskLine(Struct, frozen=True, kw_only=True):
    """One thing that is done now and then, when it last went well, and whether it failed since."""

    title: str
    at: Stamp | None
    failed: bool


class OutsideView(Struct, frozen=True, kw_only=True):
    """Everything the section shows; `said` is the witnesses in a few words, `wrong` what must be seen first."""

    size: int
    signed: Stamp | None
    stamp: Stamp | None
    authority: str
    needed: str
    said: str
    witnesses: list[WitnessLine]
    tasks: list[TaskLine]
    wrong: list[str]


async def outside_of(call: Call) -> OutsideView:
    """Return what a caller may see: why something fails, and where it is, only those who manage the organization."""
    health = call.services.outside
    standing: OutsideStanding = await health.standing()
    may_know = call.caller.may(MANAGE)
    now = call.services.now()

    def shown(at: datetime | None) -> Stamp | None:
        return None if at is None else stamp(at, None, now)

    wrong = [
        f"The {one.name} {'are' if one.name.endswith('s') else 'is'} not well."
        + (f" {one.detail}" if may_know and one.detail else "")
        for one in health.findings_of(standing)
        if not one.ok
    ]
    return OutsideView(
        size=standing.size, signed=shown(standing.signed_at), stamp=shown(standing.stamps[0].at if standing.stamps else None),
        authority=standing.stamps[0].authority if standing.stamps else "", needed=standing.quorum.needed, said=_said(standing),
        witnesses=_lines(standing, shown, may_know), wrong=wrong,
        tasks=[
            TaskLine(title=one.title, at=shown(one.done_at), failed=bool(one.failure))
            for one in standing.tasks
        ],
    )  # fmt: skip


def _said(standing: OutsideStanding) -> str:
    well = sum(one.state == "well" for one in standing.quorum.witnesses)
    return f"{well} of {len(standing.quorum.witnesses)} signed lately"


def _lines(
    standing: OutsideStanding, shown: Callable[[datetime | None], Stamp | None], may_know: bool
) -> list[WitnessLine]:
    return [
        WitnessLine(
            name=one.name, state=_STATES[one.state][0], mark=_STATES[one.state][1], size=one.size, at=shown(one.at),
            failure=one.failure if may_know else "",
        )
        for one in standing.quorum.witnesses
    ]  # fmt: skip
