"""Cookies: read within bounds, written with every protection a browser knows.

Over https their names begin with `__Host-`, which a browser only accepts from this very host, with Secure and for the
path `/`; over plain http they work on the loopback address alone, for trying things out.
"""

from __future__ import annotations

import re

from starlette.responses import Response

from tallystick.web.call import Call

SESSION = "tallystick"
PENDING = "tallystick-pending"
SINGLE = "tallystick-single"
# The longest we ever write is a sealed sign-in under way; more is no cookie of ours.
VALUE_BYTES_MAX = 3072
COOKIES_MAX = 64
_VALUE = re.compile(r"[A-Za-z0-9_.~-]*")


def name_of(call: Call, name: str) -> str:
    """Return the name a cookie has on the wire: with `__Host-` wherever the address is https."""
    return f"__Host-{name}" if call.services.address.secure else name


def read_cookie(call: Call, name: str) -> str | None:
    """Return the value of one of our cookies, None when it is absent, sent twice, oversized or not written by us."""
    header = call.header(b"cookie")
    if header is None:
        return None
    wanted = name_of(call, name)
    found: list[str] = []
    # Repeated headers were joined by a comma, HTTP/2 fashion; a browser separates by semicolons.
    for piece in re.split(r"[;,]", header, maxsplit=COOKIES_MAX):
        key, separator, value = piece.strip().partition("=")
        if separator and key == wanted:
            found.append(value)
    # Two of one name: one of them was planted, and nobody can say which.
    if len(found) != 1 or len(found[0]) > VALUE_BYTES_MAX or not _VALUE.fullmatch(found[0]):
        return None
    return found[0] or None


def cookie_text(call: Call, name: str, value: str, *, seconds: int | None = None) -> str:
    """Return the header value that sets a cookie; without `seconds` it ends with the browser's session.

    Its value must be of letters, digits, `-`, `_`, `.` and `~`, which no header can be split with.
    """
    if not _VALUE.fullmatch(value) or len(value) > VALUE_BYTES_MAX:
        raise ValueError(f"the cookie {name} would not be read back")
    text = f"{name_of(call, name)}={value}; Path=/; HttpOnly; SameSite=Lax"
    if seconds is not None:
        text += f"; Max-Age={seconds}"
    return text + "; Secure" if call.services.address.secure else text


def set_cookie(call: Call, answer: Response, name: str, value: str, *, seconds: int | None = None) -> None:
    """Add a cookie to an answer."""
    answer.headers.append("Set-Cookie", cookie_text(call, name, value, seconds=seconds))


def drop_cookie(call: Call, answer: Response, name: str) -> None:
    """Have the browser forget a cookie."""
    set_cookie(call, answer, name, "", seconds=0)
