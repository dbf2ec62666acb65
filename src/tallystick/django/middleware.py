"""Django's middleware: `"tallystick.django.AuditMiddleware"` in MIDDLEWARE, settings in TALLYSTICK.

    TALLYSTICK = {"audit": "myproject.audit.audit", "auto": "mutations", "trusted_proxies": ["10.0.0.0/8"],
                  "resolve_actor": "myproject.audit.actor_of"}

Without `audit` an `Audit()` from the environment is used, without `resolve_actor` the signed-in user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings as django_settings
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

from tallystick.client.act import Draft
from tallystick.client.actors import Actor, User
from tallystick.client.audit import Audit
from tallystick.client.context import bind, unbind
from tallystick.client.web_act import (
    BODY_BYTES_MAX,
    WebAct,
    WebSettings,
    current_draft,
    enter,
    json_of,
    leave,
    merged,
)
from tallystick.errors import Misconfigured

_KNOWN = frozenset(
    {"audit", "auto", "trusted_proxies", "resolve_actor", "skip", "admin_log", "require_actor"}
)
_OF_MODELS = ("admin_log", "require_actor")


def audit_event() -> Draft:
    """Return the event of this request, to give it targets, before, after."""
    return current_draft()


def signed_in_user(request: HttpRequest) -> Actor | None:
    """Return the user of django.contrib.auth, None for somebody who has not signed in."""
    user: Any = getattr(request, "_acached_user", None)  # what request.auser() fetched
    if user is None:
        user = getattr(request, "user", None)
        try:
            bool(user)  # lazy until it is touched
        except SynchronousOnlyOperation:
            raise Misconfigured(
                "who is signed in is not known yet in this async view: put tallystick.django.AuditMiddleware behind "
                "AuthenticationMiddleware"
            ) from None
    if user is None or not user.is_authenticated:
        return None
    role = "superuser" if user.is_superuser else "staff" if user.is_staff else None
    return User(str(user.pk), name=user.get_username(), email=getattr(user, "email", None) or None, role=role)


def configured() -> tuple[Audit, WebSettings]:
    """Return what the settings of the project say; Misconfigured names what is wrong in them."""
    given: dict[str, Any] = dict(getattr(django_settings, "TALLYSTICK", {}))
    if unknown := given.keys() - _KNOWN:
        raise Misconfigured(
            f"TALLYSTICK has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(_KNOWN))}"
        )
    for name in ("audit", "resolve_actor", "skip"):
        if isinstance(given.get(name), str):
            given[name] = import_string(given[name])
    for name in _OF_MODELS:  # project.py reads these
        given.pop(name, None)
    audit = given.pop("audit", None) or Audit()
    return audit, WebSettings(**{"resolve_actor": signed_in_user, **given})


class AuditMiddleware:
    """Binds who, from where and within what for each request, and records mutations by themselves if asked to.

    Put it behind AuthenticationMiddleware; before it works too where no view is async, and sees what that refuses.
    """

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        audit, self._settings = configured()
        self._recording = audit.recording
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self._call_async(request)
        act = self._act(request)
        tokens = self._enter(act, request)
        try:
            response = self.get_response(request)
            made = self._ended(act, request, response)
            if made is not None:
                self._recording.keep(made[0], **made[1])
            return response
        finally:
            leave(tokens[1])
            unbind(tokens[0])

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        act = self._act(request)
        await self._fetch_user(request)
        tokens = self._enter(act, request)
        try:
            response = await self.get_response(request)
            await self._fetch_user(request)
            made = self._ended(act, request, response)
            if made is not None:
                await self._recording.keep_soon(made[0], **made[1])
            return response
        finally:
            leave(tokens[1])
            unbind(tokens[0])

    async def _fetch_user(self, request: HttpRequest) -> None:
        """Fetch who is signed in without blocking the loop, if AuthenticationMiddleware has come by."""
        fetch = getattr(request, "auser", None)
        if self._settings.resolve_actor is signed_in_user and fetch is not None:
            await fetch()

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Note the exception of a view; Django turns it into an answer after this."""
        request._tallystick_error = exception  # type: ignore[attr-defined]

    def _act(self, request: HttpRequest) -> WebAct:
        return WebAct(self._settings, self._recording.recorder, request.method or "", request.path, request)

    def _enter(self, act: WebAct, request: HttpRequest) -> tuple[Any, Any]:
        peer = request.META.get("REMOTE_ADDR") or None
        headers: Any = request.headers
        return bind(act.bound(headers.get, peer)), enter(act)

    def _ended(self, act: WebAct, request: HttpRequest, response: Any) -> Any:
        match = request.resolver_match

        def arguments() -> Any:
            return merged(match.kwargs if match else {}, json_of(_body(request), request.content_type))

        def result() -> Any:
            if response.streaming:
                return None
            return json_of(response.content, response.headers.get("content-type"))

        return act.ended(
            route=(match.view_name if match.url_name else match.func.__name__) if match else None,
            status=response.status_code,
            error=getattr(request, "_tallystick_error", None),
            arguments=arguments,
            result=result,
        )


def _body(request: HttpRequest) -> bytes:
    """Return a small body that the view has read as a whole; one that it streamed is gone."""
    body = getattr(request, "_body", b"")
    return body if len(body) <= BODY_BYTES_MAX else b""
