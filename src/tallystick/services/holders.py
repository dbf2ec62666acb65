"""Whose a refused credential was: asked after the answer was given, so that the answer tells nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from tallystick.event.model import Actor
from tallystick.services.access import is_well_formed
from tallystick.services.own_log import Holder
from tallystick.store import keys as key_rows
from tallystick.store import viewers as viewer_rows
from tallystick.store.connect import Pool


class Holders:
    """Finds holders of credentials that no longer open anything; `writer` is the pool of the writing role."""

    def __init__(self, writer: Pool, *, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._now = now

    async def find(self, credential: str) -> Holder | None:
        """Return the organization, the holder and why the credential is refused; None when it was never given out."""
        digest = hashlib.sha256(credential.encode()).digest()
        if credential.startswith(("vwt_", "vws_")):
            return await self._viewer(digest)
        return await self._key(digest) if is_well_formed(credential) else None

    async def _key(self, digest: bytes) -> Holder | None:
        row = await key_rows.find(self._writer, digest)
        if row is None:
            return None
        if row["revoked_at"] is not None:
            why = "revoked"
        elif row["expires_at"] is not None and row["expires_at"] <= self._now():
            why = "expired"
        else:
            return None  # good again, or good elsewhere: nothing was denied to its holder
        actor = Actor(type="api_key", id=row["id"], name=row["name"] or None, credential_id=row["id"])
        return row["organization_id"], actor, why

    async def _viewer(self, digest: bytes) -> Holder | None:
        row = await viewer_rows.find(self._writer, digest)
        if row is None:
            return None
        if row.revoked_at is not None:
            why = "revoked"
        elif row.expires_at <= self._now():
            why = "expired"
        else:
            why = "not_exchanged" if row.used_at is None else "used"
        actor = Actor(type="service", id=row.id, name=row.name or None, credential_id=row.id)
        return row.organization_id, actor, why
