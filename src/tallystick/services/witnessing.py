"""Asking witnesses: the instance log's checkpoint is sent to each, and what they sign is kept and served.

A witness that lags, lies or is away keeps nobody waiting: each is asked in its own time, with back-off. What matters is
whether the policy's quorum is reached; when it is not, operators see it. A witness that refuses because histories differ
raises an alarm: this server was set back, shows two histories, or the witness is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import httpx2
from msgspec import Struct

from tallystick.errors import AuditError, NotFound, Refused, Tampered
from tallystick.merkle.tree import SIZE_MAX
from tallystick.merkle.witness import (
    ANSWER_BYTES_MAX,
    AddCheckpoint,
    parse_size,
    read_cosignature,
    with_lines,
)
from tallystick.services import instance_tree as tree
from tallystick.services.instance_log import InstanceLog
from tallystick.store import instance_log as stored_log
from tallystick.store import witnesses as stored
from tallystick.store.connect import EVERY, Pool, transaction
from tallystick.verify.policy import NONE, Policy, Witness

ROUND_SECONDS = 2.0
AGAIN_SECONDS = 120.0  # a quiet log is cosigned again, so that quiet hours are witnessed too
FRESH_SECONDS = 600.0
LEASE_SECONDS = 60.0
TIMEOUT_SECONDS = 10.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 5.0, 600.0
CLOCK_SECONDS_MAX = 3600.0
TRIES_MAX = 4
SIZES_SEARCHED = 100
FAILURE_CHARS_MAX = 500
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

State = Literal["well", "late", "alarm"]


class HistoriesDiffer(Tampered):
    """A witness has cosigned another history than the one this server has."""

    rule = "witness"


class WitnessStanding(Struct, frozen=True, kw_only=True):
    """Where a witness stands: its name in the policy, its key and address, what it cosigned last and when.

    `size` is -1 before its first cosignature. `failure` is what it or the way to it said last, "" when all is well.
    """

    name: str
    key: str
    url: str
    size: int
    at: datetime | None
    state: State
    failure: str


class QuorumStanding(Struct, frozen=True, kw_only=True):
    """Whether enough witnesses have cosigned lately: what the policy demands in words, and the newest size that has it."""

    needed: str
    is_met: bool
    size: int
    at: datetime | None
    witnesses: list[WitnessStanding]


class Witnessing:
    """Keeps the witnesses of `policy` up to date; with no policy there is nothing to do.

    Args:
        writer, reader: pools.
        log: the instance log.
        policy: the witnesses with their addresses, and the quorum.
        client: makes the client that asks; made at the first use.
        now: the clock, in UTC.
    """

    def __init__(
        self, writer: Pool, reader: Pool, log: InstanceLog, policy: Policy | None, *,
        client: Callable[[], httpx2.AsyncClient], now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._writer = writer
        self._reader = reader
        self._log = log
        self._policy = policy or Policy(quorum=NONE)
        self._make_client = client
        self._client: httpx2.AsyncClient | None = None
        self._now = now

    @property
    def asked(self) -> list[Witness]:
        """The witnesses that have an address."""
        return [one for one in self._policy.witnesses.values() if one.url]

    async def round(self) -> None:
        """Ask every witness whose turn it is, all at once."""
        if not self.asked:
            return
        head = await self._head()
        if head is not None:
            rows = {row.name: row for row in await stored.standings(self._reader)}
            due = [one for one in self.asked if self._is_due(head, rows.get(one.key.name))]
            await asyncio.gather(*(self._turn(one) for one in due))

    def _is_due(self, head: stored_log.InstanceHead, row: stored.WitnessRow | None) -> bool:
        at = self._now()
        if row is None:
            return True
        is_old = (at - row.cosigned_at).total_seconds() >= AGAIN_SECONDS
        return row.next_at <= at and (head.size != row.cosigned_size or is_old or row.alarm)

    async def _turn(self, witness: Witness) -> None:
        at = self._now()
        row = await stored.claim(self._writer, witness.key.name, at, at + timedelta(seconds=LEASE_SECONDS))
        if row is None:
            return
        said = [row.said_size]
        try:
            await self._submit(witness, said)
        except (AuditError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            await self._note(row, said[0], error)

    async def _note(self, row: stored.WitnessRow, said: int, error: Exception) -> None:
        alarm = isinstance(error, HistoriesDiffer)
        text = (
            str(error)
            if isinstance(error, AuditError)
            else f"it cannot be reached: {error or type(error).__name__}"
        )
        wait = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** min(row.failures, 10))
        next_at = self._now() + timedelta(seconds=wait)
        await stored.failed(
            self._writer, row.name, said, text[:FAILURE_CHARS_MAX], alarm=alarm, next_at=next_at
        )

    async def _submit(self, witness: Witness, said: list[int]) -> None:
        """Ask until the witness and we speak of the same old size; `said` ends as what the witness says it has."""
        refused_at = -1
        for _ in range(TRIES_MAX):
            head = await self._head()
            assert head is not None
            if said[0] > head.size:
                raise HistoriesDiffer(
                    f"it has cosigned {said[0]} entries, this server's instance log has {head.size}: the database was set "
                    "back, or is a copy, or the witness is wrong"
                )
            if refused_at == said[0] == head.size:
                raise HistoriesDiffer(
                    f"it has cosigned another history of {head.size} entries than this server has"
                )
            status, body = await self._ask(witness, head, said[0])
            if status == 200:
                return await self._keep(witness, head, body)
            if status == 422:
                raise HistoriesDiffer(
                    f"the instance log of {head.size} entries does not continue the {said[0]} entries it has cosigned"
                )
            if status != 409:
                raise Refused(f"it answered {status}: {body[:200].decode('utf-8', 'replace').strip()}")
            refused_at, said[0] = said[0], parse_size(body)
        raise Refused("it names another old size at every try")

    async def _ask(self, witness: Witness, head: stored_log.InstanceHead, old: int) -> tuple[int, bytes]:
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            proof = await tree.consistency_proof(connection, old, head.size)
        if self._client is None:
            self._client = self._make_client()
        body = AddCheckpoint(old, tuple(proof), head.note).format().encode()
        url = witness.url.rstrip("/") + "/add-checkpoint"
        async with asyncio.timeout(TIMEOUT_SECONDS * 2):
            return await post(self._client, url, body, "text/plain; charset=utf-8", ANSWER_BYTES_MAX)

    async def _keep(self, witness: Witness, head: stored_log.InstanceHead, body: bytes) -> None:
        text = head.note.partition("\n\n")[0] + "\n"
        line, seconds = read_cosignature(body, text, witness.key)
        if abs(seconds - self._now().timestamp()) > CLOCK_SECONDS_MAX:
            raise Refused("the time it signed is over an hour away from this server's clock")
        at = datetime.fromtimestamp(seconds, UTC)
        async with transaction(self._writer) as connection:
            await stored_log.keep_checkpoint(connection, head.size, head.note, head.note_at)
            came_at = self._now()
            await stored.succeeded(
                connection, witness.key.name, head.size, line,
                at=at, came_at=came_at, next_at=came_at + timedelta(seconds=ROUND_SECONDS / 2),
            )  # fmt: skip

    async def _head(self) -> stored_log.InstanceHead | None:
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            head = await stored_log.head(connection)
        return head if head is not None and head.note else None

    async def newest(self) -> str:
        """Return the newest checkpoint with the cosignatures it has so far; raises NotFound before the first one."""
        note = await self._log.checkpoint()
        return await self._cosigned(self._log.size_of(note), note)

    async def witnessed(self) -> str:
        """Return the newest checkpoint that has the policy's quorum; raises NotFound before there is one."""
        found = await self._newest_with_quorum()
        if found is None:
            raise NotFound(
                "No checkpoint of the instance log has the cosignatures that the policy demands yet."
            )
        async with transaction(self._reader, reading=True) as connection:
            kept = await stored_log.kept_checkpoint(connection, found.size)
        if kept is None:
            raise Tampered(f"the checkpoint of {found.size} entries was cosigned, but is not kept any more")
        return await self._cosigned(found.size, kept.note)

    async def to_publish(self) -> str:
        """Return the checkpoint to give away: the newest with a quorum where the policy demands one, else the newest."""
        if self._policy.quorum != NONE:
            with suppress(NotFound):
                return await self.witnessed()
        return await self.newest()

    async def _cosigned(self, size: int, note: str) -> str:
        async with transaction(self._reader, reading=True) as connection:
            return with_lines(note, await stored.cosignature_lines(connection, size))

    async def _newest_with_quorum(self) -> stored.CosignedSize | None:
        if not self._policy.witnesses:
            return None
        async with transaction(self._reader, reading=True) as connection:
            sizes = await stored.cosigned_sizes(connection, SIZES_SEARCHED)
        return next((one for one in sizes if self._policy.is_met(self._names(one.witnesses))), None)

    def _names(self, keys: Sequence[str]) -> frozenset[str]:
        return frozenset(one.name for one in self._policy.witnesses.values() if one.key.name in keys)

    async def anchor(self, organization_id: UUID, *, size: int = SIZE_MAX) -> str:
        """Return the proof that an organization's checkpoint of at most `size` events is in the instance log.

        Under the newest checkpoint with a quorum where the policy demands one and there is one that has the organization,
        else under the newest. Raises NotFound when no checkpoint of the organization is in the instance log yet.
        """
        with suppress(NotFound):
            return await self._log.anchor(organization_id, size=size, checkpoint=await self.to_publish())
        return await self._log.anchor(organization_id, size=size, checkpoint=await self.newest())

    async def standing(self) -> QuorumStanding:
        """Return where every witness of the policy stands, and whether enough of them have cosigned lately."""
        rows = {row.name: row for row in await stored.standings(self._reader)}
        head = await self._head()
        found = [self._standing(one, rows.get(one.key.name), head) for one in self._policy.witnesses.values()]
        newest = await self._newest_with_quorum()
        fresh = frozenset(one.name for one in found if one.state == "well")
        return QuorumStanding(
            needed=self._policy.needed(),
            is_met=self._policy.is_met(fresh),
            size=-1 if newest is None else newest.size,
            at=None if newest is None else newest.at,
            witnesses=found,
        )

    def _standing(
        self, one: Witness, row: stored.WitnessRow | None, head: stored_log.InstanceHead | None
    ) -> WitnessStanding:
        at = _NEVER if row is None else row.cosigned_at
        is_fresh = (self._now() - at).total_seconds() < FRESH_SECONDS
        state: State = "alarm" if row is not None and row.alarm else "well" if is_fresh else "late"
        failure = "" if row is None else row.failure
        if not one.url:
            failure = "the policy names no address for it"
        return WitnessStanding(
            name=one.name, key=one.key.format(), url=one.url, size=-1 if row is None else row.cosigned_size,
            at=None if at == _NEVER else at, state=state, failure=failure,
        )  # fmt: skip

    async def run(self, round_seconds: float = ROUND_SECONDS) -> None:
        """Ask round by round until cancelled."""
        while self.asked:
            with suppress(
                AuditError
            ):  # the database is away, which readiness says; the next round asks again
                await self.round()
            await asyncio.sleep(round_seconds)

    async def stop(self) -> None:
        """Close the connections to witnesses."""
        if self._client is not None:
            await self._client.aclose()


class Answered(NamedTuple):
    """A server's answer: its status and its body, cut off never."""

    status: int
    body: bytes


async def post(client: httpx2.AsyncClient, url: str, body: bytes, media_type: str, limit: int) -> Answered:
    """Post bytes and return the answer; raises Refused when its body is over `limit` bytes, httpx2.HTTPError otherwise."""
    found = b""
    async with client.stream("POST", url, content=body, headers={"Content-Type": media_type}) as answer:
        async for piece in answer.aiter_bytes():
            found += piece
            if len(found) > limit:
                raise Refused(f"it answered with more than {limit} bytes")
    return Answered(answer.status_code, found)
