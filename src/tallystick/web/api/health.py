"""Is it alive, is it ready, what are its numbers."""

from __future__ import annotations

from starlette.responses import Response

from tallystick import __version__
from tallystick.web.api.answers import NO_STORE, json_answer
from tallystick.web.call import Answer, Call


async def healthz(call: Call) -> Answer:
    """Answer while the process runs; says nothing about the database."""
    return json_answer({"status": "ok", "version": __version__})


async def readyz(call: Call) -> Answer:
    """Answer 200 when events can be recorded and read, 503 with the reasons otherwise."""
    checks = await call.services.readiness()
    ready = all(check.ok for check in checks)
    return json_answer(
        {"status": "ready" if ready else "not ready", "checks": checks},
        200 if ready else 503,
        NO_STORE if ready else {**NO_STORE, "Retry-After": "2"},
    )


async def metrics(call: Call) -> Answer:
    """Return all numbers in Prometheus' text format."""
    return Response(call.services.metrics.text(), 200, NO_STORE, media_type="text/plain; version=0.0.4")
