"""The starts and stops of a server, and what was set otherwise than the last time, in the first organization's log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import UNSET, Struct

from tallystick.errors import AuditError
from tallystick.event.model import Actor, Target
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import own_event
from tallystick.services.own_log import OwnLog

FILE = "last-start.json"
SERVER = Actor(type="system", name="Tallystick server")
log = structlog.get_logger("tallystick.own_log")


class _Last(Struct, frozen=True, kw_only=True):
    """What a server knew when it started last, and whether it is still running as far as its files say."""

    version: str
    settings: dict[str, str]
    running: bool


class Lifetime:
    """Records that this server starts and stops.

    Args:
        ingest: records events of this process.
        own_log: takes what cannot be recorded at once; a start does not wait for a human to look at a damaged log.
        data: the data folder, where the last start is remembered.
        instance: the name of this installation.
        version: of this program.
        settings: every setting as text, without a secret.
    """

    def __init__(
        self,
        ingest: Ingest,
        own_log: OwnLog,
        *,
        data: Path,
        instance: str,
        version: str,
        settings: Mapping[str, str],
    ) -> None:
        self._ingest = ingest
        self._own_log = own_log
        self._path = data / FILE
        self._instance = instance
        self._version = version
        self._settings = dict(settings)
        self._organization_id: UUID | None = None

    async def started(self, organization_id: UUID) -> None:
        """Record the start, a change of the version, and settings that differ from those of the last start."""
        last = self._read()
        metadata = {"version": self._version, "stopped_before": None if last is None else not last.running}
        await self._record(organization_id, "server.started", metadata=metadata)
        if last is not None and last.version != self._version:
            await self._record(
                organization_id,
                "server.upgraded",
                before={"version": last.version},
                after={"version": self._version},
            )
        if last is not None and last.settings != self._settings:
            before, after = _difference(last.settings, self._settings)
            await self._record(organization_id, "server.settings_changed", before=before, after=after)
        self._write(running=True)
        self._organization_id = organization_id

    async def stopped(self) -> None:
        """Record that the server stops in order; does nothing unless its start was recorded."""
        if self._organization_id is not None:
            await self._record(self._organization_id, "server.stopped", metadata={"version": self._version})
            self._write(running=False)

    async def _record(
        self,
        organization_id: UUID,
        action: str,
        *,
        before: Any = UNSET,
        after: Any = UNSET,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        event = own_event(
            SERVER,
            action,
            targets=(Target(type="server", id=self._instance),),
            before=before,
            after=after,
            metadata=metadata,
        )
        try:
            await self._ingest.record_own(organization_id, event)
        except AuditError as error:
            log.error("an own event is not written yet", action=action, detail=str(error))
            self._own_log.notice(organization_id, (action, self._instance), lambda: event)

    def _read(self) -> _Last | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Last)
        except (OSError, msgspec.DecodeError):
            return None  # the first start, or a file nobody can read: then everything there is to tell is the start

    def _write(self, *, running: bool) -> None:
        half = self._path.with_suffix(f".{os.getpid()}")
        half.write_bytes(
            msgspec.json.encode(_Last(version=self._version, settings=self._settings, running=running))
        )
        half.replace(self._path)


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what differs, as it was and as it is; null where there was no such setting."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
