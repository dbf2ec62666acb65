"""One event in full: everything its drawer and its own page show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tallystick import __version__
from tallystick.catalogue.describe import describe
from tallystick.catalogue.kinds import CLASS_NAMES
from tallystick.catalogue.sentence import Part, kind_label, sentence
from tallystick.errors import NotFound
from tallystick.event.moment import read_instant
from tallystick.ocsf import render as render_ocsf
from tallystick.query.model import Clause, Query
from tallystick.services.evidence import Evidence
from tallystick.services.principal import Principal
from tallystick.web.ui.events import diff
from tallystick.web.ui.events.display import is_plain
from tallystick.web.ui.events.filters import brief
from tallystick.web.ui.events.moments import Stamp, stamp
from tallystick.web.ui.events.projects import Project, labels
from tallystick.web.ui.events.rows import ACTOR_WORDS, Row, Rows
from tallystick.web.ui.events.state import State

AROUND = timedelta(minutes=5)
NEIGHBOURS = 5  # events of the same target shown before and after
REQUEST_MAX = 20

FLAG_WORDS = {
    "nul": "a character that nothing can hold was replaced", "surrogate": "half a character was replaced",
    "truncated": "cut to its limit", "clock_skew": "claims to be later than it was received",
    "backdated": "claims to be over a day older than it was received", "ip_invalid": "is no IP address",
    "ip_port": "a port was taken off", "schema": "breaks the schema registered for its action",
    "too_deep": "kept as text, since it nests too deep", "number_as_string": "a number kept as text, digit by digit",
    "float_precision": "a fraction kept as text, digit by digit", "time_precision": "digits beyond microseconds left out",
    "leap_second": "a leap second", "producer_redacted": "masked by the producer, not here", "more_flags": "more notes than are listed",
}  # fmt: skip


class Fact(Struct, frozen=True):
    """One line of context: what it is, its text, and the address of all events that share it."""

    label: str
    text: str
    href: str | None = None
    mono: bool = False


class Person(Struct, frozen=True):
    """One link of the delegation chain."""

    kind: str
    name: str
    detail: str
    href: str | None


class Detail(Struct, frozen=True, kw_only=True):
    """What is shown of one event."""

    row: Row
    evidence: Evidence
    parts: list[Part]
    changes: list[diff.Row]
    unchanged: list[diff.Row]
    one_sided: str
    facts: list[Fact]
    chain: list[Person]
    targets: list[Fact]
    notes: list[tuple[str, str]]
    links: list[tuple[str, str]]
    raw: str
    raw_is_plain: bool
    ocsf: str
    ocsf_class: str
    related: list[Row]
    same_request: list[Row]
    when: Stamp


async def detail(services: Any, principal: Principal, state: State, event_id: str) -> Detail:
    """Return everything about one event; raises NotFound."""
    try:
        wanted = UUID(event_id)
    except ValueError:
        raise NotFound("There is no event with this id in this organization.") from None
    evidence: Evidence = await services.evidence.of(principal, wanted)
    event = evidence.event
    related, request, projects = await asyncio.gather(
        _same_target(services, principal, event),
        _same_request(services, principal, event),
        services.projects.of(principal),
    )
    called = labels(Project(id=row.id, name=row.name, team=row.team) for row in projects)
    rows = Rows(state, called, services.now())
    row = rows.row(event)
    ocsf = render_ocsf(
        event,
        version="1.7.0",
        view="default",
        leaf_hash=evidence.leaf_hash,
        log_name=evidence.origin,
        product_version=__version__,
    )
    return Detail(
        row=row, evidence=evidence, parts=sentence(event), changes=diff.diff_rows(event), unchanged=diff.unchanged_rows(event),
        one_sided=_one_sided(event), facts=_facts(state, event, row, evidence), chain=_chain(state, event), targets=_targets(state, event),
        notes=_notes(event), links=_links(state, event, row), raw=_pretty(event), raw_is_plain=is_plain(_pretty(event).replace("\n", "")), ocsf=_pretty(ocsf),
        ocsf_class=f"{ocsf['class_uid']} {CLASS_NAMES.get(ocsf['class_uid'], '')}".strip(),
        related=[rows.row(one) for one in related], same_request=[rows.row(one) for one in request],
        when=stamp(read_instant(event["occurred_at"])[0], state.zone, services.now()),
    )  # fmt: skip


async def _same_target(services: Any, principal: Principal, event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events of the same main target around this one, of whatever stream, newest first, this one among them."""
    targets = event.get("targets") or ()
    if not targets:
        return []
    at = read_instant(event["occurred_at"])[0]
    only = (Clause("target_id", (targets[0]["id"],)), Clause("target_type", (targets[0]["type"],)))
    return await _around(services, principal, event, Query(only=only), at)


async def _same_request(
    services: Any, principal: Principal, event: Mapping[str, Any]
) -> list[dict[str, Any]]:
    request_id = (event.get("context") or {}).get("request_id")
    if not request_id:
        return []
    found = await services.read.search(
        principal, Query(only=(Clause("request_id", (request_id,)),), limit=REQUEST_MAX)
    )
    return found.events if len(found.events) > 1 else []


