"""Exports written into files: begun by a person, carried on by whichever server is up, fetched within a day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog
from msgspec.structs import replace

from tallystick.errors import AuditError, Conflict, NotFound, Refused, TooLarge
from tallystick.event.model import Context, Target
from tallystick.formats.parquet import require as require_pyarrow
from tallystick.query.model import Query, filters_of
from tallystick.query.parse import format, parse
from tallystick.services.evidence_bundle import Bundles
from tallystick.services.export import Export, Proven
from tallystick.services.export_lines import Count, LineExport
from tallystick.services.export_writing import Writing, proof_of, remove
from tallystick.services.ingest import Ingest
from tallystick.services.log import Log
from tallystick.services.narrow import narrow
from tallystick.services.own_events import record_act
from tallystick.services.permissions import EXPORT, MANAGE
from tallystick.services.principal import Principal
from tallystick.store import exports as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.exports import ExportRecord, Taken

KEPT: Final = timedelta(hours=24)
OPEN_MAX: Final = 5  # of one person at a time
LISTED_MAX: Final = 200
LEFT_SECONDS: Final = 30.0  # without a sign of life an export was left behind
IDLE_SECONDS: Final = 2.0
SWEPT_EVERY: Final = timedelta(minutes=1)  # a file may lie there so much longer than a day
# What can be written, and how the files end.
FORMATS: Final[Mapping[str, str]] = {
    "csv": "csv", "jsonl": "jsonl", "ocsf-1.1.0": "ocsf-1.1.0.jsonl", "ocsf-1.7.0": "ocsf-1.7.0.jsonl",
    "langfuse-jsonl": "langfuse.jsonl", "parquet": "parquet", "evidence": "evidence.zip",
}  # fmt: skip
# How those are written that are not the log's own: format, and of OCSF version and view.
_RENDERINGS: Final[Mapping[str, tuple[Any, ...]]] = {
    "csv": ("csv",), "ocsf-1.1.0": ("ocsf", "1.1.0", "default"), "ocsf-1.7.0": ("ocsf", "1.7.0", "default"),
    "langfuse-jsonl": ("langfuse-jsonl",), "parquet": ("parquet",),
}  # fmt: skip
PROVEN_BESIDE: Final = frozenset(_RENDERINGS) - {"parquet"}  # their proof is a file of its own
log = structlog.get_logger("tallystick.exports")


class ExportJobs:
    """Begins, lists, cancels and hands out exports, and writes those that wait.

    Args:
        writer: connections that may write.
        folder: where the files lie; servers of one database share it.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        export: Export,
        lines: LineExport,
        proofs: Log,
        folder: Path,
        *,
        bundles: Bundles,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._bundles = bundles
        self._writer = writer
        self._ingest = ingest
        self._export = export
        self._lines = lines
        self._proofs = proofs
        self._folder = folder
        self._now = now
        self._random = random
        self._wake = asyncio.Event()
        self._swept_at: datetime | None = None

    async def start(
        self,
        principal: Principal,
        query: Query,
        wanted: str,
        *,
        total: int,
        context: Context,
        exact: bool = True,
    ) -> str:
        """Begin an export of what matches, in one of FORMATS, and return its id.

        `total` is what is expected; where it is not `exact`, at least so many. Raises Forbidden without the permission, Refused for another format, TooLarge when five wait already.
        """
        principal.require(EXPORT)
        if wanted not in FORMATS:
            raise Refused(f"'format' is one of {', '.join(FORMATS)}.", path="/format", rule="format")
        if wanted == "parquet":
            require_pyarrow()
        filter = format(narrow(principal, replace(filters_of(query), range="")))
        export_id, at = "exp_" + self._random(8).hex(), self._now()
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.open_of(connection, organization_id, principal.id) >= OPEN_MAX:
                raise TooLarge(
                    f"{OPEN_MAX} exports of yours are waiting or running. Wait for one, or cancel one.",
                    rule="too_many_exports",
                )
            await rows.insert(
                connection,
                organization_id,
                export_id,
                wanted,
                filter,
                principal.id,
                principal.name,
                at,
                total,
            )

        await record_act(
            self._ingest, principal, "events.exported", targets=[Target(type="data_export", id=export_id)],
            metadata={"format": wanted, "filter": filter, "events" if exact else "events_at_least": total},
            context=context, inside=inside,
        )  # fmt: skip
        self._wake.set()
        return export_id

    async def listed(self, principal: Principal) -> list[ExportRecord]:
        """Return one's own newest exports; whoever manages the organization sees everybody's."""
        principal.require(EXPORT)
        whose = None if principal.may(MANAGE) and principal.sees_all else principal.id
        return await rows.newest(self._writer, principal.organization_id, whose, LISTED_MAX)

    async def get(self, principal: Principal, export_id: str) -> ExportRecord:
        """Return one export; raises NotFound, also for another's that is not one's to see."""
        principal.require(EXPORT)
        found = None
        if len(export_id) <= 64 and export_id.isprintable():
            found = await rows.get(self._writer, principal.organization_id, export_id)
        if found is None or (
            found.owner_id != principal.id and not (principal.may(MANAGE) and principal.sees_all)
        ):
            raise NotFound("There is no such export.")
        return found

    async def cancel(self, principal: Principal, export_id: str, context: Context) -> None:
        """Stop an export; what was written of it is removed. Raises Conflict when it had come to its end."""
        found = await self.get(principal, export_id)

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.cancel(connection, principal.organization_id, export_id, self._now()):
                raise Conflict("This export has come to its end already.", rule="export_over")

        await record_act(
            self._ingest, principal, "export.cancelled", targets=[Target(type="data_export", id=export_id)],
            before={"state": found.state}, after={"state": "cancelled"}, context=context, inside=inside,
        )  # fmt: skip

    async def fetch(
        self, principal: Principal, export_id: str, context: Context, *, proof: bool = False
    ) -> tuple[ExportRecord, Path]:
        """Return a finished export and its file, once the log says who fetched it; raises NotFound when it is gone.

        With `proof` the file is the proof beside it, which formats that prove themselves do not have.
        """
        found = await self.get(principal, export_id)
        path = self.path_of(principal.organization_id, export_id, found.format)
        path = proof_of(path) if proof else path
        if (
            found.state != "done"
            or found.finished_at is None
            or found.finished_at + KEPT < self._now()
            or not path.exists()
        ):
            raise NotFound(
                "The file of this export is not here: exports are kept for 24 hours. Begin another one."
            )
        await record_act(
            self._ingest, principal, "export.downloaded", targets=[Target(type="data_export", id=export_id)],
            metadata={"format": found.format, "events": found.events, **({"part": "proof"} if proof else {})},
            context=context,
        )  # fmt: skip
        return found, path

    def path_of(self, organization_id: UUID, export_id: str, wanted: str) -> Path:
        """Return where the file of an export lies."""
        return self._folder / str(organization_id) / f"{export_id}.{FORMATS[wanted]}"

    async def run(self) -> None:
        """Write what waits, one after the other, and remove what was kept for a day; until cancelled."""
        while True:
            try:
                await self._sweep()
                if not await self._work():
                    self._wake.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), IDLE_SECONDS)
            except AuditError as error:
                log.warning("exports wait", reason=str(error))
                await asyncio.sleep(IDLE_SECONDS)

    async def _sweep(self) -> None:
        """Remove what was kept for a day, at most once a minute."""
        at = self._now()
        if self._swept_at is not None and at - self._swept_at < SWEPT_EVERY:
            return
        await self._drop_old()
        self._swept_at = at

    async def _drop_old(self) -> None:
        for organization_id, export_id, wanted in await rows.expire(self._writer, self._now() - KEPT):
            remove(self.path_of(organization_id, export_id, wanted))

    async def _work(self) -> bool:
        at = self._now()
        taken = await rows.take(self._writer, at, at - timedelta(seconds=LEFT_SECONDS))
        if taken is None:
            return False
        path = self.path_of(taken.organization_id, taken.id, taken.format)
        try:
            await Writing(self._writer, taken, path, seen=at, now=self._now).write(
                lambda count: self._streams_of(taken, count), await self._checkpoint_of(taken.organization_id)
            )
        except AuditError as error:
            remove(path)
            log.warning("export failed", export=taken.id, reason=str(error))
        except OSError as error:
            remove(path)
            log.warning("export failed", export=taken.id, reason=error.strerror)
        return True

    async def _streams_of(self, taken: Taken, count: Count) -> Proven:
        """Begin the streams of an export; what may be seen was settled when it was asked for. `count` is told events.

        What the records beside a part of the log say of others is withheld: whose the export is may not see all of it.
        """
        server = Principal(
            organization_id=taken.organization_id, kind="server", id=taken.owner_id, name=taken.owner_name,
            permissions=frozenset({EXPORT}),
        )  # fmt: skip
        query = parse([("q", taken.filter)] if taken.filter else [], now=self._now())
        if taken.format == "evidence":
            asked = await rows.get(self._writer, taken.organization_id, taken.id)
            at = self._now() if asked is None else asked.created_at
            return Proven(self._bundles.stream(server, query, asked_at=at, count=count), None)
        if taken.format == "jsonl":
            stream = await self._export.jsonl(server, query, count=count, withholding=True)
            return Proven(stream, None)
        what: Any = _RENDERINGS[taken.format]
        rendering = self._lines.rendering(*what)
        return await self._export.proven(server, query, rendering, count=count, withholding=True)

    async def _checkpoint_of(self, organization_id: UUID) -> str | None:
        """Return the newest checkpoint, None for an empty log."""
        try:
            return await self._proofs.checkpoint(organization_id)
        except NotFound:
            return None
