"""Sign-in with a password and, where it is set up, a second factor.

An e-mail address may belong to members of several organizations, each with a password of its own: whoever matches
chooses. What is under way between two pages travels sealed in a cookie, so that any server can take the next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Forbidden, Unauthorized
from tallystick.services.ingest import Ingest
from tallystick.services.sign_in import second_factor
from tallystick.services.sign_in.acts import Visit, act, person, stranger
from tallystick.services.sign_in.limits import Limits
from tallystick.services.sign_in.passwords import CHARACTERS_MAX, Passwords
from tallystick.services.sign_in.sealing import Sealer
from tallystick.services.sign_in.sessions import NewSession, Sessions
from tallystick.store import sign_in as rows
from tallystick.store.connect import Pool
from tallystick.store.sign_in import Standing

PENDING = "sign-in under way"
TOTP = "second factor"
PENDING_SECONDS = 300
EMAIL_MAX = 254
# A refusal takes this long, or a whole multiple of it, whatever was wrong.
REFUSAL_SECONDS = 0.5


class Pending(Struct, frozen=True, kw_only=True):
    """A sign-in whose password was right: who it may be, and since when."""

    members: tuple[tuple[UUID, str], ...]
    method: str
    at: datetime
    to: str = "/"


class Step(Struct, frozen=True, kw_only=True):
    """What comes next: a session, or a choice of organization, or a code."""

    session: NewSession | None = None
    choices: tuple[Standing, ...] = ()
    wants_code: bool = False
    pending: Pending | None = None


class SignIn:
    """Signs people in.

    Args:
        home: the organization whose log keeps failures of addresses that nobody has.
        monotonic: seconds that never go back, for the limits and for even answers.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        sessions: Sessions,
        passwords: Passwords,
        sealer: Sealer,
        *,
        home: UUID,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._sessions = sessions
        self._passwords = passwords
        self._sealer = sealer
        self._home = home
        self._now = now
        self._monotonic = monotonic
        self.limits = Limits(monotonic)

    async def with_password(self, email: str, password: str, visit: Visit, *, to: str = "/") -> Step:
        """Take an e-mail address and a password.

        Raises:
            Unauthorized: with one text, after the same time, whatever was wrong; rule `attempts` while too much failed.
        """
        started = self._monotonic()
        email = fold_email(email)
        self.limits.refuse(visit.ip, email)
        found = await rows.by_email(self._writer, email) if 0 < len(email) <= EMAIL_MAX else []
        right = await self._whose_password(found, password)
        if not right:
            await self._failed(email, found, visit)
            await self._even_out(started)
            raise _refused()
        pending = Pending(
            members=tuple((one.organization_id, one.id) for one in right),
            method="password",
            at=self._now(),
            to=to,
        )
        return await self._next(pending, right, visit)

    async def _whose_password(self, found: list[Standing], password: str) -> list[Standing]:
        if not 0 < len(password) <= CHARACTERS_MAX:
            password = ""  # matches nothing and takes as long
        right: list[Standing] = []
        if not found:
            await self._passwords.matches(password, None)
        for one in found:
            kept = None if one.only_oidc else one.password_hash
            if await self._passwords.matches(password, kept):
                right.append(one)
                if self._passwords.is_dated(str(kept)):
                    fresh = await self._passwords.hash(password)
                    await rows.freshen_password(self._writer, one.organization_id, one.id, str(kept), fresh)
        return right

    async def choose(self, pending: Pending, organization_id: UUID, visit: Visit) -> Step:
        """Go on as the member of one organization among those whose password was right."""
        members = [one for one in pending.members if one[0] == organization_id]
        if not members or self.is_stale(pending):
            raise _too_late()
        standing = await rows.member(self._writer, *members[0])
        if standing is None or standing.only_oidc:
            raise _too_late()
        return await self._next(
            Pending(members=(members[0],), method=pending.method, at=pending.at, to=pending.to),
            [standing],
            visit,
        )

    async def choices(self, pending: Pending) -> tuple[Standing, ...]:
        """Return the members among whom a person may choose, for showing the page again."""
        if self.is_stale(pending):
            raise _too_late()
        found = [await rows.member(self._writer, *one) for one in pending.members]
        return tuple(one for one in found if one is not None and not one.only_oidc)

    async def with_code(self, pending: Pending, code: str, visit: Visit) -> NewSession:
        """Take a code of the second factor, or a recovery code; each is good once.

        Raises:
            Unauthorized: the code is wrong or used, with one text and after the same time; or it took too long.
        """
        started = self._monotonic()
        if len(pending.members) != 1 or self.is_stale(pending):
            raise _too_late()
        standing = await rows.member(self._writer, *pending.members[0])
        if standing is None or standing.totp_enabled_at is None or standing.only_oidc:
            raise _too_late()
        self.limits.refuse(visit.ip, standing.email)
        method = await self._take_code(standing, code)
        if method is None:
            await self._failed(standing.email, [standing], visit, reason="wrong_code")
            await self._even_out(started)
            raise Unauthorized("This code is not right, or it was used before. Enter the one shown now.")
        return await self._begin(standing, f"{pending.method}+{method}", visit)

    async def _take_code(self, standing: Standing, code: str) -> str | None:
        where = (standing.organization_id, standing.id)
        code = code[:64]
        step = second_factor.matching_step(
            self.secret_of(standing), code, at_seconds=self._now().timestamp(),
            last_step=standing.totp_last_step or 0,
        )  # fmt: skip
        recovery = second_factor.matching_recovery(standing.id, code, standing.recovery_code_hashes)
        if step is not None and await rows.take(self._writer, "use_step", *where, step):
            return "totp"
        if recovery is not None and await rows.take(self._writer, "use_recovery", *where, recovery):
            return "recovery"
        return None

    def secret_of(self, standing: Standing) -> bytes:
        """Return the opened secret of a member's second factor."""
        if standing.totp_secret is None:
            raise Forbidden("No second factor is set up.", rule="second_factor")
        return self._sealer.open(
            TOTP, standing.totp_secret, about=f"{standing.organization_id}/{standing.id}"
        )

    async def _next(self, pending: Pending, right: list[Standing], visit: Visit) -> Step:
        if len(right) > 1:
            return Step(choices=tuple(right), pending=pending)
        if right[0].totp_enabled_at is not None:
            return Step(wants_code=True, pending=pending)
        return Step(session=await self._begin(right[0], pending.method, visit))

    async def _begin(self, standing: Standing, method: str, visit: Visit) -> NewSession:
        session = await self._sessions.begin(standing, method, visit)
        self.limits.forget(standing.email)
        return session

    async def _failed(
        self, email: str, found: list[Standing], visit: Visit, *, reason: str | None = None
    ) -> None:
        closes = self.limits.failed(visit.ip, email)
        for organization_id, actor, why in self._blamed(email, found, reason):
            event = act("signin.failed", actor, visit, outcome="failure", reason=why)
            await self._ingest.record_own(organization_id, event)
            if closes:
                locked = act(
                    "signin.locked", actor, visit, outcome="denied", reason="attempts",
                    metadata={"locked": "too many failed attempts from this address or for this e-mail address"},
                )  # fmt: skip
                await self._ingest.record_own(organization_id, locked)

    def _blamed(self, email: str, found: list[Standing], reason: str | None) -> list[tuple]:
        if not found:
            return [(self._home, stranger(email), reason or "unknown_email")]
        return [
            (one.organization_id, person(one), reason or ("only_oidc" if one.only_oidc else "wrong_password"))
            for one in found
        ]

    async def _even_out(self, started: float) -> None:
        """Wait until a whole multiple of the time a refusal takes, so that its length tells nothing."""
        taken = self._monotonic() - started
        await asyncio.sleep(REFUSAL_SECONDS - taken % REFUSAL_SECONDS)

    def is_stale(self, pending: Pending) -> bool:
        """Tell whether a sign-in under way has taken too long."""
        return not timedelta() <= self._now() - pending.at <= timedelta(seconds=PENDING_SECONDS)

    def seal(self, pending: Pending) -> str:
        """Return a sign-in under way as a cookie's value."""
        return self._sealer.seal_text(PENDING, pending)

    def open(self, text: str | None) -> Pending:
        """Return the sign-in under way of a cookie; raises Unauthorized when there is none, or it took too long."""
        pending = None if text is None else self._sealer.open_text(PENDING, text, Pending)
        if pending is None or self.is_stale(pending):
            raise _too_late()
        return pending


def fold_email(email: str) -> str:
    """Return an e-mail address as members keep it: without space around it, in lower case."""
    return email.strip().lower()


def _refused() -> Unauthorized:
    return Unauthorized("This e-mail address and password do not match. Check both and try again.")


def _too_late() -> Unauthorized:
    return Unauthorized("This sign-in took too long. Begin again.", rule="too_late")
