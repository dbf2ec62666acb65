"""The projects an organization has, as its pages name them; remembered for some seconds, since every page asks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from uuid import UUID

from tallystick.services.principal import Principal
from tallystick.store import evidence as rows
from tallystick.store.connect import Pool
from tallystick.store.evidence import ProjectRow

REMEMBER_SECONDS = 5.0
REMEMBER_MAX = 1_024


class Projects:
    """Lists workspaces with their teams' names; `monotonic` is a clock in seconds that never goes back."""

    def __init__(self, pool: Pool, *, monotonic: Callable[[], float]) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._known: OrderedDict[UUID, tuple[float, Sequence[ProjectRow]]] = OrderedDict()

    async def of(self, principal: Principal) -> Sequence[ProjectRow]:
        """Return the workspaces that `principal` may see, deleted ones too."""
        known = self._known.get(principal.organization_id)
        if known is None or self._monotonic() - known[0] > REMEMBER_SECONDS:
            known = (self._monotonic(), await rows.projects(self._pool, principal.organization_id))
            self._known[principal.organization_id] = known
            self._known.move_to_end(principal.organization_id)
            if len(self._known) > REMEMBER_MAX:
                self._known.popitem(last=False)
        within = _within(principal)
        return known[1] if within is None else [row for row in known[1] if row.id in within]


def _within(principal: Principal) -> frozenset[str] | None:
    """Return the ids whose names `principal` may learn, None = all.

    What a viewer's token locks bounds names as it bounds events; one that locks no workspace learns no name at all, for
    the names of a SaaS's workspaces are those of its other customers.
    """
    if principal.kind != "viewer":
        return principal.workspaces
    locked = next(
        (frozenset(clause.values) for clause in principal.locked if clause.key == "workspace"),
        frozenset[str](),
    )
    return locked if principal.workspaces is None else locked & principal.workspaces
