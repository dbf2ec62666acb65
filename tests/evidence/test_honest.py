"""Honest bundles are never suspected: random lives of a log, with bundles of random questions on the way."""

from __future__ import annotations

import random
import runpy
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evidence.bundles import ADA, bundles_of, check
from evidence.test_forgeries import AUDITOR, found_by_hand
from services.appending import event, events
from services.keeping import Office
from tallystick.errors import Conflict, NotFound, Refused
from tallystick.query.model import Clause, Query
from tallystick.services import evidence_bundle
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish

BUNDLES = 8
WISHES = (
    {"class_": "thirty_days"},
    {"class_": "one_year"},
    {"class_": "custom", "days": 90},
    {"ended": True},
)
PLACES: tuple[dict[str, str], ...] = ({}, {"stream": "gateway"}, {"workspace": "w-1"})


async def step(office: Office, rng: random.Random) -> None:
    """Let something happen to the log."""
    match rng.randrange(8):
        case 0 | 1:
            await office.log.append(events(rng.randint(1, 120)))
        case 2:
            await office.log.append(
                [event(actor=ADA, stream="gateway", workspace=f"w-{at % 2}") for at in range(rng.randint(1, 9))]
            )  # fmt: skip
        case 3:
            await office.age(rng.randint(0, 3), days=rng.randint(1, 200))
        case 4:
            with suppress(Refused):
                await office.policies.change(office.boss, Wish(**rng.choice(PLACES), **rng.choice(WISHES)))
        case 5:
            await office.purge.run(office.log.organization_id)
        case 6:
            wish = HoldWish(reason="case", workspace=rng.choice(["w-0", "w-1"]))
            held = await office.holds.set(office.boss, wish)
            if rng.random() < 0.5:
                await office.holds.release(office.boss, held.id)
        case _:
            with suppress(Refused, Conflict, NotFound):
                await office.erasures.erase(
                    office.boss, ErasureWish(id=ADA["id"], remove_whole=rng.random() < 0.3)
                )


def question(office: Office, rng: random.Random) -> Query:
    only = rng.choice(
        [(), (Clause("workspace", ("w-1",)),), (Clause("stream", ("gateway",)),), (Clause("outcome", ("denied",)),),
         (Clause("action", ("^retention.",)),), (Clause("user", (ADA["email"],)),)]
    )  # fmt: skip

    since = office.clock.at - timedelta(days=rng.randint(1, 300)) if rng.random() < 0.4 else None
    until = office.clock.at - timedelta(days=rng.randint(0, 30)) if rng.random() < 0.3 else None
    return Query(only=only, since=since, until=until)


@pytest.mark.parametrize("seed", range(2))
async def test_no_honest_bundle_is_suspected(
    seed: int, office: Office, pools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One false alarm, and nobody believes the next true one."""

    monkeypatch.setattr(evidence_bundle, "can_write_pdf", lambda: False)
    rng = random.Random(seed)
    maker = bundles_of(office, tmp_path / "evidence", pools)
    auditor = runpy.run_path(str(AUDITOR))
    await office.log.append(events(300))
    await office.age(2, days=30)
    for _ in range(BUNDLES):
        for _ in range(rng.randint(1, 4)):
            await step(office, rng)
        who = replace(office.boss, workspaces=frozenset({"w-1"})) if rng.random() < 0.2 else office.boss
        asked = question(office, rng)
        answer = await maker.make(who, asked)
        bundle = b"".join([piece async for piece in answer.pieces()])
        report = check(office, bundle)
        assert report.verdict == "proven", (asked, report.violated, report.unchecked)
        assert not found_by_hand(auditor, office, bundle, tmp_path), asked
