"""What reads: search, the contracts of other products, proofs, exports."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from tallystick import __version__
from tallystick.config import Settings
from tallystick.runtime.chance import now
from tallystick.runtime.databases import Databases
from tallystick.runtime.recording import Recording
from tallystick.services.checks import Checks
from tallystick.services.contracts import Contracts, Pull
from tallystick.services.evidence import Evidences
from tallystick.services.evidence_bundle import Bundles
from tallystick.services.export import Export
from tallystick.services.export_jobs import ExportJobs
from tallystick.services.export_lines import LineExport
from tallystick.services.organize import secret_of
from tallystick.services.packs.judge import Packs
from tallystick.services.producers import Producers
from tallystick.services.projects import Projects
from tallystick.services.quarantine import Quarantine
from tallystick.services.read import Read
from tallystick.services.saved_views import SavedViews


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The services that only read the log."""

    read: Read
    quarantine: Quarantine
    contracts: Contracts
    pull: Pull
    evidence: Evidences
    projects: Projects
    saved_views: SavedViews
    producers: Producers
    export: Export
    export_lines: LineExport
    export_jobs: ExportJobs
    bundles: Bundles
    packs: Packs
    checks: Checks


def build_reading(databases: Databases, settings: Settings, recording: Recording) -> Reading:
    """Return what reads the log that `recording` writes."""
    reader, writer = databases.reader, databases.writer
    signer, ingest, log = recording.signer, recording.ingest, recording.log
    cursor_key = secret_of(settings.data / "keys" / "cursor.key", os.urandom)
    export = Export(reader, signer, now=now)
    lines = LineExport(reader, signer, product_version=__version__)
    read = Read(reader, cursor_key=cursor_key, now=now)
    folder = settings.data / "exports"
    bundles = Bundles(
        reader, signer, ingest, export, log, read, settings.data / "evidence", now=now, random=os.urandom
    )
    return Reading(
        read=read,
        quarantine=Quarantine(reader, recording.registered, cursor_key=cursor_key),
        contracts=Contracts(reader, signer, cursor_key=cursor_key, monotonic=time.monotonic),
        pull=Pull(reader, cursor_key=cursor_key),
        evidence=Evidences(reader, signer, log),
        projects=Projects(reader, monotonic=time.monotonic),
        producers=Producers(writer, ingest, now=now),
        saved_views=SavedViews(reader, writer, ingest, now=now, random=os.urandom),
        export=export,
        export_lines=lines,
        export_jobs=ExportJobs(
            writer, ingest, export, lines, log, folder, bundles=bundles, now=now, random=os.urandom
        ),
        bundles=bundles,
        packs=Packs(reader, read, bundles, now=now),
        checks=Checks(export, signer, now=now, random=os.urandom),
    )
