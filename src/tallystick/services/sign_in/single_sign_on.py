"""Sign-in through an organization's identity provider.

Who comes back is, in this order: the member that provider and subject are known of; the member with the same e-mail
address, when the provider has verified it; a new member, when a group (or `*`) of the mapping gives it a role. With a
mapping the provider decides the role at every sign-in, except that the last owner stays one.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from tallystick.errors import AuditError, NotFound, Refused
from tallystick.event.model import Actor
from tallystick.services.ingest import Ingest
from tallystick.services.sign_in.acts import Visit, act, member_target
from tallystick.services.sign_in.group_roles import groups_in, role_for
from tallystick.services.sign_in.links import require_email
from tallystick.services.sign_in.oidc import BadAnswer, Flow, Oidc, Provider
from tallystick.services.sign_in.sealing import Sealer
from tallystick.services.sign_in.sessions import NewSession, Sessions
from tallystick.services.sign_in.sign_in import fold_email
from tallystick.store import providers as rows
from tallystick.store import sign_in as member_rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.providers import Known, ProviderRow

SECRET = "client secret of an identity provider"  # noqa: S105 - the purpose it is sealed for
FLOW = "single sign-on under way"
FLOW_SECONDS = 600
_USED_MAX = 20_000
NO_ROLE = "MEMBER"


class Underway(Struct, frozen=True, kw_only=True):
    """A browser that was sent to a provider, and where it goes afterwards."""

    organization_id: UUID
    provider_id: str
    flow: Flow
    at: datetime
    to: str


class Choice(Struct, frozen=True, kw_only=True):
    """A provider as the sign-in page offers it."""

    organization_id: UUID
    id: str
    display_name: str


class Person(Struct, frozen=True, kw_only=True):
    """What a provider says of somebody."""

    subject: str
    email: str | None
    is_verified: bool
    name: str
    groups: tuple[str, ...] | None


class SingleSignOn:
    """Signs people in by another's word.

    Args:
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        sessions: Sessions,
        sealer: Sealer,
        oidc: Oidc,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._sessions = sessions
        self._sealer = sealer
        self._oidc = oidc
        self._now = now
        self._random = random
        self._used: OrderedDict[str, datetime] = OrderedDict()

    async def choices(self, organization_id: UUID | None) -> tuple[str | None, list[Choice]]:
        """Return an organization's name and providers; without one those of the server's only organization."""
        if organization_id is None:
            found = await rows.shown(self._writer)
            return None, [_choice(one) for one in found]
        name = await rows.organization(self._writer, organization_id)
        found = await rows.of_organization(self._writer, organization_id)
        # An organization that is not there looks like one without a provider.
        return (name if found else None), [_choice(one) for one in found]

    async def begin(
        self, organization_id: UUID, provider_id: str, redirect_uri: str, *, to: str
    ) -> tuple[str, str]:
        """Return the provider's address to go to, and the sealed text to keep in a cookie until the way back."""
        row = await self._provider(organization_id, provider_id)
        url, flow = await self._oidc.begin(self._opened(row), redirect_uri)
        underway = Underway(
            organization_id=organization_id, provider_id=provider_id, flow=flow, at=self._now(), to=to
        )
        return url, self._sealer.seal_text(FLOW, underway)

    async def finish(
        self, sealed: str | None, answer: Mapping[str, str], visit: Visit
    ) -> tuple[NewSession, str]:
        """Sign in whoever has come back from a provider; return the session and where to go.

        Raises:
            Refused: the browser did not begin this, it took too long, the provider's word is not good, or nobody here
                is meant. What concerns an organization is in its log.
        """
        underway = None if sealed is None else self._sealer.open_text(FLOW, sealed, Underway)
        if underway is None or not timedelta() <= self._now() - underway.at <= timedelta(
            seconds=FLOW_SECONDS
        ):
            raise BadAnswer(
                "no_flow", "This browser did not begin this sign-in, or it took too long. Begin again."
            )
        try:
            if not hmac.compare_digest(answer.get("state", "").encode(), underway.flow.state.encode()):
                raise BadAnswer(
                    "bad_state", "This answer is not to the sign-in that this browser began. Begin again."
                )
            self._use(underway.flow.state)
            row = await self._provider(underway.organization_id, underway.provider_id)
            claims = await self._oidc.finish(self._opened(row), underway.flow, answer)
            told = person_of(claims, row.groups_claim)
            session = await self._admit(row, told, visit)
        except BadAnswer as error:
            await self._failed(underway, error, visit)
            raise
        return session, underway.to

    def _use(self, state: str) -> None:
        """Take an answer once, also when the provider would take its code twice."""
        at = self._now()
        while self._used and (
            len(self._used) >= _USED_MAX
            or at - next(iter(self._used.values())) > timedelta(seconds=FLOW_SECONDS)
        ):
            self._used.popitem(last=False)
        if state in self._used:
            raise BadAnswer("replayed", "This answer was used before. Begin again.")
        self._used[state] = at

    async def _admit(self, row: ProviderRow, told: Person, visit: Visit) -> NewSession:
        found = await self._member(row, told, visit)
        role = self._role(row, told)
        if role is not None and role != found.role:
            await self._give_role(row, found, role, visit)
        standing = await member_rows.member(self._writer, row.organization_id, found.id)
        if standing is None:
            raise _nobody("closed", "Your account here is closed. Ask an owner of the organization.", told)
        return await self._sessions.begin(standing, "oidc", visit, provider=row.id)

    def _role(self, row: ProviderRow, told: Person) -> str | None:
        if not row.group_roles or told.groups is None:
            return None
        return role_for(told.groups, row.group_roles) or NO_ROLE

    async def _member(self, row: ProviderRow, told: Person, visit: Visit) -> Known:
        is_trusted = told.email is not None and (told.is_verified or row.trust_email)
        by_subject, by_email = await rows.known(
            self._writer, row.organization_id, row.issuer, told.subject, told.email
        )
        if by_subject is not None:
            return by_subject
        if by_email is None:
            return await self._make(row, told, visit)
        if not is_trusted:
            raise _nobody(
                "unverified_email",
                "The identity provider did not say that your e-mail address is verified, so it cannot be matched to "
                "the member who has it. Ask an owner of the organization.",
                told,
            )
        if by_email.oidc_subject is not None:
            raise _nobody(
                "other_subject",
                "The member with your e-mail address belongs to another account of an identity provider. Ask an owner "
                "of the organization.",
                told,
            )
        await self._link(row, by_email, told, visit)
        return by_email

    async def _link(self, row: ProviderRow, known: Known, told: Person, visit: Visit) -> None:
        async def inside(connection: Connection, entries: object) -> None:
            where = (row.organization_id, known.id)
            if not await rows.execute(connection, "link", *where, row.issuer, told.subject):
                raise _nobody(
                    "closed", "Your account here is closed. Ask an owner of the organization.", told
                )

        event = act(
            "member.linked", _actor(known.id, told), visit, member_target(known.id, known.display_name),
            after={"issuer": row.issuer, "subject": told.subject},
        )  # fmt: skip
        await self._ingest.record_own(row.organization_id, event, inside=inside)

    async def _make(self, row: ProviderRow, told: Person, visit: Visit) -> Known:
        role = role_for(told.groups or (), row.group_roles)
        if role is None:
            raise _nobody(
                "not_invited",
                "The identity provider knows you, but nobody has invited you here. Ask an owner of the organization.",
                told,
            )
        if told.email is None:
            raise _nobody("no_email", "The identity provider did not tell your e-mail address.", told)
        require_email(told.email)
        member_id = "mbr_" + self._random(8).hex()
        name = told.name or told.email

        async def inside(connection: Connection, entries: object) -> None:
            values = (row.organization_id, member_id, told.email, name, role, row.issuer, told.subject)
            if not await rows.execute(connection, "admit", *values):
                raise _nobody("twice", "You are signing in twice at the same moment. Begin again.", told)

        event = act(
            "member.added", _actor(member_id, told), visit, member_target(member_id, name), after={"role": role},
            metadata={"by": "identity provider", "provider": row.id},
        )  # fmt: skip
        await self._ingest.record_own(row.organization_id, event, inside=inside)
        return Known(
            id=member_id, email=told.email, display_name=name, role=role, active=True, removed_at=None,
            oidc_issuer=row.issuer, oidc_subject=told.subject,
        )  # fmt: skip

    async def _give_role(self, row: ProviderRow, known: Known, role: str, visit: Visit) -> None:
        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.execute(connection, "set_role", row.organization_id, known.id, role):
                raise _Unchanged("The role stays: it is the last owner's, or was changed meanwhile.")

        event = act(
            "member.role_changed", Actor(type="system", name=row.display_name), visit,
            member_target(known.id, known.display_name), before={"role": known.role}, after={"role": role},
            metadata={"by": "groups of the identity provider", "provider": row.id},
        )  # fmt: skip
        try:
            await self._ingest.record_own(row.organization_id, event, inside=inside)
        except _Unchanged:
            return
        self._sessions.forget()

    async def _failed(self, underway: Underway, error: BadAnswer, visit: Visit) -> None:
        told = error.told if isinstance(error, NotAdmitted) else None
        actor = Actor(
            type="anonymous", name=None if told is None else told.name or None, email=None if told is None else told.email
        )  # fmt: skip
        event = act(
            "signin.failed", actor, visit, outcome="failure", reason=error.reason, message=str(error),
            metadata={"method": "oidc", "provider": underway.provider_id},
        )  # fmt: skip
        await self._ingest.record_own(underway.organization_id, event)

    async def _provider(self, organization_id: UUID, provider_id: str) -> ProviderRow:
        for row in await rows.of_organization(self._writer, organization_id):
            if row.id == provider_id:
                return row
        raise NotFound("There is no such identity provider.")

    def _opened(self, row: ProviderRow) -> Provider:
        secret = None
        if row.client_secret is not None:
            about = f"{row.organization_id}/{row.id}"
            secret = self._sealer.open(SECRET, row.client_secret, about=about).decode()
        return Provider(issuer=row.issuer, client_id=row.client_id, client_secret=secret)


