"""Finding events: search, count, histogram, facets, one event."""

from __future__ import annotations

from uuid import UUID

from tallystick.errors import NotFound, Refused, Tampered
from tallystick.query import parse
from tallystick.web.api.answers import json_answer, newest_checkpoint
from tallystick.web.call import Answer, Call


async def search_events(call: Call) -> Answer:
    """Return a page of events that match, with the cursor of the next and the checkpoint it can be proved by."""
    page = await call.services.read.search(call.caller, parse(call.query(), now=call.services.now()))
    checkpoint = await newest_checkpoint(call)
    body = {"events": page.events, "next_cursor": page.next_cursor, "checkpoint": checkpoint}
    if page.searched_back_to is not None:
        body["searched_back_to"] = page.searched_back_to
    return json_answer(body)


async def count_events(call: Call) -> Answer:
    """Count the events that match: exactly up to 10,000, beyond that only with `exact=true`."""
    pairs = call.query()
    exact = _flag([value for key, value in pairs if key == "exact"])
    query = parse([pair for pair in pairs if pair[0] != "exact"], now=call.services.now())
    return json_answer(await call.services.read.count(call.caller, query, exact=exact))


async def histogram_of_events(call: Call) -> Answer:
    """Count the events that match over time, success apart from everything else."""
    query = parse(call.query(), now=call.services.now())
    return json_answer(await call.services.read.histogram(call.caller, query))


async def facets_of_events(call: Call) -> Answer:
    """Return the most frequent values of each facet among the events that match."""
    query = parse(call.query(), now=call.services.now())
    return json_answer(await call.services.read.facets(call.caller, query))


async def get_event(call: Call) -> Answer:
    """Return one event by its id; with `proof=true` also its inclusion proof to the newest checkpoint."""
    wants_proof = _flag([value for key, value in _only(call, "proof")])
    event_id = _event_id(call.path("id"))
    position, event = await call.services.read.event(call.caller, event_id)
    if wants_proof:
        event["proof"] = await call.services.log.receipt(call.caller.organization_id, position)
    return json_answer(event)


async def get_evidence(call: Call) -> Answer:
    """Return what proves one event to whoever checks it elsewhere: its line of an export, its receipt and the keys."""
    _only(call)
    found = await call.services.evidence.of(call.caller, _event_id(call.path("id")))
    if not found.receipt:
        raise Tampered(f"This event cannot be proven: {found.why}", rule="evidence")
    return json_answer({"line": found.line.decode(), "receipt": found.receipt, "keys": found.keys})


def _only(call: Call, *known: str) -> list[tuple[str, str]]:
    pairs = call.query()
    for key, _ in pairs:
        if key not in known:
            raise Refused(
                f"'{key[:80]}' is no parameter of this call.", path=f"/{key[:80]}", rule="parameter"
            )
    return pairs


def _flag(values: list[str]) -> bool:
    if not values:
        return False
    if len(values) > 1 or values[0] not in ("true", "false"):
        raise Refused("A yes-or-no parameter is true or false, once.", rule="parameter")
    return values[0] == "true"


def _event_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no event with this id in this organization.") from None
