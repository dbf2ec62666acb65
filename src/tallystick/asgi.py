"""Middleware for ASGI applications: Starlette, FastAPI, Litestar and all others.

app.add_middleware(AuditMiddleware, audit=audit, auto="mutations", resolve_actor=…)
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeGuard, cast

from tallystick.client.act import Draft
from tallystick.client.actors import Actor
from tallystick.client.audit import AsyncAudit, Audit
from tallystick.client.context import bind, unbind
from tallystick.client.web_act import (
    BODY_BYTES_MAX,
    Auto,
    Describe,
    Resolve,
    WebAct,
    WebSettings,
    current_draft,
    enter,
    json_of,
    leave,
    merged,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def audit_event() -> Draft:
    """Return the event of this request; for FastAPI: `event: Annotated[Draft, Depends(audit_event)]`."""
    return current_draft()


class AuditMiddleware:
    """Binds who, from where and within what for each request, and records mutations by themselves if asked to.

    Args:
        app: the application inside. audit: where to record.
        trusted_proxies: networks whose X-Forwarded-For is believed; none by default.
        resolve_actor: gets the ASGI scope, returns who acts or None; a plain function is asked when something is
            recorded (after authentication), a coroutine function before the request is handled.
        auto: "mutations" records every POST, PUT, PATCH and DELETE with the route's name as action, denied and
            failed ones included.
        skip: gets path and method; True for requests that are not to be recorded by themselves.
        describe: gets the draft of an event and the `Call` it is about, and says what it was where the names of routes
            do not: sets action, targets, error and more, or drops it. Not awaited.
    """

    def __init__(
        self,
        app: App,
        *,
        audit: Audit | AsyncAudit,
        trusted_proxies: Iterable[str] = (),
        resolve_actor: Callable[[Scope], Actor | Awaitable[Actor | None] | None] | None = None,
        auto: Auto = None,
        skip: Callable[[str, str], bool] | None = None,
        describe: Describe | None = None,
    ) -> None:
        self.app = app
        self._recording = audit.recording
        self._resolve_first = resolve_actor if _is_async(resolve_actor) else None
        self.settings = WebSettings(
            trusted_proxies=trusted_proxies,
            resolve_actor=_nobody if self._resolve_first else cast("Resolve | None", resolve_actor),
            auto=auto,
            skip=skip,
            describe=describe,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        act = WebAct(self.settings, self._recording.recorder, method, scope["path"], scope)
        if self._resolve_first is not None:
            act.known(await self._resolve_first(scope))
        peer = scope.get("client")
        headers = _Headers(scope["headers"])
        bound = bind(act.bound(headers.get, peer[0] if peer else None))
        entered = enter(act)
        try:
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
            else:
                await self._answer(act, headers, scope, receive, send)
        finally:
            leave(entered)
            unbind(bound)

    async def _answer(
        self, act: WebAct, headers: _Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        exchange = _Exchange(self, act, headers, scope, receive, send)
        watched = act.draft is not None
        try:
            await self.app(scope, exchange.receive if watched else receive, exchange.send)
        except BaseException as error:
            await exchange.failed(error)
            raise
        await exchange.ended()

    async def keep(self, exchange: _Exchange, status: int | None, error: BaseException | None) -> None:
        """Record the event of a request, before the caller can know that it was answered."""
        scope = exchange.scope
        made = exchange.act.ended(
            route=route_of(scope),
            status=status,
            error=error,
            arguments=lambda: merged(
                scope.get("path_params"), json_of(bytes(exchange.sent), exchange.headers.get("content-type"))
            ),
            result=lambda: json_of(bytes(exchange.answered), exchange.answer_type),
        )
        if made is None:
            return
        if error is not None and not isinstance(error, Exception):
            self._recording.keep(made[0], **made[1])  # a cancelled task gets no second await
        else:
            await self._recording.keep_soon(made[0], **made[1])


class _Headers:
    """The headers of a request, looked up by lower-case name."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def get(self, name: str) -> str | None:
        """Return a header; where it was sent several times, all of it in one."""
        wanted = name.encode()
        found = [value for key, value in self._raw if key == wanted]
        return b", ".join(found).decode("latin-1") if found else None


class _Exchange:
    """One request and its answer, passing through."""

    def __init__(
        self,
        middleware: AuditMiddleware,
        act: WebAct,
        headers: _Headers,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._middleware = middleware
        self.act = act
        self.headers = headers
        self.scope = scope
        self._receive = receive
        self._send = send
        self._held: Message | None = None
        self._status: int | None = None
        self._recorded = False
        self.sent = bytearray()
        self.answered = bytearray()
        self.answer_type: str | None = None

    async def receive(self) -> Message:
        """Pass on what the caller sends, and keep a small body to look for targets in."""
        message = await self._receive()
        if message["type"] == "http.request" and len(self.sent) <= BODY_BYTES_MAX:
            self.sent += message.get("body", b"")
        return message

    async def send(self, message: Message) -> None:
        """Pass on the answer, the event having been recorded before its first byte."""
        if self._recorded or self.act.draft is None:
            await self._send(message)
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._is_small_json(message):
                self._held = message  # the body that follows at once may name what was created
                return
        elif message["type"] == "http.response.body" and self._held is not None:
            self.answered += message.get("body", b"")
        await self._record(None)
        await self._release()
        await self._send(message)

    def _is_small_json(self, message: Message) -> bool:
        kind = length = b""
        for name, value in message.get("headers", ()):
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                length = value
        self.answer_type = kind.decode("latin-1")
        return b"json" in kind and length.isdigit() and int(length) <= BODY_BYTES_MAX

    async def failed(self, error: BaseException) -> None:
        """Record an exception that left the application; after the event of the answer, if there was one."""
        late = self._recorded
        if late and self.act.draft is not None:
            self.act.draft.metadata["after_answer"] = True
        self._recorded = False
        await self._record(error)
        await self._release()

    async def ended(self) -> None:
        """Record what has not been recorded: an answer without a body, or none at all."""
        if not self._recorded and self.act.draft is not None:
            await self._record(None)
        await self._release()

    async def _record(self, error: BaseException | None) -> None:
        self._recorded = True
        await self._middleware.keep(self, self._status, error)

    async def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._send(held)


def _is_async(
    resolve: Callable[[Scope], Any] | None,
) -> TypeGuard[Callable[[Scope], Awaitable[Actor | None]]]:
    return inspect.iscoroutinefunction(resolve)


def _nobody(scope: Scope) -> None:
    """Stand for a resolver that has been awaited already."""


def route_of(scope: Scope) -> str | None:
    """Return the framework's name for what was called, None when nothing was."""
    handler = scope.get("route_handler")  # Litestar
    if handler is not None:
        return getattr(handler, "name", None) or getattr(handler, "handler_name", None)
    name = getattr(scope.get("route"), "name", None)  # FastAPI
    if isinstance(name, str) and name:
        return name
    endpoint = scope.get("endpoint")  # Starlette
    return None if endpoint is None else getattr(endpoint, "__name__", type(endpoint).__name__)
