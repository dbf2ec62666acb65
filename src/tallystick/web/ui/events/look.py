"""The remembered look in a cookie: columns, density and zone, in letters that a cookie may hold."""

from __future__ import annotations

from tallystick.errors import Refused
from tallystick.web.ui.events.columns import read_columns
from tallystick.web.ui.events.moments import zone_of
from tallystick.web.ui.events.state import DENSITIES, Look

COOKIE = "tallystick-events"
COOKIE_SECONDS = 400 * 86_400  # the longest a browser keeps one


def write_look(look: Look) -> str | None:
    """Return the look as a cookie's value, None when it cannot be written."""
    zone = look.zone.replace("/", "~")
    value = f"{'-'.join(look.columns)}.{look.density}.{zone}"
    return value if read_look(value) == look else None


def read_look(value: str | None) -> Look:
    """Return the look that a cookie says; anything that is not understood is as if nothing had been remembered."""
    if value is None:
        return Look()
    columns, _, rest = value.partition(".")
    density, _, zone = rest.partition(".")
    try:
        look = Look(
            columns=read_columns(columns.replace("-", ",")), density=density, zone=zone.replace("~", "/")
        )
        zone_of(look.zone)
    except Refused:
        return Look()
    return look if density in DENSITIES else Look()
