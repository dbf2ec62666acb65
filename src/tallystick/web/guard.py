"""The door: credential → Principal, errors → `application/problem+json` (RFC 9457), for every operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tallystick import errors
from tallystick.services.permissions import EXPORT, READ
from tallystick.web.attempts import FailedAttempts
from tallystick.web.call import Answer, Call

log = structlog.get_logger("tallystick.web")

STATUS: tuple[tuple[type[errors.AuditError], int, str], ...] = (
    (errors.TooLarge, 413, "Too large"),
    (errors.Conflict, 409, "Id already used with other content"),
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


class Guarded:
    """An operation behind the door, as an ASGI application.

    Args:
        handler: gets the call and returns an answer, or raises an AuditError.
        permission: what the principal must hold; None for public operations.
        attempts: failed attempts by address, shared by all operations.
        name: the operation's name in metrics.
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
        answer_of: Callable[[errors.AuditError, str], Response] = problem,
    ) -> None:
        self._handler = handler
        self._permission = permission
        self._services = services
        self._attempts = attempts
        self._answer_of = answer_of
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._services.monotonic()
        call = Call(scope, receive, self._services)
        try:
            if self._permission is not None:
                await self._admit(call, self._permission)
            answer = await self._handler(call)
        except errors.AuditError as error:
            answer = self._refusal(call, error)
        except Exception:
            answer = self._surprise(call)
        finally:
            if call.held_bytes:
                self._services.bodies.release(call)
        await answer(scope, receive, send)
        self._services.metrics.answered(self._name, answer, self._services.monotonic() - started)

    async def _admit(self, call: Call, permission: str) -> None:
        try:
            principal = await self._services.access.authenticate(credential_of(call), ip=call.address)
        except errors.Unauthorized:
            self._attempts.failed(call.address)
            raise
        call.principal = principal.under(permission)
        if permission in READING:
            await self._services.switches.require_reading(principal.organization_id)

    def _refusal(self, call: Call, error: errors.AuditError) -> Answer:
        request_id = self._services.new_request_id()
        if not isinstance(error, _OF_THE_CALLER):
            log.error(
                "refused", rule=error.rule, detail=str(error), path=call.scope["path"], request_id=request_id
            )
        # A 401 must be the same bytes for every reason, so it carries no request id.
        return self._answer_of(error, "" if isinstance(error, errors.Unauthorized) else request_id)

    def _surprise(self, call: Call) -> Answer:
        request_id = self._services.new_request_id()
        log.exception("unexpected", path=call.scope["path"], request_id=request_id)
        error = errors.UnknownOutcome(
            "Something unexpected happened here. If you were recording, whether it was recorded is unknown: send it "
            "again with the same id. The server's log has the details under this request id."
        )
        return self._answer_of(error, request_id)
