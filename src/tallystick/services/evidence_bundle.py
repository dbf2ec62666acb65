"""Evidence bundles: a question, its answer and everything that proves it, as one file for somebody without this server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from tallystick.errors import Tampered, TryLater
from tallystick.event.model import Context, Target
from tallystick.event.moment import instant_text
from tallystick.event.render import render
from tallystick.formats.evidence_zip import Part, Spool, spooled, zip_pieces, zip_size
from tallystick.formats.report_html import write_html
from tallystick.formats.report_pdf import can_write_pdf, write_pdf
from tallystick.merkle.note import encode_base64
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.query.model import Query, filters_of
from tallystick.query.parse import parse
from tallystick.services.evidence_bundle_parts import Kept, Removal, checkpoints_of, spool_removals
from tallystick.services.evidence_bundle_report import SHOWN_MAX, Told, report_of
from tallystick.services.evidence_bundle_words import query_in_words
from tallystick.services.export import Export
from tallystick.services.ingest import Ingest
from tallystick.services.log import Log
from tallystick.services.own_events import record_act
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from tallystick.services.read import Read
from tallystick.services.sign import Signer
from tallystick.store import export as stored
from tallystick.store.connect import Pool
from tallystick.verify.bundle import verify_with_own
from tallystick.verify.bundle_layout import (
    CHECKPOINTS,
    CONTROLS,
    ISSUED,
    MANIFEST,
    README,
    REMOVED,
    REPORT_HTML,
    REPORT_PDF,
    SEAL,
    Asker,
    CheckpointCount,
    Controls,
    EntrySum,
    Found,
    Issued,
    Manifest,
    Question,
    written,
)
from tallystick.verify.bundle_layout import (
    EXPORT as EXPORT_FILE,
)
from tallystick.verify.layout import Header, full_line, leaf_of, read_header
from tallystick.verify.report import Report

DIRECT_MAX: Final = 50_000  # events; more are written into a file first, see ExportJobs
LEFT_SECONDS: Final = 86_400
SIGN_SECONDS: Final = 1.0
AT_ONCE: Final = 2  # bundles made at the same time: each costs disk and half a core
_README = """\
This is an evidence bundle: a question to an audit log, its answer, and what proves that nothing is missing from it.

Begin with report.html (or report.pdf), which needs no technical knowledge.

report.html        what was asked, found, proven, removed; to read and to print
report.pdf         the same as PDF, where the server can write it
controls.json      only in evidence packs: each control with its result
checkpoints.jsonl  what the log signed while the events of the range came in
export.jsonl       the answer: every matching event in full, all others of the range as hashes, and the proof
removed.jsonl      the log's own records of retention, legal holds, erasures and approvals, each with its proof
manifest.json      the question, and the SHA-256 of each file above
issued.json        the event by which the log took the manifest's SHA-256 in, with its receipt

To check all of it:    tallystick verify THIS-FILE.zip --key 'the log's verifier key'
or, to read first:     python check_bundle.py THIS-FILE.zip --key '...'
"""


@dataclass
class Answer:
    """What a finished bundle is handed out as: its id, its length in bytes, its events, and its pieces."""

    bundle: str
    bytes: int
    events: int
    _folder: tempfile.TemporaryDirectory[str]
    _parts: list[Part]

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the bytes of the zip; what was kept on disk for it is removed at the end, whatever happens."""
        pieces = zip_pieces(self._parts)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            await asyncio.to_thread(self.drop)

    def drop(self) -> None:
        """Remove what was kept on disk for it."""
        with suppress(OSError):
            self._folder.cleanup()


@dataclass
class _Making:
    """A bundle while it is made."""

    principal: Principal
    folder: Path
    bundle: str
    asked_at: datetime
    tells_all: bool
    header: Header | None = None
    parts: list[Part] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)


Judge = Callable[[Principal, Header, Report], Awaitable[Controls]]