async def _around(
    services: Any, principal: Principal, event: Mapping[str, Any], query: Query, at: datetime
) -> list[dict[str, Any]]:
    moment = timedelta(microseconds=1)
    before, after = await asyncio.gather(
        services.read.search(principal, replace(query, until=at + moment, limit=NEIGHBOURS + 1)),
        services.read.search(principal, replace(query, since=at + moment, order="oldest", limit=NEIGHBOURS)),
    )
    found = [*after.events[::-1], *before.events]
    return found if any(one["id"] != event["id"] for one in found) else []


def _one_sided(event: Mapping[str, Any]) -> str:
    if "before" in event and "after" in event:
        return ""
    return "after" if "after" in event else "before" if "before" in event else ""


def _facts(state: State, event: Mapping[str, Any], row: Row, evidence: Evidence) -> list[Fact]:
    """Return the context of an event, what is absent left out."""
    actor, context, error = event["actor"], event.get("context") or {}, event.get("error") or {}
    http, place, roles = context.get("http") or {}, context.get("location") or {}, actor.get("roles") or {}
    request = " ".join(str(http[key]) for key in ("method", "path", "status") if key in http)
    found = [
        Fact("Actor id", actor.get("id", ""), _only(state, "actor_id", actor.get("id")), True),
        Fact("E-mail", actor.get("email", ""), _only(state, "user", actor.get("email"))),
        Fact("Credential", actor.get("credential_id", ""), None, True),
        Fact("Role in the organization", roles.get("organization", "")),
        Fact("Role in the workspace", roles.get("workspace", "")),
        Fact("Project", row.project.text if row.project else "", row.project.href if row.project else None),
        Fact("IP address", context.get("ip", ""), _only(state, "ip", context.get("ip")), True),
        Fact("Location", ", ".join(place[key] for key in ("city", "region", "country") if key in place)),
        Fact("User agent", context.get("user_agent", "")),
        Fact("Request", request, None, True),
        Fact(
            "Request id",
            context.get("request_id", ""),
            _only(state, "request_id", context.get("request_id")),
            True,
        ),
        Fact("Session", context.get("session_id", ""), None, True),
        Fact("Trace", context.get("trace_id", ""), None, True),
        Fact("Error type", error.get("type", ""), None, True),
        Fact("Error code", error.get("code", ""), None, True),
        Fact("Error message", error.get("message", "")),
        Fact("Source", row.stream.text, _only(state, "stream", event["stream"])),
        Fact("Brought by", event["source"], None, True),
        Fact("Received", row.received.title),
        Fact("Event type", describe(event["action"]).verb),
        Fact("Touches", row.sensitivity),
        Fact("Event id", event["id"], None, True),
    ]
    return [fact for fact in found if fact.text]


def _only(state: State, key: str, value: str | None) -> str | None:
    return state.address([(key, value)]) if value and key not in state.place.locked else None


def _chain(state: State, event: Mapping[str, Any]) -> list[Person]:
    """Return who acted and for whom, the actor first; one alone is no chain."""
    actor = event["actor"]
    people = [actor, *(actor.get("on_behalf_of") or ())]
    if len(people) == 1:
        return []
    return [
        Person(
            ACTOR_WORDS[one["type"]], one.get("name") or one.get("email") or one.get("id") or ACTOR_WORDS[one["type"]],
            " · ".join(str(one[key]) for key in ("email", "id", "credential_id") if one.get(key)), _only(state, "actor_id", one.get("id")),
        )
        for one in people
    ]  # fmt: skip


def _targets(state: State, event: Mapping[str, Any]) -> list[Fact]:
    return [
        Fact(
            kind_label(one["type"]), f"{one['name']} · {one['id']}" if one.get("name") and one["name"] != one["id"] else one["id"],
            state.address([("target_type", one["type"]), ("target_id", one["id"])]),
        )
        for one in event.get("targets") or ()
    ]  # fmt: skip


def _notes(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the server changed, doubts or was told to forget, as (path, words)."""
    notes: list[tuple[str, str]] = [
        (flag["path"] or "event", FLAG_WORDS.get(flag["kind"], str(flag["kind"])))
        for flag in event.get("flags") or ()
    ]
    notes += [(path, "erased; the proof still holds") for path in event.get("erased") or ()]
    notes += [(path, "a secret was masked before it was stored") for path in event.get("redacted") or ()]
    return notes


def _links(state: State, event: Mapping[str, Any], row: Row) -> list[tuple[str, str]]:
    """Return the ways on: same actor, target, request, and what happened around this time."""
    at = read_instant(event["occurred_at"])[0]
    links: list[tuple[str, str]] = []
    if event["actor"].get("id"):
        links.append(("Same actor", state.address([("actor_id", event["actor"]["id"])])))
    if event.get("targets"):
        target = event["targets"][0]
        links.append(
            ("Same target", state.address([("target_type", target["type"]), ("target_id", target["id"])]))
        )
    if row.request_id:
        links.append(("Same request", state.address([("request_id", row.request_id.text)])))
    links.append(("± 5 minutes", state.address([("from", brief(at - AROUND)), ("to", brief(at + AROUND))])))
    return links


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
