"""Flask: `Audited(app, audit=audit, auto="mutations", resolve_actor=…)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, g, got_request_exception, request

from tallystick.client.act import Draft
from tallystick.client.actors import Actor
from tallystick.client.audit import Audit
from tallystick.client.context import bind, unbind
from tallystick.client.web_act import (
    BODY_BYTES_MAX,
    Auto,
    Describe,
    WebAct,
    WebSettings,
    current_draft,
    enter,
    json_of,
    leave,
    merged,
)

_KEY = "_tallystick"


def audit_event() -> Draft:
    """Return the event of this request, to give it targets, before, after."""
    return current_draft()


class Audited:
    """Binds who, from where and within what for each request of a Flask application.

    Args:
        app: the application, or None and `init_app` later. audit: where to record.
        trusted_proxies: networks whose X-Forwarded-For is believed; none by default.
        resolve_actor: gets Flask's request, returns who acts or None; asked when something is recorded.
        auto: "mutations" records every POST, PUT, PATCH and DELETE with the endpoint's name as action.
        skip: gets path and method; True for requests that are not to be recorded by themselves.
        describe: gets the draft of an event and the `Call` it is about, and says what it was; see `WebSettings`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        audit: Audit,
        trusted_proxies: Iterable[str] = (),
        resolve_actor: Callable[[Any], Actor | None] | None = None,
        auto: Auto = None,
        skip: Callable[[str, str], bool] | None = None,
        describe: Describe | None = None,
    ) -> None:
        self._recording = audit.recording
        self.settings = WebSettings(
            trusted_proxies=trusted_proxies,
            resolve_actor=resolve_actor,
            auto=auto,
            skip=skip,
            describe=describe,
        )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put this around every request of `app`."""
        app.extensions["tallystick"] = self
        # First in, so that a before_request that refuses is recorded too.
        app.before_request_funcs.setdefault(None, []).insert(0, self._begin)
        app.after_request(self._answered)
        app.teardown_request(self._end)
        got_request_exception.connect(self._failed, app, weak=False)

    def _begin(self) -> None:
        act = WebAct(self.settings, self._recording.recorder, request.method, request.path, request)
        bound = bind(act.bound(request.headers.get, request.remote_addr))
        setattr(g, _KEY, [act, enter(act), bound, None])

    def _failed(self, sender: Any, exception: BaseException, **more: Any) -> None:
        if hasattr(g, _KEY):
            getattr(g, _KEY)[3] = exception

    def _answered(self, response: Response) -> Response:
        if hasattr(g, _KEY):
            act, _, _, error = getattr(g, _KEY)
            self._keep(act, response.status_code, error, response)
            act.draft = None
        return response

    def _end(self, error: BaseException | None) -> None:
        held = g.pop(_KEY, None)
        if held is None:
            return
        act, entered, bound, seen = held
        try:
            if act.draft is not None:  # no answer was made: the exception went on to the server
                self._keep(act, None, error or seen, None)
        finally:
            leave(entered)
            unbind(bound)

    def _keep(
        self, act: WebAct, status: int | None, error: BaseException | None, response: Response | None
    ) -> None:
        def arguments() -> Any:
            small = (request.content_length or 0) <= BODY_BYTES_MAX
            body = json_of(request.get_data(), request.content_type) if small else None
            return merged(request.view_args, body)

        def result() -> Any:
            if response is None or response.direct_passthrough or response.is_streamed:
                return None
            return json_of(response.get_data(), response.content_type)

        made = act.ended(
            route=request.endpoint, status=status, error=error, arguments=arguments, result=result
        )
        if made is not None:
            self._recording.keep(made[0], **made[1])
