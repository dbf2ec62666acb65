"""An organization's own actions: registered with a trace, held against every event, and a quarantine that empties."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from services.appending import LOG, OTHER_LOG, REDACTION, LogUnderTest, raw_event
from tallystick.errors import Conflict, Forbidden, NotFound, Refused, TooLarge, TryLater
from tallystick.services import registered as registered_service
from tallystick.services.ingest import Ingest
from tallystick.services.permissions import MANAGE, READ, WRITE
from tallystick.services.principal import Principal
from tallystick.services.quarantine import Quarantine, Reprocessing
from tallystick.services.registered import REMEMBER_SECONDS, Registered
from tallystick.store.connect import EVERY, transaction

ADMIN = Principal(organization_id=LOG, kind="key", id="key_1", name="admin", permissions=frozenset({MANAGE}))
WRITER = Principal(
    organization_id=LOG, kind="key", id="key_2", name="w", permissions=frozenset({WRITE, READ})
)
BOUND = Principal(
    organization_id=LOG,
    kind="key",
    id="key_3",
    name="b",
    permissions=frozenset({MANAGE}),
    workspaces=frozenset({"w-1"}),
)
STRANGER = Principal(
    organization_id=OTHER_LOG, kind="key", id="key_4", name="s", permissions=frozenset({MANAGE})
)
SCHEMA = {
    "type": "object",
    "required": ["after"],
    "properties": {"after": {"type": "object", "required": ["amount"]}},
}
LOOSER = {"type": "object", "required": ["after"]}


@dataclass
class Seconds:
    """A monotonic clock that is moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Office:
    """One server's services for own actions, on a log under test."""

    def __init__(self, log: LogUnderTest) -> None:
        self.seconds = Seconds()
        self.registered = Registered(log.pool, monotonic=self.seconds)
        self.quarantine = Quarantine(log.pool, self.registered, cursor_key=b"k" * 32)
        self.ingest = Ingest(
            log.appender, log.log, redaction_of=lambda _: REDACTION, new_id=uuid4,
            check_of=self.registered.check_of,
        )  # fmt: skip

    async def register(self, principal: Principal = ADMIN, **fields: Any) -> Any:
        """Register `invoice.approve` with these fields in place of the usual ones."""
        return await self.registered.register(principal, self.ingest, declaration(**fields))

    async def open_positions(self, principal: Principal = ADMIN) -> list[int]:
        """Return the positions of what is in quarantine."""
        found, following = await self.quarantine.list_events(
            principal, state="open", action=None, limit=1000, cursor=None
        )
        assert following is None
        return [one["position"] for one in found]

    async def reprocess(self, principal: Principal = ADMIN, **asked: Any) -> Any:
        """Hold what is in quarantine against its schemas again."""
        return await self.quarantine.reprocess(principal, self.ingest, Reprocessing(**asked))


@pytest.fixture
def office(log: LogUnderTest) -> Office:
    """The services of one server."""
    return Office(log)


def declaration(**fields: Any) -> bytes:
    """Return a declaration as JSON."""
    usual = {
        "name": "invoice.approve", "version": 1, "title": "Invoice approved", "verb": "update",
        "target_type": "invoice", "schema": SCHEMA,
    }  # fmt: skip
    return json.dumps({**usual, **fields}).encode()


def bad_invoice(**fields: Any) -> bytes:
    """Return an event that breaks the usual schema."""
    return raw_event(action="invoice.approve", after={"sum": 3}, **fields)


async def test_registering_leaves_a_trace(office: Office, log: LogUnderTest) -> None:
    """Who decided what an event must look like is an act of its own, in the log it concerns."""
    kept = await office.register()
    assert kept.created
    (shown,) = await office.registered.list_newest(ADMIN)
    assert (shown["name"], shown["version"], "schema" in shown) == ("invoice.approve", 1, False)
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        row = await connection.fetchrow("SELECT action, target_id, opening FROM audit_logs")
    assert row is not None
    assert (row["action"], row["target_id"]) == ("catalogue.action_registered", "invoice.approve")
    assert b"schema_sha256" in row["opening"]
    await log.check(1)


