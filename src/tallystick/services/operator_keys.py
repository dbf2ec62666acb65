"""Keys of who runs this server, for whichever organization a call names: made and revoked beside any server.

They are nobody's but the operator's, so the log of the first organization, whose people run the server, tells of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from tallystick.errors import NotFound
from tallystick.services.access import Access, NewKey, digest_of
from tallystick.services.host_acts import HostActs
from tallystick.services.key_text import SHOWN_CHARACTERS
from tallystick.services.keys import key_target, told
from tallystick.services.organize import Organize
from tallystick.store import keys as rows
from tallystick.store.connect import Connection, Pool


class OperatorKeys:
    """Makes, lists and revokes operator keys; `organize` knows the first organization, `acts` records."""

    def __init__(
        self,
        writer: Pool,
        access: Access,
        organize: Organize,
        acts: HostActs,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._writer = writer
        self._access = access
        self._organize = organize
        self._acts = acts
        self._now = now

    async def create(
        self, name: str, permissions: Sequence[str], *, lifetime: timedelta | None = None
    ) -> NewKey:
        """Make an operator key; its secret is shown only here. Raises Refused for what cannot be."""
        made = self._access.new_operator_key(name, permissions, lifetime=lifetime)

        async def change(connection: Connection) -> None:
            await rows.insert_operator(
                connection, made.id, made.name, made.key[:SHOWN_CHARACTERS], digest_of(made.key), list(made.permissions),
                made.expires_at,
            )  # fmt: skip

        event = self._acts.act(
            "key.created", targets=[key_target(made.id, name)], after={**told(made), "operator": True}
        )
        await self._acts.record((await self._organize.first()).id, [event], change)
        return made

    async def list_all(self) -> list[dict[str, object]]:
        """Return every operator key, newest first, without secrets or hashes."""
        return await rows.list_operators(self._writer)

    async def revoke(self, key_id: str) -> None:
        """Revoke an operator key for good; it stops working within five seconds everywhere. Once more changes nothing.

        Raises NotFound.
        """
        found = next((one for one in await self.list_all() if one["id"] == key_id), None)
        if found is None:
            raise NotFound(f"There is no operator key {key_id[:80]}.")
        if found["revoked_at"] is not None:
            return

        async def change(connection: Connection) -> None:
            if not await rows.revoke_operator(connection, key_id, self._now()):
                raise NotFound(f"Somebody else revoked {key_id} at the same moment.")

        event = self._acts.act(
            "key.revoked", targets=[key_target(key_id, str(found["name"]))],
            before={"revoked": False, "operator": True}, after={"revoked": True, "operator": True},
        )  # fmt: skip
        await self._acts.record((await self._organize.first()).id, [event], change)
