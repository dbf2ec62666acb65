"""What people change about their own sign-in: password, second factor, recovery codes. Each asks for the password."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from tallystick.errors import Forbidden, Refused, Unauthorized
from tallystick.services.group import Inside
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import actor_of
from tallystick.services.permissions import MEMBERS
from tallystick.services.principal import Principal
from tallystick.services.sign_in import second_factor
from tallystick.services.sign_in.acts import Visit, act, member_target
from tallystick.services.sign_in.links import Links
from tallystick.services.sign_in.passwords import CHARACTERS_MAX, Passwords, require_password
from tallystick.services.sign_in.sealing import Sealer
from tallystick.services.sign_in.sessions import Sessions
from tallystick.services.sign_in.sign_in import TOTP, SignIn
from tallystick.store import sign_in as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.sign_in import Standing


class Offer(Struct, frozen=True, kw_only=True):
    """A second factor that waits for its first code."""

    uri: str
    text: str


class Account:
    """Changes a member's own sign-in; whoever has only a stolen session cannot."""

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        sessions: Sessions,
        sign_in: SignIn,
        passwords: Passwords,
        sealer: Sealer,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._sessions = sessions
        self._sign_in = sign_in
        self._passwords = passwords
        self._sealer = sealer
        self._now = now
        self._random = random

    async def standing(self, principal: Principal) -> Standing:
        """Return how whoever asks signs in."""
        if principal.kind != "member":
            raise Forbidden("Only people have an account; this is a key.", rule="no_member")
        found = await rows.member(self._writer, principal.organization_id, principal.id)
        if found is None:
            raise Unauthorized("This account is closed.")
        return found

    async def change_password(self, principal: Principal, old: str, new: str, visit: Visit) -> None:
        """Set a new password; every other session of the member ends, and this one gets a new id.

        Raises:
            Refused: the old password is wrong, or the new one cannot be used. Nothing was changed.
        """
        standing = await self._confirmed(principal, old, visit)
        require_password(new, email=standing.email)
        digest = await self._passwords.hash(new)

        async def inside(connection: Connection, entries: object) -> None:
            await rows.execute(connection, "set_password", principal.organization_id, principal.id, digest)
            await self._secure(connection, principal)

        await self._record(principal, "password.changed", visit, inside, metadata={"by": "the member"})

    async def offer_second_factor(self, principal: Principal, *, issuer: str) -> Offer:
        """Return the secret to scan, the same one until it is confirmed; it is not in force yet."""
        standing = await self.standing(principal)
        if standing.totp_enabled_at is not None:
            raise Refused("A second factor is set up already. Remove it first.", rule="second_factor")
        if standing.totp_secret is None:
            secret = self._random(second_factor.SECRET_BYTES)
            sealed = self._sealer.seal(TOTP, secret, about=f"{standing.organization_id}/{standing.id}")
            await rows.offer_totp(self._writer, standing.organization_id, standing.id, sealed)
            standing = await self.standing(principal)
        secret = self._sign_in.secret_of(standing)
        uri = second_factor.provisioning_uri(secret, email=standing.email, issuer=issuer)
        return Offer(uri=uri, text=second_factor.text_of(secret))

    async def enable_second_factor(
        self, principal: Principal, code: str, password: str, visit: Visit
    ) -> tuple[str, ...]:
        """Put the offered second factor in force with a code of it; return the recovery codes, shown this once."""
        standing = await self._confirmed(principal, password, visit)
        if standing.totp_enabled_at is not None:
            raise Refused("A second factor is set up already. Remove it first.", rule="second_factor")
        at = self._now()
        step = second_factor.matching_step(
            self._sign_in.secret_of(standing), code[:64], at_seconds=at.timestamp(), last_step=0
        )
        if step is None:
            raise Refused(
                "This code is not right. Check the clock of the phone and enter the code shown now.",
                path="/code",
                rule="code",
            )
        codes = second_factor.new_recovery_codes(self._random)
        digests = [second_factor.recovery_digest(principal.id, one) for one in codes]

        async def inside(connection: Connection, entries: object) -> None:
            where = (principal.organization_id, principal.id)
            if not await rows.execute(connection, "enable_totp", *where, at, step, digests):
                raise Refused("A second factor was set up meanwhile.", rule="second_factor")
            await self._secure(connection, principal)

        await self._record(principal, "second_factor.enabled", visit, inside, after={"kind": "totp"})
        return codes

    async def new_recovery_codes(self, principal: Principal, password: str, visit: Visit) -> tuple[str, ...]:
        """Replace all recovery codes and return the new ones, shown this once."""
        await self._confirmed(principal, password, visit)
        codes = second_factor.new_recovery_codes(self._random)
        digests = [second_factor.recovery_digest(principal.id, one) for one in codes]

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.execute(
                connection, "set_recovery", principal.organization_id, principal.id, digests
            ):
                raise Refused("No second factor is set up.", rule="second_factor")

        await self._record(principal, "second_factor.codes_replaced", visit, inside)
        return codes

    async def disable_second_factor(self, principal: Principal, password: str, visit: Visit) -> None:
        """Remove one's own second factor and its recovery codes."""
        await self._confirmed(principal, password, visit)

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.execute(connection, "disable_totp", principal.organization_id, principal.id):
                raise Refused("No second factor is set up.", rule="second_factor")
            await self._secure(connection, principal)

        await self._record(principal, "second_factor.disabled", visit, inside, before={"kind": "totp"})

    async def reset_second_factor(
        self, principal: Principal, member_id: str, links: Links, visit: Visit
    ) -> None:
        """Remove the second factor of a member who has lost it; for those who manage members and may do no less."""
        principal.require(MEMBERS)
        await links.require_no_more_rights(principal, member_id)

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.execute(connection, "disable_totp", principal.organization_id, member_id):
                raise Refused("This member has no second factor.", rule="second_factor")

        event = act(
            "second_factor.disabled", actor_of(principal), visit, member_target(member_id),
            session_id=principal.session_id, before={"kind": "totp"},
        )  # fmt: skip
        await self._ingest.record_own(principal.organization_id, event, inside=inside)

    async def _confirmed(self, principal: Principal, password: str, visit: Visit) -> Standing:
        """Return how the member signs in once it has shown its password, where it has one."""
        standing = await self.standing(principal)
        if standing.password_hash is None:
            return standing
        self._sign_in.limits.refuse(visit.ip, standing.email)
        if not await self._passwords.matches(password[: CHARACTERS_MAX + 1], standing.password_hash):
            self._sign_in.limits.failed(visit.ip, standing.email)
            event = act(
                "password.refused", actor_of(principal), visit, member_target(principal.id),
                session_id=principal.session_id, outcome="failure", reason="wrong_password",
            )  # fmt: skip
            await self._ingest.record_own(principal.organization_id, event)
            raise Refused(
                "This is not your password. Nothing was changed.", path="/password", rule="password"
            )
        return standing

    async def _secure(self, connection: Connection, principal: Principal) -> None:
        """End the member's other sessions, and have this one get a new id."""
        await self._sessions.revoke_others(principal, connection)
        await rows.execute(connection, "raise_version", principal.organization_id, principal.id)

    async def _record(
        self, principal: Principal, action: str, visit: Visit, inside: Inside, **more: Any
    ) -> None:
        event = act(
            action, actor_of(principal), visit, member_target(principal.id, principal.name),
            session_id=principal.session_id, **more,
        )  # fmt: skip
        await self._ingest.record_own(principal.organization_id, event, inside=inside)
        self._sessions.forget()
