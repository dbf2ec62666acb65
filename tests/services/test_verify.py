"""A live database and its dump, honest, set back or emptied: no alarm without a reason, and none missed."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from datetime import UTC

from services.appending import LOG, Clock, events
from services.verifying import EVENTS, Scene, verify_bytes
from services.verifying import scene as scene
from tallystick.merkle.tree import Frontier
from tallystick.services.verify import Verify


async def test_an_honest_database_is_proven(scene: Scene) -> None:
    """A log nobody touched is proven live and as a dump, with everything kept outside confirmed."""
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert (report.verdict, report.violated) == ("proven", [])
        assert sum("beginning of this log" in line for line in report.proven) == len(scene.kept)
        assert any("600 events: unchanged" in line for line in report.proven)
    assert verify_bytes(scene.dump(), scene.log, [], keys=False).exit_code == 2
    assert "--known" in " ".join(scene.dumped().not_proven)


async def test_appends_may_go_on_meanwhile(scene: Scene, clock: Clock) -> None:
    """A check of a log that grows under it raises no alarm."""
    service = Verify(scene.log.pool, keys=(scene.log.verifier, scene.log.signer.clock()), random=os.urandom)
    grown = 0

    async def grow() -> None:
        nonlocal grown
        for _ in range(6):
            await scene.log.append(events(100))
            clock.move(hours=5)
            grown += 1

    growing = asyncio.create_task(grow())
    while grown < 6:
        report = await service.log(LOG)
        assert (report.verdict, report.violated) == ("proven", [])
    await growing
    assert (await service.log(LOG)).facts["log size"] == EVENTS + 600


async def truncate_tail(scene: Scene, rng: random.Random) -> None:
    """Cut off the tail everywhere and put back an older, honestly signed head: only what was kept can tell."""
    note, size = rng.choice([(scene.kept[0].text, 100), (scene.kept[1].text, 300)])
    execute = scene.superuser.execute
    rows = await scene.superuser.fetch(
        "SELECT * FROM audit_logs WHERE organization_id = $1 AND position >= $2", LOG, size
    )
    for kind in (
        "action",
        "workspace",
        "target_type",
        "stream",
        "outcome",
        "verb",
        "actor_type",
        "actor_ref",
    ):
        for value, number in Counter(str(row[kind]) for row in rows).items():
            await execute(
                "UPDATE terms SET events = events - $4 WHERE organization_id = $1 AND kind = $2 AND value = $3",
                LOG,
                kind,
                value,
                number,
            )
    for (hour, outcome), number in Counter(
        (row["occurred_at"].astimezone(UTC).replace(minute=0, second=0, microsecond=0), row["outcome"])
        for row in rows
    ).items():
        await execute(
            f"UPDATE event_counts SET {outcome} = {outcome} - $3 WHERE organization_id = $1 AND hour = $2",
            LOG,
            hour,
            number,
        )
    await execute("DELETE FROM terms WHERE events = 0")
    await execute("DELETE FROM event_counts WHERE success + failure + denied + unknown = 0")
    for table in ("audit_logs", "idempotency"):
        await execute(f"DELETE FROM {table} WHERE organization_id = $1 AND position >= $2", LOG, size)
    await execute("DELETE FROM log_months WHERE organization_id = $1 AND first_position >= $2", LOG, size)
    await execute("DELETE FROM log_checkpoints WHERE organization_id = $1 AND size > $2", LOG, size)
    await execute(
        "DELETE FROM log_tiles WHERE organization_id = $1 AND (index + 1) << (8 * (level + 1)) > $2",
        LOG,
        size,
    )
    left = await scene.superuser.fetch(
        "SELECT leaf_hash, received_at FROM audit_logs WHERE organization_id = $1 ORDER BY position", LOG
    )
    frontier = Frontier().extend(row["leaf_hash"] for row in left)
    await execute(
        "UPDATE log_head SET size = $2, frontier = $3, last_received_at = $4, note = $5 WHERE organization_id = $1",
        LOG, size, b"".join(frontier.nodes), left[-1]["received_at"], note,
    )  # fmt: skip


async def test_a_perfect_rollback_is_found_by_what_was_kept(scene: Scene) -> None:
    """A tail cut off everywhere, with an older head put back, is honest in itself; a kept checkpoint finds it."""
    await scene.allow_edits()
    await truncate_tail(scene, random.Random(1))
    for report in (await scene.live(), scene.dumped()):
        assert (report.exit_code, report.violated) == (0, [])
        assert any("rolled back" in line for line in report.not_proven)
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert {finding.kind for finding in report.violated} == {"rollback"}


async def test_a_log_that_vanished_is_found_by_what_was_kept(scene: Scene) -> None:
    """An organization removed from every table leaves no trace in the database; a kept checkpoint is one."""
    await scene.allow_edits()
    for (table,) in await scene.superuser.fetch(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'organization_id' AND table_name !~ 'audit_'"
    ):
        await scene.superuser.execute(f"DELETE FROM {table} WHERE organization_id = $1", LOG)
    await scene.superuser.execute("DELETE FROM audit_logs WHERE organization_id = $1", LOG)
    assert (await scene.live()).exit_code == 0
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert report.exit_code == 1
    await scene.superuser.execute("DELETE FROM organizations WHERE id = $1", LOG)
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert {finding.kind for finding in report.violated} == {"missing_log"}
