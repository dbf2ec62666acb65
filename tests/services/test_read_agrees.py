"""Search on real PostgreSQL means what the reference says: for any events and any query, with every page and count."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.appending import NOON, LogUnderTest, event
from tallystick.catalogue.describe import verb_of
from tallystick.event.moment import instant_text, read_instant
from tallystick.query import Query, format, matches, parse
from tallystick.services.permissions import READ
from tallystick.services.principal import Principal
from tallystick.services.read import Read
from tallystick.store import search
from tallystick.store.connect import Pool

KEY = b"k" * 32
ACTIONS = ["api_key.create", "api_key.delete", "API_KEY.Create", "prompt.read", "prompt", "member.invite"]
PEOPLE = ["usr_1", "usr_2", "USR_1", "ädä", "x"]
NAMES = ["Ada Lovelace", "ada", "Grace Hopper", "ÄDÄ 50%_\\", "usr_2", None]
EMAILS = ["ada@example.com", "GRACE@example.com", None]
TYPES = ["prompt", "key", "Prompt"]
IDS = ["p-1", "p-2", "prompt", "ada"]
WORKSPACES = [None, "w-1", "w-2"]
STREAMS = ["platform", "gateway"]
IPS = [None, "192.0.2.1", "::ffff:192.0.2.1", "2001:DB8::1", "192.0.2.9:80", "no address"]
REQUESTS = [None, "req_1", "req_2"]
moments = st.integers(-90 * 86_400, 3 * 86_400).map(lambda s: NOON + timedelta(seconds=s - s % 3_600))


def actors() -> st.SearchStrategy[dict[str, Any]]:
    """Actors of few ids and many names, some of them nobody in particular."""
    named = {"name": st.sampled_from(NAMES), "email": st.sampled_from(EMAILS)}
    known = st.fixed_dictionaries(
        {"type": st.sampled_from(["user", "service", "agent"]), "id": st.sampled_from(PEOPLE), **named}
    )
    unknown = st.fixed_dictionaries({"type": st.sampled_from(["anonymous", "system"]), **named})
    return st.one_of(known, known, unknown).map(lambda a: {k: v for k, v in a.items() if v is not None})


@st.composite
def event_fields(draw: st.DrawFn) -> dict[str, Any]:
    """An event of a small world, in which filters often meet."""
    actor = draw(actors())
    if draw(st.integers(0, 5)) == 0:
        actor["on_behalf_of"] = [draw(actors())]
    target = st.fixed_dictionaries({"type": st.sampled_from(TYPES), "id": st.sampled_from(IDS)})
    context = {"ip": draw(st.sampled_from(IPS)), "request_id": draw(st.sampled_from(REQUESTS))}
    return {
        "action": draw(st.sampled_from(ACTIONS)),
        "actor": actor,
        "targets": draw(st.lists(target, max_size=3)),
        "workspace": draw(st.sampled_from(WORKSPACES)),
        "stream": draw(st.sampled_from(STREAMS)),
        "outcome": draw(st.sampled_from(["success", "success", "failure", "denied"])),
        "context": {key: value for key, value in context.items() if value is not None},
        "occurred_at": draw(moments.map(instant_text)),
        "after": None,
    }


texts = st.sampled_from(
    ["ada", "ADA", "a", "usr_", "example.com", "@", "%", "\\", "hopper", "zzz", "ä", "usr_1"]
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "action": st.sampled_from(["api_key", "^api_key", "create$", "^prompt$", "READ", "zzz", "^PROMPT", "e"]),
    "user": texts,
    "actor_type": st.sampled_from(["user", "anonymous", "agent"]),
    "actor_id": st.sampled_from([*PEOPLE, "nobody"]),
    "workspace": st.sampled_from(["-", "w-1", "w-2", "w-9"]),
    "stream": st.sampled_from(["platform", "gateway", "other"]),
    "outcome": st.sampled_from(["success", "failure", "denied", "unknown"]),
    "target_type": st.sampled_from([*TYPES, "zzz"]),
    "target_id": st.sampled_from([*IDS, "zzz"]),
    "verb": st.sampled_from(["create", "read", "delete", "access"]),
    "ip": st.sampled_from(["192.0.2.1", "2001:db8:0::1", "192.0.2.9"]),
    "request_id": st.sampled_from([*filter(None, REQUESTS), "zzz"]),
}
words = st.sampled_from(
    ["ada", "prompt", "PROMPT", "api", "p-1", "P-1", "hopper", "usr_1", "zzz", "%", "key", "ädä"]
)


@st.composite
def parameters(draw: st.DrawFn) -> list[tuple[str, str]]:
    """The parameters of a query: filters beside q, and in q negations and words."""
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True))
    asked = [(key, value) for key in keys for value in draw(st.lists(VALUES[key], min_size=1, max_size=2))]
    never = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True))
    terms = [f'-{key}:"{draw(VALUES[key])}"'.replace("\\", "\\\\") for key in never]
    terms += ["-" * draw(st.booleans()) + word for word in draw(st.lists(words, max_size=2))]
    if draw(st.integers(0, 3)) == 0:
        low, high = sorted([draw(moments), draw(moments)])
        terms.append(f"created:>={instant_text(low)} created:<{instant_text(high)}")
    if terms:
        asked.append(("q", " ".join(terms)))
    return [*asked, ("order", draw(st.sampled_from(["newest", "oldest"])))]


def principal(organization_id: Any, workspace: str | None = None) -> Principal:
    """Someone who may read one organization, or one workspace of it."""
    return Principal(
        organization_id=organization_id,
        kind="key",
        id="key_1",
        name="test",
        permissions=frozenset({READ}),
        workspaces=None if workspace is None else frozenset({workspace}),
    )


async def every_page(read: Read, caller: Principal, query: Query) -> list[dict[str, Any]]:
    """Return the events of all pages, following cursors."""
    found: list[dict[str, Any]] = []
    for _ in range(200):
        page = await read.search(caller, query)
        assert len(page.events) <= query.limit
        found += page.events
        if page.next_cursor is None:
            return found
        query = parse([*_again(query), ("cursor", page.next_cursor)], now=NOON)
    raise AssertionError("the pages have no end")


def _again(query: Query) -> list[tuple[str, str]]:
    return [("q", format(query)), ("order", query.order), ("limit", str(query.limit))] if format(query) else [
        ("order", query.order), ("limit", str(query.limit))
    ]  # fmt: skip


class Reference:
    """The whole log in memory, and what the reference meaning finds in it."""

    def __init__(self, everything: list[dict[str, Any]]) -> None:
        self.everything = everything
        self._known: dict[tuple[str, str], set[str]] = defaultdict(set)
        for one in everything:
            for actor in (one["actor"], *one["actor"].get("on_behalf_of", ())):
                labels = {actor[name] for name in ("id", "name", "email") if actor.get(name)}
                self._known[actor["type"], actor.get("id", "")] |= labels

    def find(self, query: Query, workspace: str | None) -> list[dict[str, Any]]:
        """Return the matching events in the order of the query."""

        def known_as(one: Any) -> set[str]:
            return self._known[one["actor"]["type"], one["actor"].get("id", "")]

        # Who sees a part of the log knows people by what that part says of them.
        query = replace(query, as_told=workspace is not None)
        found = [
            one for one in self.everything
            if matches(query, one, verb_of=verb_of, known_as=known_as)
            and (workspace is None or one.get("workspace") == workspace)
        ]  # fmt: skip
        found.sort(key=lambda one: (one["occurred_at"], one["position"]), reverse=query.order == "newest")
        return found


@pytest.mark.parametrize("first_rows", [search.SCAN_ROWS_FIRST, 2])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    made=st.lists(st.lists(event_fields(), max_size=14), min_size=1, max_size=3),
    asked=st.lists(parameters(), min_size=1, max_size=6),
    limit=st.integers(1, 20),
    workspace=st.sampled_from([None, None, "w-1"]),
)
async def test_search_means_what_the_reference_says(
    log: LogUnderTest,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    first_rows: int,
    made: list[list[dict[str, Any]]],
    asked: list[list[tuple[str, str]]],
    limit: int,
    workspace: str | None,
) -> None:
    """A search that shows an event nobody asked for, or hides one, or counts otherwise than it shows."""
    monkeypatch.setattr(
        search, "SCAN_ROWS_FIRST", first_rows
    )  # 2: most pages go over several scans and a probe
    organization_id = uuid4()
    for month, fields in enumerate(made):
        log.clock.at = NOON - timedelta(days=31 * (len(made) - 1 - month))  # type: ignore[attr-defined]
        if fields:
            await log.appender.append(organization_id, [event(**one) for one in fields], source="test")
    read = Read(pool, cursor_key=KEY, now=lambda: NOON)
    caller = principal(organization_id, workspace)
    everything = Reference(await read.feed(principal(organization_id), -1, 1_000))
    for one in asked:
        query = parse([*one, ("limit", str(limit))], now=NOON)
        expected = everything.find(query, workspace)
        found = await every_page(read, caller, query)
        assert [e["position"] for e in found] == [e["position"] for e in expected], (one, format(query))
        await check_counts(read, caller, query, expected)
        followed = await read.follow(caller, query, -1, 1_000)
        assert [e["position"] for e in followed.events] == sorted(e["position"] for e in expected)
        assert followed.last == len(everything.everything) - 1


async def check_counts(read: Read, caller: Principal, query: Query, expected: list[dict[str, Any]]) -> None:
    """Count, histogram and facets agree with what the search shows."""
    for exact in (False, True):
        assert await read.count(caller, query, exact=exact) == {"count": len(expected), "exact": True}
    wide = query if query.since else parse([*_again(query), ("from", "2026-01-01")], now=NOON)
    histogram = await read.histogram(caller, wide)
    assert histogram["exact"]
    shown = Counter()
    for bucket in histogram["buckets"]:
        shown[True] += bucket["success"]
        shown[False] += bucket["other"]
    end = read_instant(histogram["to"])[0]
    inside = Counter(e["outcome"] == "success" for e in expected if read_instant(e["occurred_at"])[0] < end)
    assert +shown == +inside
    facets = (await read.facets(caller, query))["facets"]
    assert {f["value"]: f["count"] for f in facets["action"]} == Counter(e["action"] for e in expected)
    assert {f["value"]: f["count"] for f in facets["workspace"]} == Counter(
        e.get("workspace", "") for e in expected
    )
