"""The feed over HTTP: dense pages, and live events that resume where they broke off."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator

import httpx2
import pytest

from people import sign_in
from server import Server, Servers, event, events
from web.shapes import problem

LIVE = {"Accept": "text/event-stream"}


@pytest.fixture
def reader(server: Server) -> httpx2.Client:
    """A client with the admin key, and at least 40 events in the log."""
    client = server.client()
    assert client.post("/v1/events:batch", json=events(40)).status_code == 200
    return client


def test_pages_are_dense(server: Server, reader: httpx2.Client) -> None:
    """A consumer would skip or repeat an event between two pages, and could not prove that it did not."""
    size, seen = server.size(), []
    after = -1
    for limit in itertools.cycle((1, 7, 100, 1000)):
        page = reader.get("/v1/feed", params={"after": after, "limit": limit}).json()
        assert len(page["events"]) <= limit
        seen += [one["position"] for one in page["events"]]
        if not page["events"]:
            break
        after = page["next"]
        assert after == seen[-1]
    assert seen[:size] == list(range(size))
    assert seen == list(range(len(seen)))
    assert page["next"] == after
    assert page["checkpoint"].startswith(server.verifier.name)


def test_beyond_the_end_is_empty_and_stays_there(server: Server, reader: httpx2.Client) -> None:
    """A consumer ahead of the log would be set back, or refused."""
    page = reader.get("/v1/feed", params={"after": 10**12}).json()
    assert page["events"] == []
    assert page["next"] == 10**12


def test_fresh_server_has_an_empty_feed_and_an_empty_search(servers: Servers, database) -> None:
    """The first thing a newcomer asks a fresh server would be answered with an error."""
    fresh = servers.start(database=database.logins.owner)
    with fresh.client() as client:
        page = client.get("/v1/feed")
        assert page.status_code == 200, page.text
        assert {one["stream"] for one in page.json()["events"]} <= {"tallystick"}
        found = client.get("/v1/events", params={"q": "-stream:tallystick"})
        assert found.status_code == 200, found.text
        assert found.json()["events"] == []
        assert client.get("/v1/events:count", params={"q": "-stream:tallystick"}).json()["count"] == 0
        assert client.get("/v1/events:histogram").status_code == 200
        assert client.get("/v1/events:facets").status_code == 200


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("after=x", "/after"), ("after=-2", "/after"), ("after=1e3", "/after"), ("limit=0", "/limit"), ("limit=1001", "/limit"),
        ("limit=-1", "/limit"), ("after=99999999999999999999", "/after"), ("action=login", "/action"), ("colour=red", "/colour"),
    ],
)  # fmt: skip
def test_parameters_are_checked(reader: httpx2.Client, query: str, path: str) -> None:
    """A slip in a parameter would start the feed somewhere else without a word."""
    problem(reader.get(f"/v1/feed?{query}"), 400, path=path)


def live(
    client: httpx2.Client, *, resume: int | None = None, **query: str
) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (position, event) of a live stream."""
    headers = LIVE if resume is None else {**LIVE, "Last-Event-ID": str(resume)}
    with client.stream("GET", "/v1/feed", headers=headers, params=query) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        position = -1
        for line in answer.iter_lines():
            if line.startswith("id: "):
                position = int(line[4:])
            elif line.startswith("data: "):
                yield position, json.loads(line[6:])


def test_live_events_come_at_once_and_resume(server: Server, reader: httpx2.Client) -> None:
    """A live reader would miss what was recorded while it was away, see it twice, or wait for it."""
    start = server.size() - 1
    sent = events(3)
    stream = live(reader, resume=start)
    with server.client(server.write_key) as writer:
        for at, one in enumerate(sent):
            recorded = writer.post("/v1/events", json=one).json()
            began = time.monotonic()
            position, found = next(stream)
            assert time.monotonic() - began < 10  # at once, on a machine that does other things too
            assert (position, found["id"]) == (recorded["position"], one["id"])
            assert found["position"] == position
            assert position > start + at
        stream.close()
        missed = writer.post("/v1/events", json=event()).json()
    resumed = live(reader, resume=missed["position"] - 1)
    assert next(resumed)[0] == missed["position"]
    resumed.close()


