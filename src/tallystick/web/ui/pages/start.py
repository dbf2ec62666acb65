"""Where one comes in, and the colours one chose."""

from __future__ import annotations

from msgspec.structs import replace

from tallystick.errors import Refused
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import read_cookie, set_cookie
from tallystick.web.ui.events.look import COOKIE, COOKIE_SECONDS, read_look, write_look
from tallystick.web.ui.events.moments import UTC_NAME, zone_of
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.render import THEME, THEMES, see_other

EVENTS = "/events"
_THEME_SECONDS = 365 * 86_400


async def start(call: Call) -> Answer:
    """Lead to the events, or to sign-in."""
    return see_other("/sign-in" if call.principal is None else home())


def home() -> str:
    """Return the page people come to after signing in."""
    from tallystick.web.ui.routes import PAGES  # the table names the handlers of this file

    return EVENTS if any(page.path == EVENTS for page in PAGES) else "/account"


async def choose_zone(call: Call) -> Answer:
    """Remember the zone in which times are told, on every page."""
    fields = await read_form(call)
    zone = fields.get("zone", UTC_NAME)
    zone_of(zone)
    look = replace(read_look(read_cookie(call, COOKIE)), zone=zone)
    answer = see_other(fields.get("to", "/"))
    if (value := write_look(look)) is not None:
        set_cookie(call, answer, COOKIE, value, seconds=COOKIE_SECONDS)
    return answer


async def choose_theme(call: Call) -> Answer:
    """Remember light, dark or the system's own."""
    fields = await read_form(call)
    theme = fields.get("theme", "")
    if theme not in THEMES:
        raise Refused(f"Colours are one of {', '.join(THEMES)}.", rule="theme")
    answer = see_other(fields.get("to", "/"))
    set_cookie(call, answer, THEME, theme, seconds=_THEME_SECONDS)
    return answer
