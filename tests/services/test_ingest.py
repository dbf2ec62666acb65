"""Taking events in: each is judged alone, bound to its key's workspace, and answered with where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.appending import LOG, REDACTION, Faults, LogUnderTest, faulty, raw_event
from tallystick.catalogue.registered import Check, Violation
from tallystick.errors import Conflict, Forbidden, Refused, TooLarge, TryLater
from tallystick.event.model import Actor, Event
from tallystick.event.render import render
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.services.ingest import Ingest
from tallystick.services.permissions import READ, WRITE
from tallystick.services.principal import Principal
from tallystick.store.connect import EVERY, transaction

WRITER = Principal(organization_id=LOG, kind="key", id="key_1", name="k", permissions=frozenset({WRITE}))
BOUND = Principal(
    organization_id=LOG,
    kind="key",
    id="key_2",
    name="k",
    permissions=frozenset({WRITE}),
    workspaces=frozenset({"w-bound"}),
)
READER = Principal(organization_id=LOG, kind="key", id="key_3", name="k", permissions=frozenset({READ}))


def ingest(log: LogUnderTest, checks: Mapping[str, Check] | None = None) -> Ingest:
    async def check_of(organization_id: UUID, action: str) -> Check | None:
        assert organization_id == LOG
        return (checks or {}).get(action)

    return Ingest(
        log.appender,
        log.log,
        redaction_of=lambda _: REDACTION,
        new_id=uuid4,
        check_of=check_of if checks else None,
    )


async def rendered(log: LogUnderTest, position: int) -> dict[str, Any]:
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        row = await connection.fetchrow("SELECT leaf, opening FROM audit_logs WHERE position = $1", position)
    assert row is not None
    return render(row["leaf"], row["opening"], position)


async def test_one_event(log: LogUnderTest) -> None:
    """The answer must say where the event is, and its receipt must verify without us."""
    one = raw_event()
    recorded = await ingest(log).record(WRITER, one)
    assert (recorded.id, recorded.position, recorded.duplicate) == (UUID(json.loads(one)["id"]), 0, False)
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        leaf_hash = await connection.fetchval("SELECT leaf_hash FROM audit_logs")
    parse_tlog_proof(recorded.receipt).verify(leaf_hash, [log.verifier], origin=log.signer.origin(LOG))
    stored = await rendered(log, 0)
    assert stored["source"] == "key:key_1"
    assert stored["actor"]["name"] == json.loads(one)["actor"]["name"]
    await log.check(1)


async def test_repeat_gets_the_first_answer(log: LogUnderTest) -> None:
    """A retry must get the same position, and a receipt too, even after the log went on."""
    one = raw_event()
    service = ingest(log)
    first = await service.record(WRITER, one)
    await service.record(WRITER, raw_event())
    again = await service.record(WRITER, one)
    assert (again.position, again.received_at, again.duplicate) == (first.position, first.received_at, True)
    assert parse_tlog_proof(again.receipt).index == first.position
    with pytest.raises(Conflict):
        await service.record(WRITER, raw_event(id=str(first.id)))
    await log.check(2)


async def test_without_permission_nothing_is_recorded(log: LogUnderTest) -> None:
    """A key that may only read must not be able to write."""
    with pytest.raises(Forbidden):
        await ingest(log).record(READER, raw_event())
    with pytest.raises(Forbidden):
        await ingest(log).record_batch(READER, b"[]", ndjson=False)
    await log.check(0)


async def test_bound_key_stays_in_its_workspace(log: LogUnderTest) -> None:
    """A key of one workspace must fill it in, and must not write into another one."""
    service = ingest(log)
    await service.record(BOUND, raw_event(workspace=None))
    await service.record(BOUND, raw_event(workspace="w-bound"))
    with pytest.raises(Forbidden) as caught:
        await service.record(BOUND, raw_event(workspace="w-other"))
    assert caught.value.path == "/workspace"
    body = b"\n".join([raw_event(workspace="w-other"), raw_event(workspace=None)])
    batch = await service.record_batch(BOUND, body, ndjson=True)
    assert [result.status for result in batch.results] == ["rejected", "created"]
    assert {(await rendered(log, position))["workspace"] for position in range(3)} == {"w-bound"}
    await log.check(3)


@pytest.mark.parametrize("ndjson", [False, True])
async def test_batch_is_judged_event_by_event(log: LogUnderTest, ndjson: bool) -> None:
    """One bad event must be named with path and rule, and must not keep the good ones out."""
    good, same = [raw_event() for _ in range(3)], raw_event()
    service = ingest(log)
    await service.record(WRITER, same)
    pieces = [good[0], raw_event(colour="red"), good[1], same, raw_event(id=json.loads(same)["id"]), good[2]]
    body = b"\n".join(pieces) if ndjson else b"[" + b",".join(pieces) + b"]"
    batch = await service.record_batch(WRITER, body, ndjson=ndjson)
    assert [result.status for result in batch.results] == [
        *("created", "rejected", "created", "duplicate", "rejected", "created")
    ]
    assert [result.position for result in batch.results] == [1, None, 2, 0, None, 3]
    unknown, conflict = batch.results[1].error, batch.results[4].error
    assert unknown is not None
    assert (unknown.rule, unknown.path) == ("unknown_field", "/colour")
    assert conflict is not None
    assert conflict.rule == "conflict"
    assert batch.receipt is not None
    assert parse_tlog_proof(batch.receipt).index == 3
    await log.check(4)


async def test_batches_without_a_good_event(log: LogUnderTest) -> None:
    """A batch of nothing, or of nothing good, must be answered and must store nothing."""
    service = ingest(log)
    assert (await service.record_batch(WRITER, b"[]", ndjson=False)).results == []
    only_bad = await service.record_batch(WRITER, b"[{}]", ndjson=False)
    assert [result.status for result in only_bad.results] == ["rejected"]
    assert only_bad.receipt is None
    with pytest.raises(Refused):
        await service.record_batch(WRITER, b"{", ndjson=False)
    with pytest.raises(TooLarge):
        await service.record_batch(WRITER, b"{}\n" * 1001, ndjson=True)
    await log.check(0)


async def test_whole_batch_again(log: LogUnderTest) -> None:
    """A batch sent again must be all duplicates with the same positions, and still get a receipt."""
    body = b"\n".join(raw_event() for _ in range(300))
    service = ingest(log)
    first = await service.record_batch(WRITER, body, ndjson=True)
    again = await service.record_batch(WRITER, body, ndjson=True)
    assert [result.position for result in again.results] == [result.position for result in first.results]
    assert {result.status for result in again.results} == {"duplicate"}
    assert again.receipt is not None
    assert parse_tlog_proof(again.receipt).index == 299
    await log.check(300)


async def test_database_away_fails_the_whole_batch(log: LogUnderTest) -> None:
    """When nothing of a batch was stored the caller must be told to send all of it again."""
    await log.append([])
    log.appender = log.new_appender(pool=faulty(log.pool, Faults("begin_append", times=1)))
    body = b"\n".join(raw_event() for _ in range(5))
    with pytest.raises(TryLater):
        await ingest(log).record_batch(WRITER, body, ndjson=True)
    await log.check(0)
    await ingest(log).record_batch(WRITER, body, ndjson=True)
    await log.check(5)


def no_red(event: Mapping[str, Any]) -> list[Violation]:
    return (
        [Violation("/metadata/colour", "not", "may not be red", "")]
        if event["metadata"]["colour"] == "red"
        else []
    )


async def test_quarantine(log: LogUnderTest) -> None:
    """An event that breaks its registered schema must be in the log, flagged, and in quarantine; never lost."""
    checks = {"paint": no_red}
    service = ingest(log, checks)
    red, blue = (raw_event(action="paint", metadata={"colour": colour}) for colour in ("red", "blue"))
    other = raw_event(metadata={"colour": "red"})
    batch = await service.record_batch(WRITER, b"\n".join([red, blue, other]), ndjson=True)
    assert [result.status for result in batch.results] == ["quarantined", "created", "created"]
    single = await service.record(WRITER, raw_event(action="paint", metadata={"colour": "red"}))
    assert single.quarantined
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch("SELECT position, violations FROM quarantine ORDER BY position")
    assert [row["position"] for row in rows] == [0, 3]
    assert json.loads(rows[0]["violations"])[0]["path"] == "/metadata/colour"
    assert {"path": "", "kind": "schema"} in (await rendered(log, 0))["flags"]
    assert "flags" not in await rendered(log, 1) or not (await rendered(log, 1))["flags"]
    await log.check(4)
    # The schema is withdrawn between two attempts, or comes between them: still a retry, not a conflict.
    assert (await ingest(log).record(WRITER, red)).duplicate
    assert (
        await ingest(log, {"paint": lambda event: no_red({"metadata": {"colour": "red"}})}).record(
            WRITER, blue
        )
    ).duplicate
    await log.check(4)


async def test_own_events(log: LogUnderTest) -> None:
    """What the product records about itself goes the same way, and says where it came from."""
    service = ingest(log)
    made = Event(action="organization.created", actor=Actor(type="system"))
    recorded = await service.record_own(LOG, made)
    assert (await rendered(log, recorded.position))["source"] == "tallystick"
    await log.check(1)
