"""Sessions: kept on the server, remembered for less than five seconds, given a new id whenever rights change.

The cookie holds 256 random bits of which SHA-256 is stored. A session ends after 30 minutes without a request, after
12 hours in any case, when it is revoked, and with its member.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from tallystick.errors import NotFound, Unauthorized
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import actor_of
from tallystick.services.permissions import MEMBERS
from tallystick.services.principal import Principal
from tallystick.services.sign_in.acts import Visit, act, member_target, person, session_target
from tallystick.services.sign_in.holdings import holdings_of
from tallystick.store import sessions as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.sign_in import Standing

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
# What the browser asked at the same moment as the request that got the new id still comes with the old one.
GRACE = timedelta(seconds=10)
REMEMBER_SECONDS = 4.0
_REMEMBER_MAX = 4096
_TOUCH_SECONDS = 60.0
_USER_AGENT_MAX = 256
_TOKEN = re.compile(r"tss_[A-Za-z0-9_-]{43}")


class Seen(Struct, frozen=True, kw_only=True):
    """A session that was good a moment ago."""

    principal: Principal
    organization: str
    versions: tuple[int, int]  # the session's, the member's
    last_seen_at: datetime
    expires_at: datetime


class NewSession(Struct, frozen=True, kw_only=True):
    """A session just begun; `token` goes into the cookie and nowhere else."""

    id: str
    token: str


class Sessions:
    """Begins, recognises, renews and ends sessions.

    Args:
        writer: the pool of the writing role: what was revoked a moment ago must be known.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self, writer: Pool, ingest: Ingest, *, now: Callable[[], datetime], random: Callable[[int], bytes]
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._now = now
        self._random = random
        self._remembered: OrderedDict[bytes, tuple[datetime, Seen | None]] = OrderedDict()
        self._organizations: dict[UUID, str] = {}

    async def authenticate(
        self, token: str, *, ip: str | None = None, user_agent: str | None = None
    ) -> Principal:
        """Return the member whose session this is.

        Raises:
            Unauthorized: with one text whether the session is unknown, ended, idle or revoked.
        """
        return (await self._recognise(token)).principal

    async def visit(
        self, token: str, *, ip: str | None, user_agent: str | None
    ) -> tuple[Principal, str | None]:
        """Do as `authenticate`; where rights have changed, return the token of the session's new id as well."""
        seen = await self._recognise(token)
        if seen.versions[0] == seen.versions[1]:
            return seen.principal, None
        fresh, at = self._new(), self._now()
        done = await rows.succeed(
            self._writer,
            seen.principal.organization_id,
            str(seen.principal.session_id),
            version=seen.versions,
            heir=(fresh.id, _digest(fresh.token)),
            at=at,
            grace_until=at + GRACE,
            ip=ip,
            user_agent=(user_agent or "")[:_USER_AGENT_MAX] or None,
        )
        self._remembered.pop(_digest(token), None)
        if not done:  # another request of the same moment has the new id
            return seen.principal, None
        return (await self._recognise(fresh.token)).principal, fresh.token

    async def begin(self, standing: Standing, method: str, visit: Visit, **metadata: Any) -> NewSession:
        """Begin a session for a member who has shown who it is; its log says so in the same transaction."""
        fresh, at = self._new(), self._now()
        row = rows.SessionRow(
            organization_id=standing.organization_id,
            id=fresh.id,
            sha256=_digest(fresh.token),
            member_id=standing.id,
            method=method,
            access_version=standing.access_version,
            created_at=at,
            expires_at=at + ABSOLUTE,
            ip=visit.ip,
            user_agent=(visit.user_agent or "")[:_USER_AGENT_MAX] or None,
        )

        async def inside(connection: Connection, entries: object) -> None:
            await rows.insert(connection, row)

        event = act(
            "signin.succeeded", person(standing), visit, session_target(fresh.id), session_id=fresh.id,
            metadata={"method": method, **metadata},
        )  # fmt: skip
        await self._ingest.record_own(standing.organization_id, event, inside=inside)
        return fresh

    async def sign_out(self, principal: Principal, visit: Visit) -> None:
        """End the session of whoever asks; ending it twice changes nothing."""
        await self._end(principal, str(principal.session_id), visit, "signout.succeeded", principal.id)

    async def own(self, principal: Principal) -> list[dict[str, Any]]:
        """Return the sessions of whoever asks, the newest first; `current` marks the one that asks."""
        at = self._now()
        found = await rows.of_member(
            self._writer, principal.organization_id, principal.id, now=at, idle_since=at - IDLE
        )
        return [{**one, "current": one["id"] == principal.session_id} for one in found]

    async def all(self, principal: Principal) -> list[dict[str, Any]]:
        """Return everybody's sessions, for those who manage members."""
        principal.require(MEMBERS)
        at = self._now()
        return await rows.of_organization(
            self._writer, principal.organization_id, now=at, idle_since=at - IDLE
        )

    async def revoke(self, principal: Principal, session_id: str, visit: Visit) -> None:
        """End a session of one's own, or, for those who manage members, of anybody in the organization.

        Raises:
            NotFound: there is no such session, or it is somebody else's and not yours to end.
        """
        owner = await rows.member_of(self._writer, principal.organization_id, session_id)
        if owner is None or (owner != principal.id and not principal.may(MEMBERS)):
            raise NotFound("There is no such session.")
        await self._end(principal, session_id, visit, "session.revoked", owner)

    async def _end(
        self, principal: Principal, session_id: str, visit: Visit, action: str, owner: str
    ) -> None:
        at = self._now()

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.revoke(connection, principal.organization_id, session_id, at):
                raise _AlreadyEnded("This session has ended already.")

        event = act(
            action, actor_of(principal), visit, session_target(session_id), member_target(owner),
            session_id=principal.session_id,
        )  # fmt: skip
        with suppress(_AlreadyEnded):
            await self._ingest.record_own(principal.organization_id, event, inside=inside)
        self.forget()

    async def revoke_others(self, principal: Principal, connection: Connection) -> int:
        """End all sessions of whoever asks but this one, in a transaction that is under way."""
        return await rows.revoke_others(
            connection, principal.organization_id, principal.id, self._now(), keep=str(principal.session_id)
        )

    def forget(self) -> None:
        """Forget what is remembered: something was revoked on this server."""
        self._remembered.clear()

    def organization_of(self, principal: Principal) -> str:
        """Return the name of the organization of a principal that was recognised here."""
        return self._organizations.get(principal.organization_id, "")

    async def grantors(self, organization_id: UUID) -> list[dict[str, Any]]:
        """Return `display_name` and `email` of those who can give access, owners first, at most five."""
        return await rows.grantors(self._writer, organization_id)

    def _new(self) -> NewSession:
        token = "tss_" + base64.urlsafe_b64encode(self._random(32)).rstrip(b"=").decode()
        return NewSession(id="ses_" + self._random(8).hex(), token=token)

    async def _recognise(self, token: str) -> Seen:
        if not _TOKEN.fullmatch(token):
            raise _unauthorized()
        digest, at = _digest(token), self._now()
        remembered = self._remembered.get(digest)
        if remembered is None or not 0 <= (at - remembered[0]).total_seconds() <= REMEMBER_SECONDS:
            remembered = (at, await self._look_up(digest, at))
            self._remember(digest, remembered)
        seen = remembered[1]
        if seen is None or seen.expires_at <= at:
            raise _unauthorized()
        return seen

    async def _look_up(self, digest: bytes, at: datetime) -> Seen | None:
        row = await rows.find(self._writer, digest)
        if row is None or row["revoked_at"] is not None or row["expires_at"] <= at:
            return None
        if not row["active"] or row["removed_at"] is not None or row["last_seen_at"] + IDLE <= at:
            return None
        organization_id = row["organization_id"]
        if (at - row["last_seen_at"]).total_seconds() > _TOUCH_SECONDS:
            await rows.touch(self._writer, organization_id, row["id"], at)
        held = holdings_of(await rows.holdings(self._writer, organization_id, row["member_id"]))
        self._organizations[organization_id] = row["organization"]
        principal = Principal(
            organization_id=organization_id,
            kind="member",
            id=row["member_id"],
            name=row["display_name"],
            email=row["email"],
            permissions=held.permissions,
            workspaces=held.workspaces,
            grants=held.grants,
            session_id=row["id"],
        )
        return Seen(
            principal=principal,
            organization=row["organization"],
            versions=(row["session_version"], row["access_version"]),
            last_seen_at=row["last_seen_at"],
            expires_at=row["expires_at"],
        )

    def _remember(self, digest: bytes, answer: tuple[datetime, Seen | None]) -> None:
        self._remembered[digest] = answer
        self._remembered.move_to_end(digest)
        if len(self._remembered) > _REMEMBER_MAX:
            self._remembered.popitem(last=False)


class _AlreadyEnded(NotFound):
    """The session ended before; nothing is recorded a second time."""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _unauthorized() -> Unauthorized:
    return Unauthorized("You are not signed in, or your session has ended. Sign in again.")
