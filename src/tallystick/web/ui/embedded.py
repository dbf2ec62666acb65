"""The door of pages that stand in a page of somebody else: the session of a viewer is in their path, and no cookie counts.

A browser that keeps third parties from having cookies, or scripts from running, shows them all the same.
"""

from __future__ import annotations

from starlette.responses import Response

from tallystick.web.call import Call
from tallystick.web.ui.page import GuardedPage
from tallystick.web.ui.render import framed_by, render

# Whoever asks with a session that is over learns nothing but that, in one answer for every reason; since nothing tells
# whose it was, this page, which shows no event and has no button, may stand anywhere.
ANYWHERE = "*"


class EmbeddedPage(GuardedPage):
    """A page behind the door of viewers, as an ASGI application."""

    async def _recognise(self, call: Call) -> str | None:
        """Find out whose session the path names; raises Unauthorized when it is none that is good."""
        viewer = await call.services.viewers.authenticate(call.path("viewer"))
        call.viewer, call.principal = viewer, viewer.principal
        return None

    def _stranger(self, call: Call) -> Response:
        return session_ended(call)

    def _said(self, call: Call, status: int, title: str, detail: str) -> Response:
        return said(call, status, title, detail, framed_by(ANYWHERE) if call.viewer is None else {})


def session_ended(call: Call) -> Response:
    """Return the page that says so, and whose script tells the page around it."""
    call.viewer = call.principal = None
    return said(call, 401, "Session ended", "Reload the page around this to go on.", framed_by(ANYWHERE))


def said(call: Call, status: int, title: str, detail: str, headers: dict[str, str]) -> Response:
    """Return a page of a heading and a sentence within the frame of embedded pages."""
    return render(
        call, "embed/said.html", status, headers=headers, frame="embed/frame.html", title=title, detail=detail,
        ended=status == 401,
    )  # fmt: skip
