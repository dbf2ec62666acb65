"""Where an embedded viewer begins: its token is exchanged, once, for the session that the pages after it carry."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import RedirectResponse

from tallystick.errors import Forbidden, Refused, Unauthorized
from tallystick.web.call import Answer, Call
from tallystick.web.ui.embedded import said, session_ended
from tallystick.web.ui.events.state import address
from tallystick.web.ui.render import SECURITY_HEADERS, framed_by

ROOT = "/embed"


async def enter(call: Call) -> Answer:
    """Exchange `token` and lead to the events, with whatever else the address asks for."""
    call.principal = None  # whoever may be signed in here: an embedded viewer is nobody but its token
    pairs = call.query()
    token = next((value for key, value in pairs if key == "token"), "")
    origin, own = _around(call)
    try:
        if call.scope["method"] != "GET":
            raise Unauthorized("A token is used up by opening the page, not by asking about it.")
        session = await call.services.viewers.exchange(token, origin=origin, own=own, context=call.context)
    except Unauthorized:
        return session_ended(call)
    except Forbidden as error:
        return said(call, 403, "Not for this page", str(error), SECURITY_HEADERS)
    rest = [pair for pair in pairs if pair[0] != "token"] or [("view", "all")]
    where = address(rest, f"{ROOT}/{session.token}/events")
    return RedirectResponse(where, 303, framed_by(" ".join(("'self'", *session.origins))))


def _around(call: Call) -> tuple[str | None, bool]:
    """Return the origin of the page around this one as far as its browser says it, and whether it is one of ours.

    Where it says nothing the policy of the pages is the fence: the browser itself shows them to the named origins only.
    """
    parts = urlsplit(call.header(b"referer") or "")
    if not parts.scheme or not parts.netloc:
        return None, False
    origin = f"{parts.scheme}://{parts.netloc}"
    try:
        return origin, origin == call.services.address.origin_of(call.header(b"host"))
    except Refused:
        return origin, False