async def test_a_version_never_changes(office: Office, log: LogUnderTest) -> None:
    """What an event was held against must be told for ever: the same again is fine, another one is refused."""
    await office.register()
    assert not (await office.register()).created
    with pytest.raises(Conflict):
        await office.register(schema=LOOSER)
    with pytest.raises(Conflict):
        await office.register(title="Another title")
    assert (await office.register(version=2, schema=LOOSER)).created
    versions = await office.registered.list_versions(ADMIN, "invoice.approve")
    assert [(one["version"], one["schema"]) for one in versions] == [(2, LOOSER), (1, SCHEMA)]
    await log.check(2)


async def test_two_servers_register_the_same_version(office: Office, log: LogUnderTest) -> None:
    """Only one of two declarations of a version can stand, and only that one leaves an event."""
    other = Office(log)
    found = await asyncio.gather(office.register(), other.register(schema=LOOSER), return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["Conflict", "Kept"]
    await log.check(1)


@pytest.mark.parametrize(
    ("raw", "rule", "path"),
    [
        (b"{", "shape", ""),
        (b"[]", "shape", ""),
        (declaration(more=1), "shape", ""),
        (declaration(version="1"), "shape", ""),
        (declaration(name=""), "declaration", "/name"),
        (declaration(version=0), "declaration", "/version"),
        (declaration(schema={"type": "nothing"}), "declaration", "/schema/type"),
        (declaration(schema={"$ref": "https://example.org/schema"}), "declaration", "/schema/$ref"),
        (declaration(schema={"const": "\x00"}), "shape", ""),
        (declaration(title="a\x00"), "shape", ""),
    ],
)
async def test_a_bad_declaration(office: Office, log: LogUnderTest, raw: bytes, rule: str, path: str) -> None:
    """A declaration that cannot be used is refused with the place, before any event could meet it."""
    with pytest.raises(Refused) as caught:
        await office.registered.register(ADMIN, office.ingest, raw)
    assert caught.value.rule == rule
    assert caught.value.path.startswith(path)
    await log.check(0)


async def test_who_may(office: Office, log: LogUnderTest) -> None:
    """Only who manages the whole organization decides about its events."""
    for principal in (WRITER, BOUND):
        with pytest.raises(Forbidden):
            await office.register(principal)
    with pytest.raises(Forbidden):
        await office.reprocess(WRITER)
    with pytest.raises(NotFound):
        await office.registered.list_versions(ADMIN, "invoice.approve")
    await log.check(0)


async def test_limits(office: Office, log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One organization cannot fill the memory of every server with its checks."""
    monkeypatch.setattr(registered_service, "ACTIONS_MAX", 2)
    monkeypatch.setattr(registered_service, "VERSIONS_MAX", 2)
    await office.register()
    await office.register(name="invoice.reject")
    with pytest.raises(TooLarge):
        await office.register(name="invoice.delete")
    await office.register(version=2, schema=LOOSER)
    with pytest.raises(TooLarge):
        await office.register(version=3)
    await log.check(3)


async def test_an_event_that_breaks_its_schema_is_kept(office: Office, log: LogUnderTest) -> None:
    """An event is never lost for its shape: it is in the log like any other, and in quarantine as well."""
    await office.register()
    single = await office.ingest.record(WRITER, bad_invoice())
    assert single.quarantined
    good = raw_event(action="invoice.approve", after={"amount": 3})
    batch = await office.ingest.record_batch(
        WRITER, b"[" + b",".join([good, bad_invoice(), raw_event()]) + b"]", ndjson=False
    )
    assert [one.status for one in batch.results] == ["created", "quarantined", "created"]
    found, _ = await office.quarantine.list_events(
        ADMIN, state="open", action="invoice.approve", limit=10, cursor=None
    )
    assert [one["position"] for one in found] == [1, 3]
    assert [one["path"] for one in found[0]["violations"]] == ["/after"]
    assert found[0]["event"]["after"] == {"sum": 3}
    assert {"kind": "schema", "path": ""} in found[0]["event"]["flags"]
    await log.check(5)


async def test_a_retry_is_not_quarantined_twice(office: Office, log: LogUnderTest) -> None:
    """A producer that sends again after a time-out gets the same position."""
    await office.register()
    one = bad_invoice()
    first = await office.ingest.record(WRITER, one)
    again = await office.ingest.record(WRITER, one)
    assert (again.position, again.duplicate) == (first.position, True)
    await office.register(version=2, schema=LOOSER)
    after_mending = await office.ingest.record(WRITER, one)
    assert (after_mending.position, after_mending.duplicate) == (first.position, True)
    assert await office.open_positions() == [first.position]
    await log.check(3)


async def test_mended_schema_releases(office: Office, log: LogUnderTest) -> None:
    """Once the schema is mended, what fits leaves the quarantine, and the log says when and by whom."""
    await office.register()
    for fields in ({}, {}, {"workspace": "w-1"}):
        await office.ingest.record(WRITER, bad_invoice(**fields))
    await office.ingest.record(WRITER, raw_event(action="invoice.approve", after=None))
    nothing = await office.reprocess()
    assert (nothing.released, len(nothing.failing), nothing.recorded_at) == ([], 4, None)
    await log.check(5)
    await office.register(version=2, schema=LOOSER)
    done = await office.reprocess(action="invoice.approve")
    assert (done.released, [one["position"] for one in done.failing]) == ([1, 2, 3], [4])
    assert (done.gone, done.next, done.recorded_at) == ([], None, 6)
    released, _ = await office.quarantine.list_events(
        ADMIN, state="released", action=None, limit=10, cursor=None
    )
    assert [(one["position"], one["released_by"]) for one in released] == [(1, 6), (2, 6), (3, 6)]
    assert await office.open_positions() == [4]
    assert (await office.reprocess(positions=(1, 2))).released == []
    await log.check(7)


async def test_two_reprocess_at_once(office: Office, log: LogUnderTest) -> None:
    """An event is released by one event of the log, never by two."""
    await office.register()
    for _ in range(5):
        await office.ingest.record(WRITER, bad_invoice())
    await office.register(version=2, schema=LOOSER)
    other = Office(log)
    found = await asyncio.gather(office.reprocess(), other.reprocess(), return_exceptions=True)
    kinds = sorted(type(one).__name__ for one in found)
    assert kinds in (["Reprocessed", "TryLater"], ["Reprocessed", "Reprocessed"]), found
    assert sum(len(one.released) for one in found if not isinstance(one, BaseException)) == 5
    assert all(isinstance(one, TryLater) for one in found if isinstance(one, BaseException))
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT count(DISTINCT released_by) FROM quarantine") == 1
    await log.check(8)


async def test_work_is_bounded_and_goes_on(
    office: Office, log: LogUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large quarantine is worked through in pieces, each of which says where to go on."""
    monkeypatch.setattr("tallystick.services.quarantine.LIMIT_MAX", 10)
    monkeypatch.setattr("tallystick.services.quarantine.CHUNK_ROWS", 4)
    await office.register()
    body = b"[" + b",".join(bad_invoice() for _ in range(23)) + b"]"
    await office.ingest.record_batch(WRITER, body, ndjson=False)
    await office.register(version=2, schema=LOOSER)
    released: list[int] = []
    after: int | None = -1
    calls = 0
    while after is not None:
        done = await office.reprocess(after=after)
        released += done.released
        after = done.next
        calls += 1
    assert (released, calls) == (list(range(1, 24)), 3)
    assert await office.open_positions() == []
    await log.check()


async def test_pages_and_cursors(office: Office, log: LogUnderTest) -> None:
    """A page neither skips nor repeats, and a cursor is good for this question and organization alone."""
    await office.register()
    for _ in range(7):
        await office.ingest.record(WRITER, bad_invoice())
    seen: list[int] = []
    cursor: str | None = None
    while True:
        found, cursor = await office.quarantine.list_events(
            ADMIN, state="all", action=None, limit=3, cursor=cursor
        )
        seen += [one["position"] for one in found]
        if cursor is None:
            break
        kept = cursor
    assert seen == list(range(1, 8))
    for principal, state in ((STRANGER, "all"), (ADMIN, "open"), (BOUND, "all")):
        with pytest.raises(Refused):
            await office.quarantine.list_events(
                principal,
                state=state,
                action=None,
                limit=3,
                cursor=kept,  # type: ignore[arg-type]
            )


async def test_a_workspace_sees_its_own(office: Office, log: LogUnderTest) -> None:
    """A key bound to a workspace lists and releases the events of that workspace and no others."""
    await office.register()
    await office.ingest.record(WRITER, bad_invoice(workspace="w-1"))
    await office.ingest.record(WRITER, bad_invoice(workspace="w-2"))
    assert await office.open_positions(BOUND) == [1]
    await office.register(version=2, schema=LOOSER)
    assert (await office.reprocess(BOUND)).released == [1]
    assert await office.open_positions() == [2]


async def test_other_servers_learn_within_a_second(office: Office, log: LogUnderTest) -> None:
    """A schema holds on the server that took it at once, and on every other within a second."""
    other = Office(log)
    assert not (await other.ingest.record(WRITER, bad_invoice())).quarantined
    await office.register()
    assert (await office.ingest.record(WRITER, bad_invoice())).quarantined
    assert not (await other.ingest.record(WRITER, bad_invoice())).quarantined, "still remembers"
    other.seconds.now += REMEMBER_SECONDS
    assert (await other.ingest.record(WRITER, bad_invoice())).quarantined
    await office.register(version=2, schema=LOOSER)
    assert not (await office.ingest.record(WRITER, bad_invoice())).quarantined


async def test_other_organizations_are_not_held_to_it(office: Office, log: LogUnderTest) -> None:
    """A name is an organization's own: the same name of another one has no schema."""
    await office.register()
    assert await office.registered.check_of(OTHER_LOG, "invoice.approve") is None
    assert await office.registered.list_newest(STRANGER) == []


async def test_a_schema_nobody_judged(office: Office, log: LogUnderTest) -> None:
    """A declaration written past us must not cost an event, nor run."""
    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute(
            "INSERT INTO registered_actions (organization_id, name, version, declaration) VALUES ($1, $2, 1, $3)",
            LOG, "invoice.approve", declaration(schema={"$dynamicRef": "#x"}),
        )  # fmt: skip
    assert (await office.ingest.record(WRITER, bad_invoice())).quarantined
    found, _ = await office.quarantine.list_events(ADMIN, state="open", action=None, limit=1, cursor=None)
    assert "register a new version" in found[0]["violations"][0]["message"]


async def test_defaults_may_be_left_out(office: Office, log: LogUnderTest) -> None:
    """What the server filled in is not the producer's: a strict schema must accept the event again."""
    strict = {
        "type": "object",
        "additionalProperties": False,
        "required": ["action", "actor"],
        "properties": {"action": {}, "actor": {}, "targets": {"minItems": 1}},
    }
    await office.register(schema={**strict, "required": ["action", "actor", "after"]})
    sent = json.dumps({"action": "invoice.approve", "actor": {"type": "system"}}).encode()
    assert (await office.ingest.record(WRITER, sent)).quarantined
    await office.register(version=2, schema=strict)
    assert (await office.reprocess()).released == [1]