class Bundles:
    """Makes evidence bundles.

    Args:
        reader: connections of a role that may read.
        folder: where a bundle lies until it was handed out.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        reader: Pool,
        signer: Signer,
        ingest: Ingest,
        export: Export,
        log: Log,
        read: Read,
        folder: Path,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._pool = reader
        self._signer = signer
        self._ingest = ingest
        self._export = export
        self._log = log
        self._read = read
        self._folder = folder
        self._now = now
        self._random = random
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def fits_at_once(self, principal: Principal, query: Query) -> tuple[bool, int]:
        """Tell whether the answer is small enough to be made while the caller waits, and how many events it has."""
        principal.require(EXPORT)
        counted = await self._read.count(principal, filters_of(query), exact=True)
        return counted["exact"] and counted["count"] <= DIRECT_MAX, counted["count"]

    async def make(
        self,
        principal: Principal,
        query: Query,
        *,
        context: Context | None = None,
        asked_at: datetime | None = None,
        judge: Judge | None = None,
        patient: bool = False,
        withholding: bool = False,
    ) -> Answer:
        """Make the bundle that answers `query` for `principal`, and record in the log that it was issued.

        `patient` waits for its turn; `withholding` treats everybody as one who sees a part of the log where records
        account for what is gone. `judge` gives the controls of an evidence pack. Memory does not grow with the answer, disk does. Raises
        Forbidden without the permission, NotFound for an empty log, TryLater while others are made or when something
        was removed meanwhile, Tampered at a hole.
        """
        principal.require(EXPORT)
        if self._turns.locked() and not patient:
            raise TryLater(
                "Other evidence bundles are being made on this server. Nothing was started; try again soon."
            )
        async with self._turns:
            folder = await asyncio.to_thread(self._new_folder)
            try:
                making = _Making(
                    principal, Path(folder.name), "evb_" + self._random(8).hex(), asked_at or self._now(),
                    principal.sees_all and not withholding,
                )  # fmt: skip
                return await self._make(making, query, context, judge, folder)
            except OSError as error:
                folder.cleanup()
                raise TryLater(
                    f"The bundle could not be written to the server's disk: {error.strerror}. Nothing was issued."
                ) from error
            except BaseException:
                folder.cleanup()
                raise

    async def stream(
        self, principal: Principal, query: Query, *, asked_at: datetime, count: Callable[[int], None]
    ) -> AsyncGenerator[bytes]:
        """Make a bundle that may take long and yield its bytes; until there are any, an empty piece now and then.

        So whoever writes them down can show signs of life meanwhile. What the records say of others is withheld: what
        `principal` may see was settled when it asked, and stands in `query`. `count` is told of the events.
        """
        task = asyncio.create_task(
            self.make(principal, query, asked_at=asked_at, patient=True, withholding=True)
        )
        try:
            while not (await asyncio.wait((task,), timeout=SIGN_SECONDS))[0]:
                yield b""
            answer = task.result()
            count(answer.events)
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _new_folder(self) -> tempfile.TemporaryDirectory[str]:
        """Return a folder for one bundle; those that a server left behind when it died are removed after a day."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.glob("bundle-*"):
            with suppress(OSError):
                if left.stat().st_mtime < self._now().timestamp() - LEFT_SECONDS:
                    shutil.rmtree(left)
        return tempfile.TemporaryDirectory(prefix="bundle-", dir=self._folder)

    async def _make(
        self,
        making: _Making,
        query: Query,
        context: Context | None,
        judge: Judge | None,
        folder: tempfile.TemporaryDirectory[str],
    ) -> Answer:
        principal, place = making.principal, making.folder
        answer = await self._spool_export(making, query)
        header = making.header
        assert header is not None
        kept = await checkpoints_of(self._pool, principal.organization_id, header)
        report = await asyncio.to_thread(self._check, answer.path, header, kept)
        spool = Spool(REMOVED, place / REMOVED)
        removals = await spool_removals(
            self._pool, self._read, principal, header, spool, tells_all=making.tells_all
        )
        removed = spool.close()
        controls: Controls | None = await judge(principal, header, report) if judge is not None else None
        question = self._question(making, header)
        told = Told(
            bundle=making.bundle, question=question, header=header, signed_at=str(report.facts.get("signed at", "")),
            events=making.shown, matches=int(report.facts.get("events", 0)),
            removed_here=int(report.facts.get("removed", 0)), kept=kept, removals=removals, report=report,
            has_pdf=can_write_pdf(), controls=controls,
        )  # fmt: skip
        before = await asyncio.to_thread(_printed, place, told)
        if controls is not None:
            before.append(spooled(CONTROLS, place, written(controls)))
        parts = [*before, spooled(CHECKPOINTS, place, kept.content()), answer, removed]
        manifest = _manifest(told, kept, removals, parts)
        parts.append(spooled(MANIFEST, place, written(manifest)))
        seal = await self._seal(making, manifest, parts[-1].sha256, context)
        parts.append(spooled(SEAL, place, written(seal)))
        return Answer(making.bundle, zip_size(parts), told.matches, folder, parts)

    async def _spool_export(self, making: _Making, query: Query) -> Part:
        """Write the export to disk, and keep its header and its first events."""
        stream = await self._export.jsonl(making.principal, query, withholding=not making.tells_all)
        spool = Spool(EXPORT_FILE, making.folder / EXPORT_FILE)
        async with aclosing(stream):  # pyright: ignore[reportArgumentType]
            async for piece in stream:
                if making.header is None:
                    making.header = read_header(piece.partition(b"\n")[0] + b"\n")
                if len(making.shown) < SHOWN_MAX:
                    making.shown += _events_in(piece, SHOWN_MAX - len(making.shown))
                await asyncio.to_thread(spool.write, piece)
        return spool.close()

    def _check(self, path: Path, header: Header, kept: Kept) -> Report:
        """Verify the export as a stranger would; what it cannot show stands in the report."""
        keys = (self._signer.verifier(header.origin), self._signer.clock())
        return verify_with_own(_pieces(path), kept.notes, keys=keys)  # pyright: ignore[reportArgumentType]

    def _question(self, making: _Making, header: Header) -> Question:
        query = parse([("q", header.filter)] if header.filter else [], now=making.asked_at)
        principal = making.principal
        return Question(
            filter=header.filter, words=query_in_words(query), asked_at=instant_text(making.asked_at),
            asked_by=Asker(kind=principal.kind, id=principal.id, name=principal.name or ""),
        )  # fmt: skip

    async def _seal(
        self, making: _Making, manifest: Manifest, manifest_sha256: str, context: Context | None
    ) -> Issued:
        """Record that the bundle is issued, and return the event with its receipt."""
        organization_id, found = making.principal.organization_id, manifest.found
        recorded = await record_act(
            self._ingest, making.principal, ISSUED, targets=[Target(type="data_export", id=making.bundle)],
            metadata={
                "manifest_sha256": manifest_sha256, "kind": manifest.kind, "filter": manifest.question.filter,
                "events": found.events, "start": found.start, "end": found.end, "size": found.size,
            },
            context=context,
        )  # fmt: skip
        size = self._signer.read(
            manifest.origin, parse_tlog_proof(recorded.receipt).checkpoint
        ).checkpoint.size
        proof = await self._log.consistency(organization_id, found.size, size)
        line = await self._line(organization_id, recorded.position)
        return Issued(
            line=msgspec.Raw(line.rstrip(b"\n")), receipt=recorded.receipt,
            consistency=tuple(map(encode_base64, proof.hashes)),
        )  # fmt: skip

    async def _line(self, organization_id: UUID, position: int) -> bytes:
        rows = await stored.rows_at(self._pool, organization_id, [position])
        if not rows or rows[0].leaf is None or rows[0].opening is None or rows[0].seed is None:
            raise Tampered(
                f"Position {position}, recorded a moment ago, is missing from the log.", rule="hole"
            )
        return full_line(position, str(organization_id), rows[0].leaf, rows[0].opening, rows[0].seed)


