"""The parts of sign-in, put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import httpx2
from msgspec import Struct

from tallystick.services.ingest import Ingest
from tallystick.services.sign_in.account import Account
from tallystick.services.sign_in.links import Links
from tallystick.services.sign_in.oidc import Oidc
from tallystick.services.sign_in.passwords import Passwords
from tallystick.services.sign_in.providers import Providers
from tallystick.services.sign_in.sealing import Sealer
from tallystick.services.sign_in.sessions import Sessions
from tallystick.services.sign_in.sign_in import SignIn
from tallystick.services.sign_in.single_sign_on import SingleSignOn
from tallystick.store.connect import Pool


class People(Struct, frozen=True, kw_only=True):
    """Everything that signs people in."""

    sessions: Sessions
    sign_in: SignIn
    links: Links
    account: Account
    single_sign_on: SingleSignOn
    providers: Providers
    oidc: Oidc


def build(
    writer: Pool,
    ingest: Ingest,
    *,
    home: UUID,
    sealing_key: bytes,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    wall: Callable[[], float],
    client: Callable[[], httpx2.AsyncClient],
    random: Callable[[int], bytes],
) -> People:
    """Return the parts of sign-in of one server; see each of them for the arguments."""
    sealer = Sealer(sealing_key, random=random)
    passwords = Passwords(random)
    sessions = Sessions(writer, ingest, now=now, random=random)
    sign_in = SignIn(writer, ingest, sessions, passwords, sealer, home=home, now=now, monotonic=monotonic)
    oidc = Oidc(client, monotonic=monotonic, wall=wall, random=random)
    return People(
        sessions=sessions,
        sign_in=sign_in,
        links=Links(writer, ingest, sessions, passwords, now=now, random=random),
        account=Account(writer, ingest, sessions, sign_in, passwords, sealer, now=now, random=random),
        single_sign_on=SingleSignOn(writer, ingest, sessions, sealer, oidc, now=now, random=random),
        providers=Providers(writer, ingest, sealer, oidc, now=now, random=random),
        oidc=oidc,
    )
