"""Errors as SCIM writes them (RFC 7644, 3.12); needs nothing of the SCIM library."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from tallystick.errors import AuditError
from tallystick.web.guard import headers_of, status_of

MEDIA_TYPE = "application/scim+json"
KEYWORD = "scim:"  # a rule that begins so names the keyword of SCIM
_STATUS_OF_RULE = {"last_owner": 403, "version": 412}
_INVALID = frozenset({"value", "text", "role", "refused", "email"})


def write(error: AuditError, request_id: str) -> Response:
    """Write an error with SCIM's keyword for it, where it has one."""
    status, _ = status_of(error)
    status = _STATUS_OF_RULE.get(error.rule, status)
    kind = error.rule.removeprefix(KEYWORD) if error.rule.startswith(KEYWORD) else None
    if kind is None and status in (400, 409):
        kind = "uniqueness" if status == 409 else "invalidValue" if error.rule in _INVALID else None
    body: dict[str, Any] = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(status),
        "detail": str(error),
        **({"scimType": kind} if kind else {}),
    }
    return Response(json.dumps(body), status, headers_of(error, status), media_type=MEDIA_TYPE)