def person_of(claims: Mapping[str, Any], groups_claim: str) -> Person:
    """Return what checked claims say of somebody; texts that no member could have are left out."""
    email = claims.get("email")
    email = fold_email(email) if isinstance(email, str) else None
    try:
        require_email(email or "")
    except Refused:
        email = None
    name = claims.get("name") or claims.get("preferred_username") or ""
    name = " ".join(name.split())[:256] if isinstance(name, str) and name.isprintable() else ""
    return Person(
        subject=claims["sub"],
        email=email,
        # Some providers write the word as text.
        is_verified=claims.get("email_verified") in (True, "true"),
        name=name,
        groups=groups_in(claims, groups_claim),
    )


def _choice(row: ProviderRow) -> Choice:
    return Choice(organization_id=row.organization_id, id=row.id, display_name=row.display_name)


def _actor(member_id: str, told: Person) -> Actor:
    return Actor(type="user", id=member_id, name=told.name or None, email=told.email)


class NotAdmitted(BadAnswer):
    """The provider's word is good, but nobody here is meant."""

    def __init__(self, reason: str, message: str, told: Person) -> None:
        super().__init__(reason, message)
        self.told = told


def _nobody(reason: str, message: str, told: Person) -> NotAdmitted:
    return NotAdmitted(reason, message, told)


class _Unchanged(AuditError):
    """Nothing was to change; nothing is recorded."""
