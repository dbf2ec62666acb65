"""The log as OCSF, a line an event: whole, valid in both versions, tied to its leaves, and broken off at a hole."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, get_args

import psycopg
import pytest

from contracts.conftest import Seeded
from contracts.seed import ACTIONS
from ocsf.validity import errors
from postgres import Database, Pools
from services.appending import LOG, Faults, LogUnderTest, events, faulty
from services.conftest import clock as clock
from services.conftest import log as log
from tallystick.errors import Forbidden, Tampered, TryLater
from tallystick.ocsf import Version, View, agrees, leaf_hash_of
from tallystick.query.model import Query
from tallystick.services.export_lines import LineExport
from tallystick.services.permissions import EXPORT, READ
from tallystick.services.principal import Principal

PATH = "/v1/export"


def pull(seeded: Seeded, **params: Any) -> list[dict[str, Any]]:
    """Pull an export and read its lines."""
    with seeded.client.stream("GET", PATH, params={"format": "ocsf", **params}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "application/jsonl"
        return [json.loads(line) for line in answer.iter_lines()]


def leaf_hashes(seeded: Seeded) -> list[bytes]:
    """Return the log's leaf hashes from its tile, which its checkpoint proves."""
    size, hashes = len(seeded.events), b""
    for index in range(-(-size // 256)):
        width = min(256, size - index * 256)
        hashes += seeded.get(f"/v1/log/tile/0/{index:03}" + (f".p/{width}" if width < 256 else "")).content
    return [hashes[at : at + 32] for at in range(0, len(hashes), 32)]


@pytest.mark.parametrize("version", get_args(Version))
@pytest.mark.parametrize("view", get_args(View))
def test_every_event_is_valid_and_tied(seeded: Seeded, version: str, view: str) -> None:
    """A line that a SIEM refuses, or that no longer proves its event, is a line too many."""
    hashes, recorded = leaf_hashes(seeded), seeded.events
    lines = pull(seeded, version=version, view=view)
    assert [line["metadata"]["sequence"] for line in lines] == list(range(len(recorded)))
    for line in lines:
        assert errors(line) == []
        assert line["metadata"]["version"] == version
        assert view != "api_activity" or line["class_uid"] == 6003
        position, leaf_hash = leaf_hash_of(line)
        event = recorded[position]
        assert hashes[position] == leaf_hash
        assert agrees(line, event, leaf_hash)


@pytest.mark.parametrize("params", [{}, {"action": "^create"}, {"workspace": "ws_2", "outcome": "failure"},
                                    {"from": "2026-01-05T12:03:00Z", "to": "2026-01-05T12:05:00Z"}])  # fmt: skip
def test_filters(seeded: Seeded, params: dict[str, str]) -> None:
    """An export holds what the search finds, in the order of positions."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = seeded.get("/v1/events", {**params, "limit": 1000, **cursor}).json()
        found += page["events"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    size = len(seeded.events)
    exported = [one for line in pull(seeded, **params) if (one := line["metadata"]["sequence"]) < size]
    assert exported == sorted(one["position"] for one in found)
    assert all(one < other for one, other in pairwise(exported))
    assert len(exported) > 0


@pytest.mark.parametrize(
    "params",
    [
        {"format": "ocsf", "version": "1.0.0"},
        {"format": "ocsf", "view": "all"},
        {"format": "csf"},
        {"format": "jsonl", "version": "1.7.0"},
        {"format": "ocsf", "actions": ACTIONS[0]},
    ],
)
def test_bad_parameters(seeded: Seeded, params: dict[str, str]) -> None:
    """A parameter that cannot be used is refused before a byte is sent."""
    answer = seeded.get(PATH, params)
    assert answer.status_code == 400, answer.text


def test_an_empty_log(seeded: Seeded) -> None:
    """A collector that starts before the first event gets nothing, not an error."""
    answer = seeded.server.client(seeded.other_key).get(PATH, params={"format": "ocsf"})
    assert answer.status_code == 200
    lines = [json.loads(line) for line in answer.iter_lines()]
    # Nobody recorded anything, but the use of this admin's key is on record.
    assert {line["metadata"]["product"]["name"] for line in lines} <= {"Tallystick"}
    assert len(lines) < 20


async def test_a_hole_breaks_it_off(log: LogUnderTest, pools: Pools, database: Database) -> None:
    """Rows that are gone must not look like the end, nor be stepped over."""
    await log.append(events(30))
    with psycopg.connect(database.superuser.url, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("DELETE FROM audit_logs WHERE position = 17")
    export = LineExport(pools.reader, log.signer, product_version="0")
    principal = Principal(organization_id=LOG, kind="key", id="k", name="k", permissions=frozenset({EXPORT}))
    with pytest.raises(Tampered, match="17"):
        async for _ in await export.ocsf(principal, Query(), version="1.1.0", view="default"):
            pass
    reader = Principal(organization_id=LOG, kind="key", id="k", name="k", permissions=frozenset({READ}))
    with pytest.raises(Forbidden):
        await export.ocsf(reader, Query(), version="1.1.0", view="default")


def test_as_langfuse_rows(seeded: Seeded) -> None:
    """Whoever loads Langfuse's rows today loads these, whatever recorded the events."""
    hashes, recorded = leaf_hashes(seeded), seeded.events
    with seeded.client.stream("GET", PATH, params={"format": "langfuse-jsonl"}) as answer:
        rows = [json.loads(line) for line in answer.iter_lines()]
    assert len(rows) == len(recorded)
    for row, event in zip(rows, recorded, strict=True):
        assert (row["id"], row["createdAt"], row["projectId"]) == (
            event["id"], event["occurred_at"], event.get("workspace"),
        )  # fmt: skip
        assert row["type"] in ("USER", "API_KEY")
        assert row["log"]["leafHash"] == hashes[event["position"]].hex()
        assert row["resourceId"] == (event["targets"][0]["id"] if event["targets"] else None)
        assert (None if row["after"] is None else json.loads(row["after"])) == event.get("after")
        if event["action"] in ("datasetRunItem.create", "prompt.update"):  # names of Langfuse's own
            assert f"{row['resourceType']}.{row['action']}" == event["action"]
        else:
            assert row["action"] == event["action"]


@pytest.mark.parametrize(("times", "survives"), [(1, True), (4, True), (5, False)])
async def test_a_database_away_for_a_moment(log: LogUnderTest, times: int, survives: bool) -> None:
    """A restart of the database must not end a pull of an hour; one that stays away must not look like the end."""
    await log.append(events(30))
    faults = Faults(at="BEGIN")
    export = LineExport(faulty(log.pool, faults), log.signer, product_version="0", pause_seconds_max=0)
    principal = Principal(organization_id=LOG, kind="key", id="k", name="k", permissions=frozenset({EXPORT}))
    stream = await export.ocsf(principal, Query(), version="1.1.0", view="default")
    faults.times = times
    if survives:
        lines = b"".join([piece async for piece in stream]).splitlines()
        assert [json.loads(line)["metadata"]["sequence"] for line in lines] == list(range(30))
    else:
        with pytest.raises(TryLater):
            async for _ in stream:
                pass
