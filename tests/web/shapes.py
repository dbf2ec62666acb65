"""What every answer of the API must look like, whatever the call was."""

from __future__ import annotations

from typing import Any

import httpx2

PROBLEM_KEYS = {"type", "title", "status", "detail", "rule", "path", "request_id"}


def problem(
    answer: httpx2.Response, status: int, rule: str | None = None, path: str | None = None
) -> dict[str, Any]:
    """Check that `answer` is a problem (RFC 9457) of this status, rule and path, and return it."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json", answer.headers
    found = answer.json()
    assert found.keys() <= PROBLEM_KEYS, found
    assert PROBLEM_KEYS - {"path", "request_id"} <= found.keys(), found
    assert found["status"] == status
    assert found["type"] == f"urn:tallystick:problem:{found['rule']}"
    assert found["detail"].rstrip().endswith((".", "'")) or found["detail"], "a sentence for the user"
    assert "Traceback" not in answer.text
    if rule is not None:
        assert found["rule"] == rule, found
    if path is not None:
        assert found.get("path") == path, found
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return found
