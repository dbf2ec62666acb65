"""The zone in which every page tells its times: the one that is remembered for the events.

A template's macro sees nothing of the page it is used in, so the zone of the page being made is kept beside it.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tallystick.web.call import Call
from tallystick.web.cookies import read_cookie
from tallystick.web.ui.events.look import COOKIE, read_look
from tallystick.web.ui.events.moments import offset_name, zone_of

_zone: ContextVar[ZoneInfo | None] = ContextVar("zone", default=None)


def set_clock(call: Call) -> str:
    """Have times told in the zone this visitor chose; return its name, `utc` without a choice."""
    name = read_look(read_cookie(call, COOKIE)).zone
    _zone.set(zone_of(name))
    return name


def told(moment: datetime) -> str:
    """Return a moment to the minute, with its zone."""
    there = moment.astimezone(_zone.get() or UTC)
    return f"{there:%Y-%m-%d %H:%M} {offset_name(there)}"
