"""The declaration of a page and its door: session → Principal, no session → sign-in, no permission → who grants it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import structlog
from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from tallystick import errors
from tallystick.services.permissions import ANYONE
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import SESSION, cookie_text, read_cookie
from tallystick.web.guard import READING, status_of
from tallystick.web.origin import SAFE_METHODS, require_own_origin
from tallystick.web.recorded import Recorder
from tallystick.web.ui.render import SECURITY_HEADERS, render, security_headers

log = structlog.get_logger("tallystick.web.ui")

PUBLIC = None
SIGNED_IN = ANYONE  # whoever has signed in, whatever they may do


Handler = Callable[[Call], Awaitable[Answer]]


class Page(Struct, frozen=True, kw_only=True):
    """One page, or what one of its forms does.

    `permission` is PUBLIC, SIGNED_IN or a permission; without the permission a person sees who can grant it.
    """

    method: str
    path: str
    name: str
    handler: Handler
    permission: str | None


class GuardedPage:
    """A page behind its door, as an ASGI application."""

    def __init__(self, page: Page, services: Any) -> None:
        self._page = page
        self._services = services
        self._recorder = Recorder(page.name, method=page.method, by_id="{" in page.path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._services.monotonic()
        call = Call(scope, receive, self._services)
        renewed: str | None = None
        try:
            require_own_origin(call)
            renewed = await self._recognise(call)
            if self._page.permission is not None:
                await self._admit(call, self._page.permission)
            answer = await self._page.handler(call)
            await self._recorder.looked(call)
        except errors.Unauthorized:
            answer = self._stranger(call)
        except errors.AuditError as error:
            answer = await self._refusal(call, error)
        except Exception:
            log.exception("unexpected", page=self._page.path, request_id=call.request_id)
            answer = self._said(call, 500, "Something failed here", _SURPRISE)
        finally:
            if call.held_bytes:
                self._services.bodies.release(call)
        await answer(scope, receive, _with_headers(send, security_headers(call), renewed))
        self._services.metrics.answered(self._page.name, answer, self._services.monotonic() - started)

    async def _recognise(self, call: Call) -> str | None:
        """Find out who is asking; return the cookie to send when the session was given a new id."""
        token = read_cookie(call, SESSION)
        if token is None:
            return None
        ip, agent = call.address, call.header(b"user-agent")
        try:
            call.principal, fresh = await self._services.sessions.visit(token, ip=ip, user_agent=agent)
        except errors.Unauthorized:
            return None
        return None if fresh is None else cookie_text(call, SESSION, fresh)

    def _stranger(self, call: Call) -> Response:
        return to_sign_in(call)

    def _said(self, call: Call, status: int, title: str, detail: str) -> Response:
        return render(
            call, "error.html", status, headers=request_headers(call, status), title=title, detail=detail
        )

    async def _admit(self, call: Call, permission: str) -> None:
        if call.principal is None:
            raise errors.Unauthorized("Sign in to see this page.")
        call.principal = call.principal.under(permission)
        if permission in READING:
            await self._services.switches.require_reading(call.principal.organization_id)

    async def _refusal(self, call: Call, error: errors.AuditError) -> Response:
        status, title = status_of(error)
        self._recorder.refused(call, error)
        if status >= 500:
            log.error(
                "refused",
                rule=error.rule,
                detail=str(error),
                page=self._page.path,
                request_id=call.request_id,
            )
        if status == 403 and call.principal is not None and call.viewer is None and error.rule == "forbidden":
            grantors = await self._services.sessions.grantors(call.principal.organization_id)
            return render(
                call, "restricted.html", 403, title="Access restricted",
                permission=self._page.permission, grantors=grantors,
            )  # fmt: skip
        return self._said(call, status, title, str(error))


def request_headers(call: Call, status: int) -> dict[str, str]:
    """Return the header under which an answer that is the server's fault is found in its log, none for others."""
    return {"X-Request-Id": call.request_id} if status >= 500 else {}


async def lost(call: Call) -> Response:
    """Return the page for a path that leads nowhere."""
    token = read_cookie(call, SESSION)
    if token is not None:
        with suppress(errors.AuditError):
            call.principal = await call.services.sessions.authenticate(token)
    return render(call, "error.html", 404, title="There is nothing here", detail=_NOTHING)


def to_sign_in(call: Call) -> Response:
    """Lead to the sign-in page, and back here afterwards when this was a page to look at."""
    where = "/sign-in"
    if call.scope["method"] in SAFE_METHODS:
        query = call.scope["query_string"].decode("latin-1")
        where += "?to=" + quote(call.scope["path"] + (f"?{query}" if query else ""), safe="")
    return RedirectResponse(where, 303, SECURITY_HEADERS)


def _with_headers(send: Send, always: Mapping[str, str], cookie: str | None) -> Send:
    """Put the headers every page has on whatever is sent, so that no handler can forget them."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            # An answer with a policy of its own has said there who may frame it.
            frames_itself = "Content-Security-Policy" in headers
            for name, value in always.items():
                if name not in headers and not (frames_itself and name == "X-Frame-Options"):
                    headers[name] = value
            # A handler that signs in or out has the last word on the cookie.
            if cookie is not None and "set-cookie" not in headers:
                headers.append("Set-Cookie", cookie)
        await send(message)

    return sent


_NOTHING = "The address is not one of this server's, or what it showed is gone."
_SURPRISE = (
    "Something unexpected happened here; whether what you asked for was done is unknown. Look before you try again. "
    "The server's log has the details under the id below."
)
