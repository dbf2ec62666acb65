"""Recording what came in another product's form and was translated into events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tallystick.errors import TryLater
from tallystick.event.limits import BATCH_BYTES_MAX, BATCH_EVENTS_MAX
from tallystick.services.ingest import EventResult
from tallystick.web.call import Call


async def record_all(call: Call, events: Sequence[bytes]) -> list[EventResult]:
    """Record events, each as JSON with an id, in as many batches as they need; return what became of each.

    Raises TryLater when one of them may be stored later: then all are to be sent again, which makes no second event.
    """
    results: list[EventResult] = []
    for batch in _batches(events):
        body = b"[" + b",".join(batch) + b"]"
        recorded = await call.services.ingest.record_batch(call.caller, body, ndjson=False)
        results += recorded.results
        call.services.read.appended(call.caller.organization_id)
    for result in results:
        call.services.metrics.events.labels(result.status).inc()
        if result.error is not None and result.error.retry:
            raise TryLater(result.error.message)
    return results


def _batches(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 2
    for event in events:
        if batch and (len(batch) == BATCH_EVENTS_MAX or size + len(event) + 1 > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 2
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch
