"""Verifying a live database as a stranger would: nothing in it is trusted but what follows from signed roots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from tallystick.catalogue.describe import verb_of
from tallystick.errors import Tampered
from tallystick.store import verify as stored
from tallystick.store.connect import Pool
from tallystick.verify.instance import Means, check_of, is_of
from tallystick.verify.known import Kept, Keys
from tallystick.verify.report import Report
from tallystick.verify.tree import tile_digest

Progress = Callable[[int, int], None]
ATTEMPTS_MAX = 4


class Verify:
    """Checks the logs of one database; `reader` is a pool of any role that may read.

    `keys` are verifier keys of any log of the instance (one key signs all); `random` gives that many random bytes.
    """

    def __init__(self, reader: Pool, *, keys: Keys, random: Callable[[int], bytes]) -> None:
        self._pool = reader
        self._keys = keys
        self._random = random

    async def log(
        self, organization_id: UUID, *, kept: Sequence[Kept] = (), progress: Progress | None = None
    ) -> Report:
        """Check one log up to the size it has now; appends may go on meanwhile.

        `kept` are checkpoints and receipts from outside; `progress` is told (events done, events in all). When events
        are removed or erased while their log is being read, it is read once more.
        """
        for _ in range(ATTEMPTS_MAX):
            removals = await stored.removals(self._pool, organization_id)
            report = await self._log(organization_id, kept, progress)
            if not report.violations or await stored.removals(self._pool, organization_id) == removals:
                return report
        report = Report(subject=f"log {organization_id}")
        report.unchecked = (
            "events were removed again and again while it was read; check it when no purge runs"
        )
        return report

    async def _log(self, organization_id: UUID, kept: Sequence[Kept], progress: Progress | None) -> Report:
        means = Means(verb_of=verb_of, secret=self._random(32), keys=self._keys, kept=kept)
        tables = await stored.read_tables(self._pool, organization_id)
        check = check_of(organization_id, tables, means)
        done = 0
        async for rows in stored.read_rows(self._pool, organization_id, tables.size):
            check.add_rows(rows)
            done += len(rows)
            if progress:
                progress(done, tables.size)
        try:
            async for ids in stored.read_ids(self._pool, organization_id, tables.size):
                check.add_ids(ids)
        except Tampered as error:
            check.report.violate(error.rule, "idempotency", str(error))
        async for level, index, hashes in stored.read_tiles(self._pool, organization_id, tables.size):
            check.add_tile(level, index, len(hashes), tile_digest(hashes))
        if outside := await stored.rows_beyond(self._pool, organization_id):
            check.report.violate(
                "head", "log_head", f"{outside} rows lie beyond the log's end: its head was set back"
            )
        return check.finish()

    async def database(self, *, kept: Sequence[Kept] = (), progress: Progress | None = None) -> Report:
        """Check every log of the database, one after the other."""
        report = Report(subject="database")
        organizations = await stored.organizations(self._pool)
        for organization_id in organizations:
            report.absorb(await self.log(organization_id, kept=kept, progress=progress))
        for one in kept:
            if not any(is_of(one, organization_id) for organization_id in organizations):
                report.violate("missing_log", one.label, "the log it was signed for is not here at all")
        report.facts["logs"] = len(organizations)
        return report
