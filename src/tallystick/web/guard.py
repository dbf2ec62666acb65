"""The door: credential → Principal, errors → `application/problem+json` (RFC 9457), for every operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tallystick import errors
from tallystick.services.key_text import OPERATOR_PREFIX
from tallystick.services.permissions import EXPORT, READ
from tallystick.services.principal import Principal
from tallystick.services.viewers import SESSION_PREFIX
from tallystick.web import cross_origin
from tallystick.web.attempts import FailedAttempts
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import SESSION, read_cookie
from tallystick.web.origin import require_own_origin
from tallystick.web.recorded import Recorder

log = structlog.get_logger("tallystick.web")

STATUS: tuple[tuple[type[errors.AuditError], int, str], ...] = (
    (errors.TooLarge, 413, "Too large"),
    (errors.Conflict, 409, "In conflict with what is there"),
    (errors.Refused, 400, "Not accepted"),
    (errors.Unauthorized, 401, "No valid credential"),
    (errors.Forbidden, 403, "Not permitted"),
    (errors.NotFound, 404, "Not found"),
    (errors.TryLater, 503, "Try again later"),
    (errors.Tampered, 500, "The log disagrees with its proof"),
    (errors.Misconfigured, 500, "Misconfigured"),
    (errors.AuditError, 500, "Something failed here"),
)
# Everything else is ours to look at, so it is logged.
_OF_THE_CALLER = (errors.Refused, errors.Unauthorized, errors.Forbidden, errors.NotFound, errors.TryLater)
# Whatever needs one of these shows the log, so the switches of reading close it; recording needs none of them.
READING = frozenset({READ, EXPORT})
# Rules that have a status of their own within HTTP.
STATUS_OF_RULE = {
    "media_type": 415,
    "method": 405,
    "body_timeout": 408,
    "attempts": 429,
    "header_too_large": 431,
    "no_pyarrow": 501,
}


def status_of(error: errors.AuditError) -> tuple[int, str]:
    """Return the HTTP status of an error and the title of its class."""
    status, title = next((s, t) for kind, s, t in STATUS if isinstance(error, kind))
    return STATUS_OF_RULE.get(error.rule, status), title


def headers_of(error: errors.AuditError, status: int) -> dict[str, str]:
    """Return the headers that tell a client what to do about an error: when to come back, how to sign in."""
    headers: dict[str, str] = {}
    if isinstance(error, errors.TryLater):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if status == 429:
        headers["Retry-After"] = "1"
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tallystick"'
    return headers


def problem(error: errors.AuditError, request_id: str = "") -> Response:
    """Write an error as problem+json: what happened, which rule, where in the input."""
    status, title = status_of(error)
    body: dict[str, Any] = {
        "type": f"urn:tallystick:problem:{error.rule}",
        "title": title,
        "status": status,
        "detail": str(error),
        "rule": error.rule,
    }
    if error.path:
        body["path"] = error.path
    if request_id:
        body["request_id"] = request_id
    headers = headers_of(error, status)
    return Response(json.encode(body), status, headers, media_type="application/problem+json")


def credential_of(call: Call) -> str:
    """Return the API key of a call: `Authorization: Bearer …` or `X-API-Key: …`; never from the URL."""
    authorization = call.header(b"authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""
    return call.header(b"x-api-key") or ""


def session_of(call: Call) -> str | None:
    """Return the token of a browser's session, None without one or beside any other credential.

    Raises:
        Forbidden: the call would change something and does not come from one of our own pages.
    """
    if call.header(b"authorization") is not None or call.header(b"x-api-key") is not None:
        return None
    token = read_cookie(call, SESSION)
    if token is not None:
        require_own_origin(call)
    return token


async def authenticate(call: Call) -> Principal:
    """Return whoever a call's credential stands for, or raise Unauthorized with one text for every reason."""
    credential = credential_of(call)
    if credential.startswith(SESSION_PREFIX):
        return await cross_origin.admit_viewer(call, credential)
    if credential == "" and (token := session_of(call)) is not None:
        return await call.services.sessions.authenticate(token, ip=call.address)
    organization = call.header(b"x-organization-id") if credential.startswith(OPERATOR_PREFIX) else None
    return await call.services.access.authenticate(credential, ip=call.address, organization=organization)


class Guarded:
    """An operation behind the door, as an ASGI application.

    Args:
        handler: gets the call and returns an answer, or raises an AuditError.
        permission: what the principal must hold; None for public operations.
        attempts: failed attempts by address, shared by all operations.
        name: the operation's name in metrics.
        recorder: leaves the trace of its calls in the log of the log.
        answer_of: turns an error into an answer; contracts of other products have shapes of their own.
    """

    def __init__(
        self,
        handler: Callable[[Call], Awaitable[Answer]],
        *,
        permission: str | None,
        services: Any,
        attempts: FailedAttempts,
        name: str = "",
        recorder: Recorder | None = None,
        answer_of: Callable[[errors.AuditError, str], Response] = problem,
    ) -> None:
        self._handler = handler
        self._permission = permission
        self._services = services
        self._attempts = attempts
        self._answer_of = answer_of
        self._name = name
        self._recorder = recorder or Recorder(name, method="GET", by_id=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._services.monotonic()
        call = Call(scope, receive, self._services)
        try:
            if self._permission is not None:
                await self._admit(call, self._permission)
            answer = await self._handler(call)
            await self._recorder.looked(call)
        except errors.AuditError as error:
            if call.refused_credential is not None:
                error = self._attempt(call, call.refused_credential) or error
            answer = self._refusal(call, error)
        except Exception:
            answer = self._surprise(call)
        finally:
            if call.held_bytes:
                self._services.bodies.release(call)
        if call.cross_origin is not None:
            cross_origin.let_read(answer, call.cross_origin)
        await answer(scope, receive, send)
        self._services.metrics.answered(self._name, answer, self._services.monotonic() - started)

    async def _admit(self, call: Call, permission: str) -> None:
        try:
            principal = call.principal = await authenticate(call)
        except errors.Unauthorized:
            if (error := self._attempt(call, credential_of(call))) is not None:
                raise error from None
            raise
        self._recorder.used(call, principal)
        call.principal = principal.under(permission)
        if permission in READING:
            await self._services.switches.require_reading(principal.organization_id)

    def _attempt(self, call: Call, credential: str) -> errors.Unauthorized | None:
        """Count a refused credential and note whose it was; return what to answer when there were too many."""
        try:
            self._attempts.failed(call.address, credential)
        except errors.Unauthorized as error:
            return error
        self._recorder.attempted(call, credential)
        return None

    def _refusal(self, call: Call, error: errors.AuditError) -> Answer:
        request_id = call.request_id
        self._recorder.refused(call, error)
        if not isinstance(error, _OF_THE_CALLER):
            log.error(
                "refused", rule=error.rule, detail=str(error), path=call.scope["path"], request_id=request_id
            )
        # A 401 must be the same bytes for every reason, so it carries no request id.
        return self._answer_of(error, "" if isinstance(error, errors.Unauthorized) else request_id)

    def _surprise(self, call: Call) -> Answer:
        request_id = call.request_id
        log.exception("unexpected", path=call.scope["path"], request_id=request_id)
        error = errors.UnknownOutcome(
            "Something unexpected happened here. If you were recording, whether it was recorded is unknown: send it "
            "again with the same id. The server's log has the details under this request id."
        )
        return self._answer_of(error, request_id)
