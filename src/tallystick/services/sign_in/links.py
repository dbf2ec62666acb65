"""Links that work once: the first owner's, invitations, and those that set a new password.

A link holds 256 random bits of which SHA-256 is kept. Looking at it changes nothing, so that a scanner of mails does
not use it up; sending its form does. The newest link of a member is the only one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Conflict, Forbidden, NotFound, Refused
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import actor_of
from tallystick.services.permissions import MANAGE, MEMBERS, implies
from tallystick.services.principal import Principal
from tallystick.services.sign_in.acts import SERVER, Visit, act, member_target, person
from tallystick.services.sign_in.holdings import holdings_of
from tallystick.services.sign_in.passwords import Passwords, require_password
from tallystick.services.sign_in.sessions import NewSession, Sessions
from tallystick.services.sign_in.sign_in import EMAIL_MAX, fold_email
from tallystick.store import sessions as session_rows
from tallystick.store import sign_in as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.sign_in import Link, Standing

Purpose = Literal["first-admin", "invite", "password-reset"]
LIFETIME = {
    "first-admin": timedelta(hours=24),
    "invite": timedelta(days=7),
    "password-reset": timedelta(hours=24),
}
_TOKEN = re.compile(r"tsl_[A-Za-z0-9_-]{43}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,189}")


class NewLink(Struct, frozen=True, kw_only=True):
    """A link just made; `path` is shown this once and stored nowhere."""

    path: str
    purpose: str
    expires_at: datetime


class Links:
    """Makes and uses links.

    Args:
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        sessions: Sessions,
        passwords: Passwords,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._sessions = sessions
        self._passwords = passwords
        self._now = now
        self._random = random

    def new(self, purpose: Purpose) -> tuple[NewLink, bytes]:
        """Return a new link and the hash to keep, for whoever keeps it in a transaction of its own (`keep`)."""
        token = "tsl_" + base64.urlsafe_b64encode(self._random(32)).rstrip(b"=").decode()
        made = NewLink(
            path=f"/sign-in/link/{token}", purpose=purpose, expires_at=self._now() + LIFETIME[purpose]
        )
        return made, hashlib.sha256(token.encode()).digest()

    async def keep(
        self, connection: Connection, organization_id: UUID, member_id: str, link: NewLink, sha256: bytes
    ) -> None:
        """Keep a link of `new` and void the member's earlier ones."""
        await rows.insert_link(
            connection, organization_id, sha256=sha256, purpose=link.purpose, member_id=member_id, at=self._now(),
            expires_at=link.expires_at,
        )  # fmt: skip

    async def first_admin(self, organization_id: UUID) -> NewLink | None:
        """Return a link that makes the first owner of an organization, None when somebody can sign in there."""
        if await rows.has_members(self._writer, organization_id):
            return None
        link, digest = self.new("first-admin")
        member_id = "mbr_" + self._random(8).hex()

        async def inside(connection: Connection, entries: object) -> None:
            await self.keep(connection, organization_id, member_id, link, digest)

        event = act(
            "signin.link_created",
            SERVER,
            Visit(),
            member_target(member_id),
            metadata={"purpose": link.purpose},
        )
        await self._ingest.record_own(organization_id, event, inside=inside)
        return link

    async def wished(
        self, principal: Principal, visit: Visit, *, member_id: str | None, email: str | None
    ) -> NewLink:
        """Make the link for a member named by id or e-mail address, or the first owner's while nobody can sign in.

        Raises:
            Refused: nobody is named although somebody can sign in.
            Forbidden, NotFound: as `for_member`.
        """
        principal.require(MEMBERS)
        if member_id is not None:
            return await self.for_member(principal, member_id, visit)
        if email is not None:
            folded = fold_email(email)
            for standing in await rows.by_email(self._writer, folded):
                if standing.organization_id == principal.organization_id:
                    return await self.for_member(principal, standing.id, visit)
            raise NotFound("There is no member with this e-mail address who may sign in.")
        principal.require(MANAGE)
        link = await self.first_admin(principal.organization_id)
        if link is None:
            raise Refused(
                "Name the member, by member_id or email: somebody can sign in already.", rule="shape"
            )
        return link

    async def for_member(self, principal: Principal, member_id: str, visit: Visit) -> NewLink:
        """Make a link with which a member sets a new password, or its first one.

        Raises:
            Forbidden: the member may do what `principal` may not; a link to it would be a way to more rights.
            NotFound: there is no such member who may sign in.
        """
        principal.require(MEMBERS)
        standing = await rows.member(self._writer, principal.organization_id, member_id)
        if standing is None:
            raise NotFound(f"There is no member {member_id[:80]} who may sign in.")
        await self.require_no_more_rights(principal, member_id)
        link, digest = self.new("invite" if standing.password_hash is None else "password-reset")

        async def inside(connection: Connection, entries: object) -> None:
            await self.keep(connection, principal.organization_id, member_id, link, digest)

        event = act(
            "signin.link_created", actor_of(principal), visit, member_target(member_id, standing.display_name),
            session_id=principal.session_id, metadata={"purpose": link.purpose},
        )  # fmt: skip
        await self._ingest.record_own(principal.organization_id, event, inside=inside)
        return link

    async def require_no_more_rights(self, principal: Principal, member_id: str) -> None:
        """Raise Forbidden when a member may do what `principal` may not: its sign-in would be a way to more rights."""
        held = holdings_of(await session_rows.holdings(self._writer, principal.organization_id, member_id))
        if not all(implies(principal.permissions, permission) for permission in held.permissions):
            raise Forbidden(
                f"This member may do more than you, so only someone who holds {MANAGE} can do this.",
                rule="more_rights",
            )

    async def find(self, token: str) -> Link:
        """Return a link that still works, for the page that asks what to set; raises NotFound for any other."""
        found = await rows.find_link(self._writer, _digest(token)) if _TOKEN.fullmatch(token) else None
        if found is None or found.used_at is not None or found.expires_at <= self._now() or not found.open:
            raise _gone()
        return found

    async def use(
        self, token: str, password: str, visit: Visit, *, name: str = "", email: str = ""
    ) -> NewSession:
        """Set a password with a link and sign in; other sessions of the member end.

        Raises:
            NotFound: the link was used, is expired or void, with one text.
            Refused: the password, name or address cannot be used; the link still works.
        """
        link = await self.find(token)
        address = fold_email(email) if link.purpose == "first-admin" else link.email or ""
        require_password(password, email=address)
        digest = await self._passwords.hash(password)
        if link.purpose == "first-admin":
            standing = await self._make_first(link, token, digest, visit, name=name, email=address)
        else:
            standing = await self._set_password(
                link, token, digest, visit, name=name or link.display_name or ""
            )
        return await self._sessions.begin(standing, "link", visit, purpose=link.purpose)

    async def _make_first(
        self, link: Link, token: str, digest: str, visit: Visit, *, name: str, email: str
    ) -> Standing:
        require_email(email)
        name = _require_name(name)

        async def inside(connection: Connection, entries: object) -> None:
            await self._take(connection, link, token)
            where = (link.organization_id, link.member_id)
            if not await rows.execute(connection, "insert_first", *where, email, name, digest):
                raise Conflict(
                    "Somebody has become the first owner already. Ask them for an invitation.",
                    rule="first_owner",
                )

        standing = _standing(link, email, name, digest)
        event = act(
            "member.added", person(standing), visit, member_target(link.member_id, name),
            after={"role": "OWNER"}, metadata={"by": "first-admin link"},
        )  # fmt: skip
        await self._ingest.record_own(link.organization_id, event, inside=inside)
        return standing

    async def _set_password(
        self, link: Link, token: str, digest: str, visit: Visit, *, name: str
    ) -> Standing:
        standing = await rows.member(self._writer, link.organization_id, link.member_id)
        if standing is None:
            raise _gone()
        name = _require_name(name)

        async def inside(connection: Connection, entries: object) -> None:
            await self._take(connection, link, token)
            where = (link.organization_id, link.member_id)
            await rows.execute(connection, "set_password", *where, digest)
            await rows.execute(connection, "set_name", *where, name)
            await session_rows.revoke_others(connection, *where, self._now())

        action = "invitation.accepted" if link.purpose == "invite" else "password.changed"
        event = act(
            action,
            person(standing),
            visit,
            member_target(standing.id, name),
            metadata={"by": f"{link.purpose} link"},
        )
        await self._ingest.record_own(link.organization_id, event, inside=inside)
        self._sessions.forget()
        return standing

    async def _take(self, connection: Connection, link: Link, token: str) -> None:
        at = self._now()
        if not await rows.execute(connection, "use_link", link.organization_id, _digest(token), at):
            raise _gone()


def require_email(email: str) -> None:
    """Raise Refused unless `email` has the shape of an e-mail address."""
    if len(email) > EMAIL_MAX or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise Refused(
            "This is no e-mail address. Write it like ada@example.com.", path="/email", rule="email"
        )


def _require_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 256 or not name.isprintable():
        raise Refused("A name has 1 to 256 characters.", path="/name", rule="name")
    return name


def _standing(link: Link, email: str, name: str, digest: str) -> Standing:
    return Standing(
        organization_id=link.organization_id, id=link.member_id, email=email, display_name=name, role="OWNER",
        access_version=0, password_hash=digest, totp_secret=None, totp_enabled_at=None, totp_last_step=None,
        recovery_code_hashes=[], organization=link.organization, only_oidc=False,
    )  # fmt: skip


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _gone() -> NotFound:
    return NotFound(
        "This link does not work: it was used, has expired or was replaced by a newer one. Ask an admin of your "
        "organization for another."
    )
