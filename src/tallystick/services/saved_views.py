"""Saved views: searches that people keep under a name, for themselves or for everybody in the organization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from tallystick.errors import Forbidden, NotFound, Refused
from tallystick.event.model import Context, Target
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import record_act
from tallystick.services.permissions import ANYONE, MANAGE
from tallystick.services.principal import Principal
from tallystick.store import saved_views as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.saved_views import ViewRow

NAME_CHARACTERS_MAX = 80
ADDRESS_CHARACTERS_MAX = 8_000
VIEWS_MAX = 100  # of one person
LISTED_MAX = 500


class SavedView(Struct, frozen=True, kw_only=True):
    """A view; `address` are the parameters of the events page, `mine` says whether its owner is asking."""

    id: str
    name: str
    address: str
    shared: bool = False
    mine: bool = False


class SavedViews:
    """Keeps views.

    Args:
        reader, writer: connections of these roles.
        ingest: records in the log that a view was made or removed.
        now, random: the clock, and bytes for ids.
    """

    def __init__(
        self,
        reader: Pool,
        writer: Pool,
        ingest: Ingest,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ingest = ingest
        self._now = now
        self._random = random

    async def of(self, principal: Principal) -> tuple[Sequence[SavedView], str | None]:
        """Return the views `principal` may open, and the id of the one that opens first, None without a choice."""
        if not principal.may(ANYONE):
            return (), None
        found, default = await rows.find(self._reader, principal.organization_id, principal.id, LISTED_MAX)
        return [
            SavedView(
                id=row.id,
                name=row.name,
                address=row.address,
                shared=row.shared,
                mine=row.owner_id == principal.id,
            )
            for row in found
        ], default

    async def save(
        self, principal: Principal, name: str, address: str, *, shared: bool, context: Context | None
    ) -> SavedView:
        """Keep a search under a name; raises Refused for a name or an address that cannot be kept."""
        _require_somebody(principal)
        name = name.strip()
        if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
            raise Refused(
                f"The name of a view has 1 to {NAME_CHARACTERS_MAX} characters, all of them printable. Nothing was saved.",
                path="/name", rule="form",
            )  # fmt: skip
        if len(address) > ADDRESS_CHARACTERS_MAX:
            raise Refused(
                "This search is too long to be kept. Nothing was saved.", path="/address", rule="form"
            )
        row = ViewRow("viw_" + self._random(9).hex(), principal.id, name, address, shared, self._now())

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.count(connection, principal.organization_id, principal.id) >= VIEWS_MAX:
                raise Refused(
                    f"You keep {VIEWS_MAX} views already. Remove one first. Nothing was saved.", rule="limit"
                )
            await rows.insert(connection, principal.organization_id, row)

        await record_act(
            self._ingest, principal, "saved_view.created", targets=(_target(row.id, name),),
            after={"name": name, "address": address, "shared": shared}, context=context, inside=inside,
        )  # fmt: skip
        return SavedView(id=row.id, name=name, address=address, shared=shared, mine=True)

    async def remove(self, principal: Principal, view_id: str, *, context: Context | None) -> None:
        """Remove a view of one's own, as a manager also a shared one; raises NotFound."""
        _require_somebody(principal)
        views, _ = await self.of(principal)
        view = next((one for one in views if one.id == view_id), None)
        if view is None:
            raise NotFound("There is no such view.")
        if not view.mine and not principal.may(MANAGE):
            raise Forbidden(
                "This view belongs to somebody else. Ask its owner, or an owner of the organization."
            )

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.delete(
                connection, principal.organization_id, view_id, principal.id, shared_too=principal.may(MANAGE)
            ):
                raise NotFound("There is no such view any more.")

        await record_act(
            self._ingest, principal, "saved_view.removed", targets=(_target(view_id, view.name),),
            before={"name": view.name, "address": view.address, "shared": view.shared}, context=context, inside=inside,
        )  # fmt: skip

    async def open_first(self, principal: Principal, view_id: str) -> None:
        """Choose the view that opens first; the caller has made sure that there is one of this id."""
        _require_somebody(principal)
        await rows.set_default(self._writer, principal.organization_id, principal.id, view_id[:64])


def _target(view_id: str, name: str) -> Target:
    return Target(type="saved_view", id=view_id, name=name)


def _require_somebody(principal: Principal) -> None:
    if not principal.may(ANYONE):
        raise Forbidden("A viewer's token keeps no views.")