def test_live_events_can_be_filtered(server: Server, reader: httpx2.Client) -> None:
    """A filtered live stream would show other events, or say a position it has not read to."""
    start = server.size() - 1
    stream = live(reader, resume=start, action="^odd.")
    with server.client(server.write_key) as writer:
        for action in ("even.one", "odd.one", "even.two", "odd.two"):
            assert writer.post("/v1/events", json=event(action=action)).status_code == 201
    found = [next(stream) for _ in range(2)]
    assert [one["action"] for _, one in found] == ["odd.one", "odd.two"]
    assert all(position == one["position"] for position, one in found)
    stream.close()


def test_live_stream_has_a_heartbeat(server: Server, reader: httpx2.Client) -> None:
    """A quiet stream would be cut by a proxy, or its reader not notice that the server is gone."""
    with reader.stream(
        "GET", "/v1/feed", headers={**LIVE, "Last-Event-ID": str(server.size() - 1)}
    ) as answer:
        began = time.monotonic()
        for line in answer.iter_lines():
            if line.startswith(": "):
                break
        assert 5 < time.monotonic() - began < 60


def test_live_stream_ends_with_its_key(server: Server) -> None:
    """A revoked key would go on reading for as long as its connection lasts."""
    key = server.key("read")
    with server.client(key) as client, server.client() as admin:
        (listed,) = [one for one in admin.get("/v1/keys").json()["keys"] if key.startswith(one["prefix"])]
        with client.stream("GET", "/v1/feed", headers={**LIVE, "Last-Event-ID": str(10**9)}) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("retry")
            admin.delete(f"/v1/keys/{listed['id']}")
            began = time.monotonic()
            rest = list(lines)
        assert time.monotonic() - began < 30
        assert "event: problem" in rest


@pytest.mark.parametrize("path", ["/v1/feed", "/events/live"])
def test_live_stream_ends_with_the_switch_of_reading(servers: Servers, path: str) -> None:
    """Where reading was switched off a stream that was open before would go on showing the log."""
    server = servers.start()
    person = sign_in(server)
    with server.client() as admin:
        admin.post("/v1/events", json=event())
        reader = person if path == "/events/live" else server.client(server.key("read"))
        with reader.stream("GET", path, headers=LIVE, params={"after": -1}) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("data: "))
            assert admin.patch("/v1/organization", json={"can_use_audit_logs": False}).status_code == 200
            # A heartbeat says that it goes on: fifteen quiet seconds, where the switch holds after one.
            ending = next(line for line in lines if line.startswith(("event: problem", ": still")))
            assert ending == "event: problem"
            assert json.loads(next(lines)[6:])["rule"] == "audit_logs_off"


def test_bound_key_follows_its_workspace_only(server: Server) -> None:
    """A key of one workspace would see another's events live, or read its own again and again."""
    key = server.key("read", workspace="wsp_live")
    with server.client(key) as bound, server.client(server.write_key) as writer:
        stream = live(bound, resume=server.size() - 1)
        for workspace in ("wsp_other", "wsp_live", "wsp_other", "wsp_live"):
            writer.post("/v1/events", json=event(workspace=workspace))
        assert [next(stream)[1]["workspace"] for _ in range(2)] == ["wsp_live"] * 2
        stream.close()
        before = server.rss_bytes()
        page = bound.get("/v1/feed", params={"limit": 1000}).json()
        assert {one["workspace"] for one in page["events"]} == {"wsp_live"}
        assert page["next"] >= page["events"][-1]["position"]
        assert server.rss_bytes() < before + (64 << 20)
