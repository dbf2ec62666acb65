"""Time stamps (RFC 3161): an authority signs that a checkpoint of the instance log existed at a moment of its own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import httpx2
from msgspec import Struct

from tallystick.errors import Misconfigured, NotFound, Refused, TryLater
from tallystick.services.instance_log import InstanceLog
from tallystick.services.outside_tasks import Task
from tallystick.services.witnessing import TIMEOUT_SECONDS, Witnessing, post
from tallystick.store import instance_log as stored_log
from tallystick.store import witnesses as stored
from tallystick.store.connect import Pool, transaction
from tallystick.verify.policy import Authority, Policy
from tallystick.verify.stamp import ANSWER_BYTES_MAX, Stamp, stamped_at

CLOCK_SECONDS_MAX = 3600.0
STAMPS_SEARCHED = 20


class Stamped(Struct, frozen=True):
    """A stamp that is kept: the size of the instance log it is over, whose it is, and its time."""

    size: int
    authority: str
    at: datetime


class TimeStamps:
    """Has the instance log stamped by the policy's authorities that have an address, and hands the stamps out.

    Args:
        writer, reader: pools.
        log, witnessing: the instance log, and its checkpoints with their cosignatures.
        policy: names the authorities, each with its root certificate.
        client: makes the client that asks; made at the first use.
        now: the clock, in UTC.
    """

    def __init__(
        self, writer: Pool, reader: Pool, log: InstanceLog, witnessing: Witnessing, policy: Policy | None, *,
        client: Callable[[], httpx2.AsyncClient], now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._writer = writer
        self._reader = reader
        self._log = log
        self._witnessing = witnessing
        self._authorities = (
            {} if policy is None else {name: one for name, one in policy.authorities.items() if one.url}
        )
        self._make_client = client
        self._client: httpx2.AsyncClient | None = None
        self._now = now

    def tasks(self, every_seconds: float) -> list[Task]:
        """Return what is to be done every so often: a stamp of each authority."""
        return [
            Task(
                f"stamp {name}",
                f"asking {name} for a time stamp",
                every_seconds,
                lambda one=one: self.stamp(one),
            )
            for name, one in self._authorities.items()
        ]

    async def stamp(self, authority: Authority) -> str:
        """Have the newest checkpoint stamped, keep the stamp once it is checked, and say so.

        Raises TryLater when the authority cannot be reached, Refused or Tampered when its answer is no stamp of its own over
        this checkpoint, Misconfigured without `rfc3161-client`.
        """
        note = await self._witnessing.to_publish()
        size = self._log.size_of(note)
        if any((one.size, one.authority) == (size, authority.name) for one in await self._newest()):
            return f"nothing new since {size} entries"
        text = (note.partition("\n\n")[0] + "\n").encode()
        request, nonce = _request(text)
        answer = await self._ask(authority.url, request)
        at = await asyncio.to_thread(stamped_at, answer, text, authority.certificate, nonce=nonce)
        if abs((at - self._now()).total_seconds()) > CLOCK_SECONDS_MAX:
            raise Refused(f"its time, {at.isoformat()}, is over an hour away from this server's clock")
        async with transaction(self._writer) as connection:
            await stored_log.keep_checkpoint(connection, size, note, self._now())
            await stored.keep_stamp(connection, stored.StampRow(size, authority.name, at, answer))
        return f"{size} entries existed before {at.isoformat(timespec='seconds')}"

    async def _ask(self, url: str, request: bytes) -> bytes:
        if self._client is None:
            self._client = self._make_client()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS * 2):
                status, body = await post(
                    self._client, url, request, "application/timestamp-query", ANSWER_BYTES_MAX
                )
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise TryLater(f"it cannot be reached: {error or type(error).__name__}") from error
        if status != 200:
            raise Refused(f"it answered {status}")
        return body

    async def _newest(self) -> list[stored.StampRow]:
        async with transaction(self._reader, reading=True) as connection:
            return await stored.stamps(connection, STAMPS_SEARCHED)

    async def newest(self) -> list[Stamped]:
        """Return the newest stamps, newest first."""
        return [Stamped(one.size, one.authority, one.at) for one in await self._newest()]

    async def of_log(self, organization_id: UUID) -> str:
        """Return the newest stamp that covers an organization's log, with the anchor of its checkpoint, as a text to keep.

        Raises NotFound when there is none yet.
        """
        for one in await self._newest():
            async with transaction(self._reader, reading=True) as connection:
                kept = await stored_log.kept_checkpoint(connection, one.size)
            if kept is None:
                continue
            try:
                anchor = await self._log.anchor(organization_id, checkpoint=kept.note)
            except NotFound:
                continue
            return Stamp(one.authority, one.answer, anchor).format()
        raise NotFound("No checkpoint of this log was time-stamped yet.")

    async def stop(self) -> None:
        """Close the connections to authorities."""
        if self._client is not None:
            await self._client.aclose()


def _request(text: bytes) -> tuple[bytes, int]:
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError:
        raise Misconfigured(
            "Time stamps need the package rfc3161-client: install tallystick[timestamps]."
        ) from None
    made = TimestampRequestBuilder().data(text).hash_algorithm(HashAlgorithm.SHA256).build()
    if made.nonce is None:
        raise Refused("the request for a time stamp has no nonce")
    return made.as_bytes(), made.nonce
