"""Recording: one event, or a batch."""

from __future__ import annotations

from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, NDJSON_TYPES, require_type
from tallystick.web.call import Answer, Call


async def record_event(call: Call) -> Answer:
    """Record one event; it is in the log, on disk and searchable when this answers."""
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    recorded = await call.services.ingest.record(call.caller, raw)
    call.services.read.appended(call.caller.organization_id)
    status = "duplicate" if recorded.duplicate else "quarantined" if recorded.quarantined else "created"
    call.services.metrics.events.labels(status).inc()
    return json_answer(
        {
            "id": recorded.id,
            "position": recorded.position,
            "received_at": recorded.received_at,
            "receipt": recorded.receipt,
            **({"quarantined": True} if recorded.quarantined else {}),
            **({"renumbered": True} if recorded.renumbered else {}),
        },
        200 if recorded.duplicate else 201,
    )


async def record_batch(call: Call) -> Answer:
    """Record up to 1,000 events; each gets a result of its own, and the good ones are stored."""
    kind = require_type(call, JSON_TYPES + NDJSON_TYPES)
    body = await call.services.bodies.read(call)
    recorded = await call.services.ingest.record_batch(call.caller, body, ndjson=kind in NDJSON_TYPES)
    call.services.read.appended(call.caller.organization_id)
    counts: dict[str, int] = {}
    for result in recorded.results:
        counts[result.status] = counts.get(result.status, 0) + 1
    for status, count in counts.items():
        call.services.metrics.events.labels(status).inc(count)
    return json_answer({"results": recorded.results, "receipt": recorded.receipt})
