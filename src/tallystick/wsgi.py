"""Middleware for WSGI applications of any framework.

app = AuditMiddleware(app, audit=audit, auto="mutations", resolve_actor=…)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tallystick.client.actors import Actor
from tallystick.client.audit import Audit
from tallystick.client.context import bind, unbind
from tallystick.client.web_act import Auto, Describe, WebAct, WebSettings, enter, leave

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
ROUTE = "tallystick.route"  # an application may name what was called here; else it is the method alone


def header_of(environ: Environ) -> Callable[[str], str | None]:
    """Return what looks up the headers of a request by lower-case name."""

    def header(name: str) -> str | None:
        key = name.upper().replace("-", "_")
        return environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")

    return header


class AuditMiddleware:
    """Binds who, from where and within what for each request, and records mutations by themselves if asked to.

    Args:
        app: the application inside. audit: where to record.
        trusted_proxies: networks whose X-Forwarded-For is believed; none by default.
        resolve_actor: gets the environ, returns who acts or None; asked when something is recorded.
        auto: "mutations" records every POST, PUT, PATCH and DELETE. The action is what the application puts into
            `environ["tallystick.route"]`; frameworks have modules of their own that know their routes.
        skip: gets path and method; True for requests that are not to be recorded by themselves.
        describe: gets the draft of an event and the `Call` it is about, and says what it was; see `WebSettings`.
    """

    def __init__(
        self,
        app: App,
        *,
        audit: Audit,
        trusted_proxies: Iterable[str] = (),
        resolve_actor: Callable[[Environ], Actor | None] | None = None,
        auto: Auto = None,
        skip: Callable[[str, str], bool] | None = None,
        describe: Describe | None = None,
    ) -> None:
        self.app = app
        self._recording = audit.recording
        self.settings = WebSettings(
            trusted_proxies=trusted_proxies,
            resolve_actor=resolve_actor,
            auto=auto,
            skip=skip,
            describe=describe,
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        """Answer one request; a generator, so that the context holds until the last byte is made."""
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        act = WebAct(self.settings, self._recording.recorder, environ["REQUEST_METHOD"], path, environ)
        context = act.bound(header_of(environ), environ.get("REMOTE_ADDR"))
        status: list[int] = []

        def start(line: str, *more: Any, **named: Any) -> Any:
            status[:] = [int(line[:3])]
            return start_response(line, *more, **named)

        tokens = bind(context), enter(act)
        answer: Any = None
        recorded = False
        try:
            answer = self.app(environ, start)
            for piece in answer:
                if not recorded:
                    recorded = True
                    self._keep(act, environ, status, None)
                yield piece
            if not recorded:
                recorded = True
                self._keep(act, environ, status, None)
        except BaseException as error:
            if not isinstance(error, GeneratorExit):  # the caller hung up; the act itself is recorded
                if recorded and act.draft is not None:
                    act.draft.metadata["after_answer"] = True
                self._keep(act, environ, status, error)
            raise
        finally:
            if hasattr(answer, "close"):
                answer.close()
            leave(tokens[1])
            unbind(tokens[0])

    def _keep(self, act: WebAct, environ: Environ, status: list[int], error: BaseException | None) -> None:
        made = act.ended(route=environ.get(ROUTE), status=status[0] if status else None, error=error)
        if made is not None:
            self._recording.keep(made[0], **made[1])