def _printed(place: Path, told: Told) -> list[Part]:
    """Write README and reports."""
    document = report_of(told)
    parts = [spooled(README, place, _README.encode()), spooled(REPORT_HTML, place, write_html(document))]
    if told.has_pdf:
        parts.append(spooled(REPORT_PDF, place, write_pdf(document)))
    return parts


def _manifest(told: Told, kept: Kept, removals: list[Removal], parts: list[Part]) -> Manifest:
    header = told.header
    return Manifest(
        bundle=told.bundle, kind="evidence" if told.controls is None else "pack", origin=header.origin,
        organization=header.organization, question=told.question,
        found=Found(start=header.start, end=header.end, size=header.size, events=told.matches),
        checkpoints=CheckpointCount(in_range=kept.in_range, here=len(kept.notes)), removals=len(removals),
        keys=header.keys, entries=tuple(EntrySum(name=one.name, bytes=one.size, sha256=one.sha256) for one in parts),
    )  # fmt: skip


def _events_in(piece: bytes, most: int) -> list[dict[str, Any]]:
    """Return the first events in full of some whole lines of an export, as people see them."""
    found: list[dict[str, Any]] = []
    for line in piece.split(b"\n"):
        if len(found) == most:
            break
        if line.startswith(b'{"position":') and line.find(b',"event":', 0, 40) > 0:
            parts = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            found.append(render(leaf_of(line), bytes(parts["opening"]), int(bytes(parts["position"]))))
    return found


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 18):
            yield piece
