"""`demo`: a believable week of an AI company, with one story in it that is worth finding.

Everything is invented and comes from one seed; names of actions are of the catalogue.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import err, safe
from tallystick.errors import Refused

if TYPE_CHECKING:
    from tallystick.runtime import Runtime

DAYS = 7
EVENTS_A_WORKING_DAY = 900
BATCH_EVENTS = 500
MOMENT_EVENTS = 20  # events that arrive together in a filled log: some minutes of a working day
SEED = 20

PEOPLE = (
    ("Ada Okafor", "OWNER"), ("Bruno Keller", "ADMIN"), ("Chen Wei", "MEMBER"), ("Dilara Yilmaz", "MEMBER"),
    ("Elena Rossi", "MEMBER"), ("Farid Haddad", "MEMBER"), ("Grace Mwangi", "MEMBER"), ("Hugo Lindqvist", "ADMIN"),
    ("Ines Carvalho", "MEMBER"), ("Jonas Berg", "VIEWER"), ("Kavya Raman", "MEMBER"), ("Liam O'Brien", "MEMBER"),
    ("Mei Tanaka", "MEMBER"), ("Noor al-Sayed", "MEMBER"), ("Olga Petrova", "AUDITOR"), ("Pablo Ortiz", "MEMBER"),
)  # fmt: skip
WORKERS = tuple(person for person in PEOPLE if person[1] not in ("VIEWER", "AUDITOR"))  # who changes things
WORKSPACES = ("support-bot", "code-review", "search-ranking", "evals")
AGENTS = (("agent_triage", "Triage agent"), ("agent_refactor", "Refactoring agent"))
KEYS = ("key_ci_4f2a", "key_prod_91bc", "key_evals_77de")
BROWSERS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_1) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/144.0",
)
# How often (of 1,000), action, kind of target, name of a target.
DAILY = (
    (210, "datasetRunItem.create", "dataset_run_item", "nightly answer quality"), (120, "get_example", "example", "support/system"),
    (95, "prompt.update", "prompt", "support/system"), (80, "score.create", "score", "thumbs down"),
    (70, "create_dataset", "dataset", "refund questions"), (60, "update_dataset", "dataset", "refund questions"),
    (60, "create_chart", "chart", "canary"), (45, "update_tracer_session", "project", "canary"),
    (40, "add_runs_to_annotation_queue", "annotation_queue", "hard cases"), (40, "login", "user", ""),
    (30, "create_annotation_queue", "annotation_queue", "hard cases"), (25, "update_model_price_map", "model", "large-3"),
    (20, "create_api_key", "api_key", "ci"), (18, "delete_dataset", "dataset", "old refunds"),
    (15, "invite_user_to_org", "membership_invitation", "new colleague"), (12, "delete_api_key", "api_key", "ci"),
    (10, "update_workspace_secrets", "workspace_secret", "PROVIDER_TOKEN"), (8, "create_bulk_export", "bulk_export", "traces"),
    (5, "update_ttl_settings", "ttl_settings", "retention"), (4, "update_sso_settings", "sso_settings", "company sign-in"),
)  # fmt: skip


def week(until: datetime, *, seed: int = SEED) -> list[dict[str, Any]]:
    """Return a week of events up to `until`, oldest first, each with an id of its own."""
    chance = random.Random(seed)
    events = [event for day in range(DAYS + 1) for event in _day(chance, until - timedelta(days=DAYS - day))]
    events += _story(chance, until)
    events = [event for event in events if event["occurred_at"] < until]
    events.sort(key=lambda event: event["occurred_at"])
    for event in events:
        event["id"] = str(UUID(int=chance.getrandbits(128), version=4))
        event["occurred_at"] = event["occurred_at"].isoformat()
    return events


def _day(chance: random.Random, day: datetime) -> Iterator[dict[str, Any]]:
    is_weekend = day.weekday() >= 5
    for _ in range(EVENTS_A_WORKING_DAY // (8 if is_weekend else 1)):
        hour = min(23.9, max(0.0, chance.gauss(13.5, 3.2)))
        at = day.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(
            hours=hour, microseconds=chance.randrange(10**6)
        )
        _, action, kind, name = chance.choices(DAILY, [weight for weight, *_ in DAILY])[0]
        yield _event(chance, at, action, kind, name)


def _event(chance: random.Random, at: datetime, action: str, kind: str, name: str) -> dict[str, Any]:
    actor = _person(*chance.choice(PEOPLE)) if action == "login" else _actor(chance)
    target_id = f"{kind}_{chance.randrange(400):03d}"
    event: dict[str, Any] = {
        "action": action,
        "actor": actor,
        "occurred_at": at,
        "workspace": chance.choice(WORKSPACES),
        "targets": [
            {
                "type": kind,
                "id": actor.get("id", "") if kind == "user" else target_id,
                "name": name or actor.get("name", ""),
            }
        ],
        "context": {
            "ip": f"198.51.100.{chance.randrange(2, 60)}",
            "user_agent": chance.choice(BROWSERS),
            "request_id": f"req_{chance.getrandbits(48):012x}",
            "location": {"country": chance.choice(("DE", "DE", "SE", "PT"))},
        },
    }
    if action.startswith(("update_", "delete_")):
        event["before"] = {"version": 3, "temperature": 0.7, "owner": "support"}
    if action.startswith(("update_", "create_")):
        event["after"] = {"version": 4, "temperature": chance.choice((0.2, 0.5, 0.7)), "owner": "support"}
    if chance.random() < 0.03:
        event["outcome"] = chance.choice(("failure", "denied"))
        event["error"] = {"code": "permission_denied", "message": "The role MEMBER may not do this here."}
    return event


def _actor(chance: random.Random) -> dict[str, Any]:
    draw = chance.random()
    if draw < 0.72:
        return _person(*chance.choice(WORKERS))
    if draw < 0.86:
        return {"type": "api_key", "id": chance.choice(KEYS), "name": "CI key"}
    if draw < 0.95:
        agent, name = chance.choice(AGENTS)
        return {"type": "agent", "id": agent, "name": name, "on_behalf_of": [_person(*chance.choice(PEOPLE))]}
    return {"type": "system", "name": "Scheduler"}


def _person(name: str, role: str) -> dict[str, Any]:
    handle = name.lower().replace("'", "").replace(" ", ".")
    return {
        "type": "user",
        "id": f"usr_{handle}",
        "name": name,
        "email": f"{handle}@acme-ai.example",
        "roles": {"organization": role},
    }


def _story(chance: random.Random, until: datetime) -> Iterator[dict[str, Any]]:
    """Two nights ago: guessed sign-ins, a new key, everything exported, and a colleague who notices in the morning."""
    night = (until - timedelta(days=2)).replace(hour=3, minute=7, second=0, microsecond=0)
    victim, guard = _person(*PEOPLE[8]), _person(*PEOPLE[7])
    far = {"ip": "203.0.113.77", "user_agent": "python-requests/2.32", "location": {"country": "ZZ"}}
    for attempt in range(23):
        yield {"action": "login", "actor": victim, "occurred_at": night + timedelta(seconds=11 * attempt), "outcome": "failure",
               "context": far, "targets": [{"type": "user", "id": victim["id"], "name": victim["name"]}],
               "error": {"code": "wrong_password", "message": "The password is wrong."}}  # fmt: skip
    steps = (
        (5, victim, "login", "user", victim["id"], far, {}),
        (7, victim, "create_api_key", "api_key", "key_tmp_c0de", far, {"after": {"name": "tmp", "scopes": ["all"]}}),
        (9, victim, "update_ttl_settings", "ttl_settings", "ttl_1", far, {"before": {"days": 400}, "after": {"days": 14}}),
        (12, {"type": "api_key", "id": "key_tmp_c0de", "name": "tmp"}, "create_bulk_export", "bulk_export", "exp_9", far,
         {"metadata": {"destination": "s3://elsewhere", "rows": 1_204_331}}),
        (332, guard, "delete_api_key", "api_key", "key_tmp_c0de", {"ip": "198.51.100.9"}, {"before": {"name": "tmp", "scopes": ["all"]}}),
        (338, guard, "update_ttl_settings", "ttl_settings", "ttl_1", {"ip": "198.51.100.9"}, {"before": {"days": 14}, "after": {"days": 400}}),
    )  # fmt: skip
    for minutes, actor, action, kind, target_id, context, more in steps:
        yield {"action": action, "actor": actor, "occurred_at": night + timedelta(minutes=minutes), "context": context,
               "targets": [{"type": kind, "id": target_id, "name": target_id}], **more}  # fmt: skip


async def fill(runtime: Runtime) -> int:
    """Fill an empty log as if its events had come when they happened; leaves a log that holds events alone."""
    from tallystick.runtime import now

    if await runtime.log_size(runtime.organization.id):
        return 0
    events = week(now())
    for start in range(0, len(events), MOMENT_EVENTS):
        batch = events[start : start + MOMENT_EVENTS]
        await runtime.record_as_of(
            datetime.fromisoformat(batch[-1]["occurred_at"]), json.dumps(batch).encode()
        )
    return len(events)


def demo(url: str | None, key: str | None, data: Path) -> None:
    """Record a believable week of an AI company into the log of a running server.

    The events say that they happened during the last seven days but arrive now, so older ones carry the flag for
    back-dating; `tallystick serve --demo` fills an empty log as if they had arrived in time.
    """
    from tallystick.runtime import now

    server = connect(url, key, data, write=True)
    events = week(now())
    for start in range(0, len(events), BATCH_EVENTS):
        answer = server.post("/v1/events:batch", json.dumps(events[start : start + BATCH_EVENTS]).encode())
        refused = [result["error"] for result in answer["results"] if result["status"] == "rejected"]
        if refused:
            raise Refused(f"{len(refused)} events of the demo were refused: {refused[0]['message']}")
    err.print(
        safe(
            f"{len(events):,} events recorded. Look for what happened two nights ago: tallystick search --ip 203.0.113.77"
        )
    )


DEMO = click.Command("demo", callback=demo, help=demo.__doc__, params=[*OPTIONS])
