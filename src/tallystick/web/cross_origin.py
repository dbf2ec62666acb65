"""Pages of other origins: only a viewer's token lets one ask, and only from the origins its backend named.

A browser is told so by the headers of CORS (Fetch Standard, 3.2). Cookies never come along: nothing here allows
credentials, so a foreign page has only the token its backend gave it.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from tallystick.errors import Refused
from tallystick.services.principal import Principal
from tallystick.services.viewers import require_origin
from tallystick.web.call import Call

ORIGIN_CHARACTERS_MAX = 300
PREFLIGHT_SECONDS = "600"
# A fetch of one of our own pages carries no Origin when it only reads; one from nowhere is typed by the person.
_OWN_SITES = frozenset({"same-origin", "none"})


async def admit_viewer(call: Call, credential: str) -> Principal:
    """Return the viewer whose session this is, and let the page's origin read the answer.

    Raises Unauthorized, and Forbidden when the page is of an origin that the token does not name.
    """
    viewer = await call.services.viewers.authenticate(credential)
    call.principal = viewer.principal  # so that a refusal says whom it concerns
    origin, own = origin_of(call)
    require_origin(viewer, origin, own=own)
    call.cross_origin = None if own else origin
    return viewer.principal


def origin_of(call: Call) -> tuple[str | None, bool]:
    """Return the origin of the page that asks, None when no browser says, and whether the page is one of ours."""
    origin = call.header(b"origin")
    if origin is None:
        site = call.header(b"sec-fetch-site")
        # A page that hides where it is from is none that a token names.
        return (None, True) if site is None or site in _OWN_SITES else ("null", False)
    try:
        return origin, origin == call.services.address.origin_of(call.header(b"host"))
    except Refused:
        return origin, False


def let_read(answer: Any, origin: str) -> None:
    """Tell the browser that a page of `origin` may read this answer."""
    answer.headers["Access-Control-Allow-Origin"] = origin
    answer.headers["Access-Control-Expose-Headers"] = "Retry-After, Content-Disposition"
    vary = answer.headers.get("Vary")
    answer.headers["Vary"] = "Origin" if not vary else f"{vary}, Origin"


async def preflight(scope: Scope, services: Any) -> Response | None:
    """Answer a browser's question whether a page may ask, None when this is not one.

    Only an origin that some live token names gets a yes; the call itself is then held to its own token.
    """
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    if b"access-control-request-method" not in headers or not 0 < len(origin) <= ORIGIN_CHARACTERS_MAX:
        return None
    answer = Response(status_code=204, headers={"Vary": "Origin"})
    if await services.viewers.allows(origin):
        answer.headers["Access-Control-Allow-Origin"] = origin
        answer.headers["Access-Control-Allow-Methods"] = "GET, POST"
        answer.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Last-Event-ID"
        answer.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
    return answer
