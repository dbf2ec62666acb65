"""An HTTP request as an act: what every framework's middleware has in common."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tallystick.client.act import Draft, outcome_of, targets_of
from tallystick.client.actors import Actor, Anonymous, Target
from tallystick.client.context import Bound, extended
from tallystick.client.proxies import TrustedProxies
from tallystick.client.recorder import Recorder
from tallystick.client.recording import Fields
from tallystick.errors import Misconfigured
from tallystick.event.model import Outcome

log = logging.getLogger("tallystick")

MUTATIONS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BODY_BYTES_MAX: Final = 64 * 1024  # of a body that is looked through for targets
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._:/-]+")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")
Resolve = Callable[[Any], Actor | None]
Auto = Literal["mutations"] | None


class Call(Struct, frozen=True, kw_only=True):
    """What a `describe` function is told about a request that was answered, or that failed.

    `route` is the framework's name for what was called, None where it does not say. `arguments` and `result` are
    JSON values, None where there were none, or where they were too large to be looked at. `status` is None when no
    answer was made. `request` is what `resolve_actor` gets.
    """

    method: str
    path: str
    route: str | None
    status: int | None
    arguments: Any
    result: Any
    request: Any


Describe = Callable[[Draft, Call], None]

_request: ContextVar[WebAct | None] = ContextVar("tallystick_request", default=None)


class WebSettings:
    """What a middleware is told.

    Args:
        trusted_proxies: networks whose X-Forwarded-For is believed; none by default.
        resolve_actor: gets the framework's request, returns who acts, or None for nobody known.
        auto: "mutations" records every POST, PUT, PATCH and DELETE, refused and failed ones included.
        skip: gets path and method; True for requests that are not to be recorded by themselves.
        describe: gets the event of a request and what is known about it, and says what it was: sets action,
            targets, error and more, or drops it. For applications whose own names of routes say too little.
    """

    def __init__(
        self,
        *,
        trusted_proxies: Iterable[str] = (),
        resolve_actor: Resolve | None = None,
        auto: Auto = None,
        skip: Callable[[str, str], bool] | None = None,
        describe: Describe | None = None,
    ) -> None:
        if auto not in (None, "mutations"):
            raise Misconfigured(f"auto is {auto!r}; it may be 'mutations' or None")
        self.proxies = TrustedProxies(trusted_proxies)
        self.resolve_actor = resolve_actor
        self.auto: Auto = auto
        self.skip = skip
        self.describe = describe

    def records(self, method: str, path: str) -> bool:
        """Tell whether a request is recorded by itself."""
        return self.auto is not None and method in MUTATIONS and not (self.skip and self.skip(path, method))


class WebAct:
    """One request on its way through an application.

    Args:
        header: returns a request header by its lower-case name, or None.
        request: what `resolve_actor` gets.
    """

    __slots__ = ("_actor", "_began", "_settings", "draft", "method", "path", "recorder", "request")

    def __init__(
        self, settings: WebSettings, recorder: Recorder, method: str, path: str, request: Any
    ) -> None:
        self._settings = settings
        self.recorder = recorder
        self.method = method
        self.path = path
        self.request = request
        self.draft: Draft | None = None
        self._actor: Actor | None = None
        self._began = recorder.monotonic()
        if settings.records(method, path):
            self.draft = Draft("", {})

    def bound(self, header: Callable[[str], str | None], peer: str | None) -> Bound:
        """Return what holds for everything that is recorded within this request."""
        trace = _TRACE.match(header("traceparent") or "")
        return extended(
            actor=self.actor if self._settings.resolve_actor is not None else None,
            ip=self._settings.proxies.client_ip(peer, header("x-forwarded-for")),
            user_agent=header("user-agent"),
            request_id=self._request_id(header("x-request-id")),
            trace_id=trace[1] if trace else None,
            http={"method": self.method, "path": self.path},
        )

    def _request_id(self, sent: str | None) -> str:
        # Anybody can send one; what would not pass as an id is replaced rather than passed on.
        if sent is not None and _REQUEST_ID.fullmatch(sent):
            return sent
        return self.recorder.new_id()

    def actor(self) -> Actor:
        """Return who acts; asked when something is recorded, for authentication may come after this."""
        if self._actor is None and self._settings.resolve_actor is not None:
            self._actor = self._settings.resolve_actor(self.request)
        return self._actor or Anonymous()

    def known(self, actor: Actor | None) -> None:
        """Note who acts, where finding that out had to be awaited."""
        self._actor = actor

    def wanted_draft(self) -> Draft:
        """Return the event of this request, which is recorded from now on whatever the method."""
        if self.draft is None:
            self.draft = Draft("", {})
        return self.draft

    def ended(
        self,
        *,
        route: str | None,
        status: int | None,
        error: BaseException | None = None,
        arguments: Callable[[], Any] = dict,
        result: Callable[[], Any] = lambda: None,
    ) -> tuple[str, Fields] | None:
        """Return action and fields of the event, None when this request is not recorded by itself.

        `route` is the framework's name for what was called; `arguments` and `result` are asked for where the
        targets have to be looked for.
        """
        draft = self.draft
        if draft is not None and self._settings.describe is not None and not draft.dropped:
            self._describe(self._settings.describe, draft, route, status, arguments(), result())
        if draft is None or draft.dropped:
            return None
        action = draft.action or action_of(route, self.method)
        if not draft.targets:
            draft.targets = targets_of(action, arguments(), result())
        fields = draft.ended(error, self.recorder.monotonic() - self._began)
        if error is None and draft.outcome is None:
            fields["outcome"] = outcome_of_status(status)
        http = {"method": self.method, "path": self.path, **({} if status is None else {"status": status})}
        fields["context"] = {"http": http}
        if draft.actor is None and self._settings.resolve_actor is not None:
            fields["actor"] = self.actor()
        return action, fields

    def _describe(
        self,
        describe: Describe,
        draft: Draft,
        route: str | None,
        status: int | None,
        arguments: Any,
        result: Any,
    ) -> None:
        call = Call(
            method=self.method, path=self.path, route=route, status=status, arguments=arguments, result=result,
            request=self.request,
        )  # fmt: skip
        try:
            describe(draft, call)
        except Exception:
            # The act was done: it is recorded as the route tells it, rather than not at all.
            log.exception(
                "tallystick: describe failed for %s %s; recorded without it", self.method, self.path
            )


def current_draft() -> Draft:
    """Return the event of the request being answered, to give it targets, before, after; see `Draft`.

    Raises Misconfigured outside of a request with a middleware of Tallystick around it.
    """
    act = _request.get()
    if act is None:
        raise Misconfigured("there is no request here: add Tallystick's middleware to the application")
    return act.wanted_draft()


def enter(act: WebAct | None) -> Any:
    """Make `act` what `current_draft` speaks of; returns what `leave` takes."""
    return _request.set(act)


def leave(token: Any) -> None:
    """Undo one `enter`."""
    _request.reset(token)


def action_of(route: str | None, method: str) -> str:
    """Return the action of a request: the name of its route; `http.post` and the like where there is none."""
    name = _UNFIT.sub("_", route or "").strip("_.:/-")[:256]
    return name or f"http.{method.lower()}"


def outcome_of_status(status: int | None) -> Outcome:
    """Return what a status says: 401 and 403 denied, other errors failure, none at all unknown."""
    if status is None:
        return "unknown"
    if status in (401, 403):
        return "denied"
    return "failure" if status >= 400 else "success"


def json_of(body: bytes, kind: str | None) -> Any:
    """Return the JSON of a small body, None for anything else."""
    if not body or len(body) > BODY_BYTES_MAX or "json" not in (kind or ""):
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None


def merged(path_arguments: Mapping[str, Any] | None, body: Any) -> Any:
    """Return the arguments of a call: those of the path, and of the body where that is an object."""
    if isinstance(body, dict):
        return {**body, **(path_arguments or {})}
    return dict(path_arguments or {}) if body is None else [dict(path_arguments or {}), body]


__all__ = ["Call", "Draft", "Target", "WebAct", "WebSettings", "current_draft", "outcome_of"]
