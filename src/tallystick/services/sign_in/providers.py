"""Which identity providers an organization trusts, set by those who manage it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, field

from tallystick.errors import NotFound, Refused
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import actor_of, require_whole_organization
from tallystick.services.permissions import ROLES
from tallystick.services.principal import Principal
from tallystick.services.sign_in.acts import Visit, act
from tallystick.services.sign_in.oidc import Oidc, require_endpoint
from tallystick.services.sign_in.sealing import Sealer
from tallystick.services.sign_in.single_sign_on import SECRET
from tallystick.store import providers as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.providers import ProviderRow

PROVIDERS_MAX = 20
MAPPINGS_MAX = 200


class ProviderWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider shall be; without `client_secret` a kept one stays."""

    display_name: str
    issuer: str
    client_id: str
    client_secret: str | None = None
    groups_claim: str = "groups"
    group_roles: dict[str, str] = field(default_factory=dict)
    only_oidc: bool = False
    trust_email: bool = False


class ProviderView(Struct, frozen=True, kw_only=True):
    """A provider as those who manage it see it; its secret is never shown again."""

    id: str
    display_name: str
    issuer: str
    client_id: str
    has_secret: bool
    groups_claim: str
    group_roles: dict[str, str]
    only_oidc: bool
    trust_email: bool
    created_at: datetime


class Providers:
    """Lists, sets and removes providers."""

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        sealer: Sealer,
        oidc: Oidc,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._sealer = sealer
        self._oidc = oidc
        self._now = now
        self._random = random

    async def all(self, principal: Principal) -> list[ProviderView]:
        """Return the organization's providers without their secrets."""
        require_whole_organization(principal)
        return [_view(row) for row in await rows.of_organization(self._writer, principal.organization_id)]

    async def save(
        self, principal: Principal, wish: ProviderWish, visit: Visit, *, provider_id: str | None = None
    ) -> ProviderView:
        """Set a new provider, or change one; the provider is asked whether it is what it is said to be.

        Raises:
            Refused: a field cannot be used, the provider says otherwise, or an unknown role is named.
            NotFound: there is no such provider to change.
            TryLater: the provider cannot be reached; nothing was changed.
        """
        require_whole_organization(principal)
        existing = await rows.of_organization(self._writer, principal.organization_id)
        before = next((row for row in existing if row.id == provider_id), None)
        if provider_id is not None and before is None:
            raise NotFound("There is no such identity provider.")
        if before is None and len(existing) >= PROVIDERS_MAX:
            raise Refused(f"An organization has at most {PROVIDERS_MAX} providers.", rule="too_many")
        _check(wish)
        await self._oidc.discover(wish.issuer)
        row = self._row(principal.organization_id, wish, before)
        kept = _with_secret(row, before)

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.save(connection, row, new=before is None):
                raise NotFound("There is no such identity provider.")

        event = act(
            "sso.configured", actor_of(principal), visit, session_id=principal.session_id,
            before=UNSET if before is None else _shown(before), after=_shown(kept),
            metadata={"provider": row.id, "secret_changed": wish.client_secret is not None},
        )  # fmt: skip
        await self._ingest.record_own(principal.organization_id, event, inside=inside)
        return _view(kept)

    async def remove(self, principal: Principal, provider_id: str, visit: Visit) -> None:
        """Stop trusting a provider; sessions that it began go on until they end or are revoked."""
        require_whole_organization(principal)
        at = self._now()
        existing = await rows.of_organization(self._writer, principal.organization_id)
        before = next((row for row in existing if row.id == provider_id), None)
        if before is None:
            raise NotFound("There is no such identity provider.")

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.execute(connection, "remove", principal.organization_id, provider_id, at):
                raise NotFound("There is no such identity provider.")

        event = act(
            "sso.removed", actor_of(principal), visit, session_id=principal.session_id, before=_shown(before),
            metadata={"provider": provider_id},
        )  # fmt: skip
        await self._ingest.record_own(principal.organization_id, event, inside=inside)

    def _row(self, organization_id: UUID, wish: ProviderWish, before: ProviderRow | None) -> ProviderRow:
        provider_id = "idp_" + self._random(8).hex() if before is None else before.id
        sealed = None
        if wish.client_secret:
            about = f"{organization_id}/{provider_id}"
            sealed = self._sealer.seal(SECRET, wish.client_secret.encode(), about=about)
        return ProviderRow(
            organization_id=organization_id,
            id=provider_id,
            display_name=wish.display_name.strip(),
            issuer=wish.issuer,
            client_id=wish.client_id,
            client_secret=sealed,
            groups_claim=wish.groups_claim,
            group_roles=wish.group_roles,
            only_oidc=wish.only_oidc,
            trust_email=wish.trust_email,
            created_at=self._now() if before is None else before.created_at,
        )


def _check(wish: ProviderWish) -> None:
    require_endpoint(wish.issuer, "issuer")
    for name, most in (("display_name", 64), ("client_id", 256), ("groups_claim", 256)):
        text = getattr(wish, name)
        if not 1 <= len(text.strip()) <= most or not text.isprintable():
            raise Refused(f"{name} has 1 to {most} characters.", path=f"/{name}", rule="provider")
    secret = wish.client_secret
    if secret is not None and (not 1 <= len(secret) <= 1024 or not secret.isprintable()):
        raise Refused("client_secret has 1 to 1024 characters.", path="/client_secret", rule="provider")
    if len(wish.group_roles) > MAPPINGS_MAX:
        raise Refused(f"At most {MAPPINGS_MAX} groups are mapped.", path="/group_roles", rule="provider")
    for group, role in wish.group_roles.items():
        if (
            not 1 <= len(group) <= 256
            or not group.isprintable()
            or not (role in ROLES or role.startswith("rol_"))
        ):
            raise Refused(
                f"group_roles maps names of groups to {', '.join(ROLES)}, or to the id of a role of your own.",
                path="/group_roles",
                rule="provider",
            )


def _with_secret(row: ProviderRow, before: ProviderRow | None) -> ProviderRow:
    if row.client_secret is not None or before is None:
        return row
    return ProviderRow(
        **{name: getattr(row, name) for name in row.__struct_fields__ if name != "client_secret"},
        client_secret=before.client_secret,
    )


def _shown(row: ProviderRow) -> dict[str, Any]:
    """What the log keeps of a provider: everything but the secret, of which only that there is one."""
    return {
        "display_name": row.display_name,
        "issuer": row.issuer,
        "client_id": row.client_id,
        "confidential": row.client_secret is not None,
        "groups_claim": row.groups_claim,
        "group_roles": row.group_roles,
        "only_oidc": row.only_oidc,
        "trust_email": row.trust_email,
    }


def _view(row: ProviderRow) -> ProviderView:
    return ProviderView(
        id=row.id,
        display_name=row.display_name,
        issuer=row.issuer,
        client_id=row.client_id,
        has_secret=row.client_secret is not None,
        groups_claim=row.groups_claim,
        group_roles=row.group_roles,
        only_oidc=row.only_oidc,
        trust_email=row.trust_email,
        created_at=row.created_at,
    )
