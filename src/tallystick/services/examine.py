"""Examining an installation: everything an operator can get wrong or an intruder can change, and what to do."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from httpx2 import AsyncClient
from msgspec import Struct

from tallystick.services.instance_log import InstanceLog
from tallystick.services.outside_tasks import standing_of
from tallystick.services.sign import Signer
from tallystick.services.verify import Progress, Verify
from tallystick.services.verify_instance import InstanceCheck
from tallystick.services.witnessing import Witnessing
from tallystick.store import logs
from tallystick.store.connect import Pool
from tallystick.store.inspect import inspect
from tallystick.verify.known import Kept
from tallystick.verify.policy import Policy
from tallystick.verify.report import Report

FREE_BYTES_MIN = 2 << 30
TRANSACTION_SECONDS_MAX = 600
QUIET_SECONDS_MAX = 120.0
SECRETS = ("keys/signing.key", "keys/redaction.key", "keys/cursor.key", "first-keys.json")


class Diagnosis(Struct, frozen=True, kw_only=True):
    """One thing looked at: is it well, what was found, and what to do if it is not."""

    name: str
    state: Literal["well", "warning", "ill"]
    found: str
    advice: str = ""


def _well(name: str, found: str) -> Diagnosis:
    return Diagnosis(name=name, state="well", found=found)


class Examine:
    """Looks at one installation.

    Args:
        data: its data folder.
        reader: a pool of any role that may read.
        signer: the signer of the data folder.
        running: whether a server is up, so that quiet checkpoints mean something.
        policy: the server's, whose witnesses and time stamp authorities are asked.
    """

    def __init__(
        self, data: Path, reader: Pool, signer: Signer, *, now: Callable[[], datetime], random: Callable[[int], bytes],
        running: bool, policy: Policy | None = None,
    ) -> None:  # fmt: skip
        self._data = data
        self._reader = reader
        self._signer = signer
        self._now = now
        self._random = random
        self._running = running
        self._policy = policy

    async def quick(self) -> list[Diagnosis]:
        """Look at everything but the rows themselves."""
        return [*self._folder(), *await self._database(), *await self._signed(), *await self._outside()]

    async def whole_log(self, kept: list[Kept], progress: Progress) -> Report:
        """Check every row, tile and head of every log against its proof."""
        standings = await logs.heads(self._reader)
        keys = [self._signer.verifier(self._signer.origin(one.organization_id)) for one in standings[:1]]
        instance = InstanceCheck(
            self._reader, [self._signer.verifier(self._signer.instance), self._signer.clock()]
        )
        found = await instance.run()
        verify = Verify(self._reader, keys=[*keys, self._signer.clock()], random=self._random)
        report = await verify.database(kept=[*kept, *instance.newest], progress=progress)
        report.absorb(found)
        return report

    def _folder(self) -> Iterator[Diagnosis]:
        loose = [
            name
            for name in SECRETS
            if (self._data / name).exists() and stat.S_IMODE((self._data / name).stat().st_mode) & 0o077
        ]
        if loose:
            yield Diagnosis(
                name="secrets", state="ill", found=f"others can read {', '.join(loose)} in {self._data}",
                advice=f"chmod 600 {' '.join(str(self._data / name) for name in loose)}",
            )  # fmt: skip
        else:
            yield _well("secrets", "only their owner can read them")
        free = shutil.disk_usage(self._data).free
        found = f"{free / 2**30:.1f} GiB free"
        if free < FREE_BYTES_MIN:
            yield Diagnosis(
                name="disk", state="warning", found=found,
                advice="Free space: on a full disk recording answers 503 until there is some.",
            )  # fmt: skip
        else:
            yield _well("disk", found)

    async def _database(self) -> list[Diagnosis]:
        found = await inspect(self._reader, self._now())
        looked_at = (
            ("guards", not found.unguarded, "triggers refuse every change",
             f"missing or switched off on {', '.join(found.unguarded)}",
             "Somebody with the owner's rights did this. Check the whole log below, and enable them again: "
             "ALTER TABLE … ENABLE TRIGGER ALL."),
            ("leaf checks", not found.unchecked, "every leaf hash is tied to its leaf",
             f"missing on {', '.join(found.unchecked)}", "Somebody with the owner's rights did this. Check the whole log."),
            ("rights", not found.rewriters, "no login that writes can rewrite",
             f"{', '.join(found.rewriters)} may change rows of the log", "REVOKE UPDATE, DELETE, TRUNCATE ON audit_logs FROM it."),
            ("fences", not found.unfenced, "rows of organizations are kept apart by the database too",
             f"row-level security is off or changed on {', '.join(found.unfenced)}",
             "Somebody with the owner's rights did this. Put the policies of schema_tenancy.sql back."),
            ("partitions", found.month_is_there, "this month's is there", "this month's is missing",
             "Start the server, which makes it."),
            ("transactions", found.oldest_transaction_seconds < TRANSACTION_SECONDS_MAX, "none is old",
             f"one is open for {found.oldest_transaction_seconds:.0f} s",
             "End it: while it lives the head of each log bloats and appends slow down."),
        )  # fmt: skip
        said = [_well("size", f"{found.size_bytes / 2**20:,.0f} MiB in the database")]
        for name, is_well, well, ill, advice in looked_at:
            said.append(
                _well(name, well) if is_well else Diagnosis(name=name, state="ill", found=ill, advice=advice)
            )
        return said

    async def _signed(self) -> list[Diagnosis]:
        standings = {self._signer.origin(one.organization_id): one for one in await logs.heads(self._reader)}
        sizes = {origin: one.size for origin, one in standings.items()}
        instance = await InstanceLog(self._reader, self._reader, self._signer, now=self._now).standing()
        sizes[self._signer.instance] = 0 if instance is None else instance.size
        behind = [
            f"{origin} has {sizes.get(origin, 0)} of {mark.size} signed events"
            for origin, mark in self._signer.states()
            if sizes.get(origin, 0) < mark.size
        ]
        if behind:
            return [Diagnosis(
                name="signer", state="ill", found="; ".join(behind),
                advice="The database was set back or is another one. Restore a newer backup.",
            )]  # fmt: skip
        signer = _well("signer", f"no log is behind what was signed ({len(standings)} logs)")
        quiet = max(
            (self._now() - one.note_at for one in standings.values() if one.size), default=timedelta()
        )
        if self._running and quiet.total_seconds() > QUIET_SECONDS_MAX:
            return [signer, Diagnosis(
                name="heartbeat", state="ill", found=f"a log has no checkpoint of the last {quiet.total_seconds():.0f} s",
                advice="See the server's /readyz for the reason.",
            )]  # fmt: skip
        heartbeat = f"the quietest log was signed {quiet.total_seconds():.0f} s ago"
        return [signer, _well("heartbeat", heartbeat if self._running else "no server is running")]

    async def _outside(self) -> list[Diagnosis]:
        log = InstanceLog(self._reader, self._reader, self._signer, now=self._now)
        standing = await log.standing()
        said = [_well("instance log", f"{0 if standing is None else standing.size} entries")]
        if self._running and (
            standing is None or (self._now() - standing.signed_at).total_seconds() > QUIET_SECONDS_MAX
        ):
            said = [Diagnosis(
                name="instance log", state="ill", found="it was not signed for minutes",
                advice="See the page About, or GET /metrics, of the running server for the reason.",
            )]  # fmt: skip
        if self._policy is not None and self._policy.witnesses:
            said.append(await self._witnesses(log, self._policy))
        names = [
            f"stamp {name}"
            for name, one in (self._policy.authorities if self._policy else {}).items()
            if one.url
        ]
        for name in (*names, "publish"):
            one = await standing_of(self._reader, name, name)
            if one.failure:
                said.append(
                    Diagnosis(
                        name=name, state="ill", found=one.failure, advice="It is tried again by itself."
                    )
                )
            elif one.done_at is not None:
                said.append(_well(name, f"{one.done}, on {one.done_at:%Y-%m-%d %H:%M} UTC"))
        return said

    async def _witnesses(self, log: InstanceLog, policy: Policy) -> Diagnosis:
        asking = Witnessing(self._reader, self._reader, log, policy, client=AsyncClient, now=self._now)
        quorum = await asking.standing()
        wrong = [
            f"{one.name}: {one.failure or 'nothing heard lately'}"
            for one in quorum.witnesses
            if one.state != "well"
        ]
        found = f"{len(quorum.witnesses) - len(wrong)} of {len(quorum.witnesses)} cosigned lately, needed are {quorum.needed}"
        if any(one.state == "alarm" for one in quorum.witnesses):
            return Diagnosis(
                name="witnesses", state="ill", found="; ".join(wrong),
                advice="A witness knows another history. Was the database restored, or is this a copy? Stop, and compare with a "
                "published copy: docs/how-to/witness.md.",
            )  # fmt: skip
        if not quorum.is_met and self._running:
            return Diagnosis(
                name="witnesses", state="ill", found=f"{found}; {'; '.join(wrong)}",
                advice="Nothing is lost; receipts and exports just carry no fresh cosignature. See that the witnesses run.",
            )  # fmt: skip
        return _well("witnesses", found if not wrong else f"{found}; {'; '.join(wrong)}")
