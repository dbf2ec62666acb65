"""Who is calling: what a valid credential stands for."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tallystick.errors import Forbidden
from tallystick.query.model import Clause
from tallystick.services.permissions import ANYONE, MANAGE, implies

Kind = Literal["key", "member", "viewer", "operator", "server"]


class Principal(Struct, frozen=True, kw_only=True):
    """Whoever is calling: organization and permissions come from the credential, never from a parameter.

    `workspaces` None = the whole organization, its own level included. `grants` are what a member holds on single
    workspaces besides `permissions`, which are held on the organization. `locked` are filters that no request can
    widen; beside filters on events, `from` and `to` bound their time.
    """

    organization_id: UUID
    kind: Kind
    id: str
    name: str
    email: str | None = None
    permissions: frozenset[str]
    workspaces: frozenset[str] | None = None
    grants: tuple[tuple[str, frozenset[str]], ...] = ()
    locked: tuple[Clause, ...] = ()
    session_id: str | None = None

    def may(self, permission: str) -> bool:
        """Tell whether `permission` is held, on the organization or on a workspace of it."""
        if permission == ANYONE:
            return self.kind != "viewer"
        return implies(self.permissions, permission) or any(permission in held for _, held in self.grants)

    def require(self, permission: str) -> None:
        """Raise Forbidden unless `permission` is held."""
        if not self.may(permission):
            raise Forbidden(_refusal(self.kind, permission))

    def under(self, permission: str) -> Principal:
        """Return the principal as it acts under `permission`: where a member holds it, and nowhere else.

        Raises Forbidden unless it is held.
        """
        self.require(permission)
        if self.kind != "member" or permission == ANYONE:
            return self
        if implies(self.permissions, permission):
            return self if self.workspaces is None else replace(self, workspaces=None)
        return replace(self, workspaces=frozenset(name for name, held in self.grants if permission in held))

    @property
    def sees_all(self) -> bool:
        """Whether it sees whatever the organization's log holds."""
        return self.workspaces is None and not self.locked

    @property
    def source(self) -> str:
        """The `source` recorded with every event this principal brings."""
        return f"{self.kind}:{self.id}"


def _refusal(kind: Kind, permission: str) -> str:
    match kind:
        case "member":
            return (
                f"You do not hold the permission {permission} here. Ask an owner or admin of the organization for a "
                "role that has it."
            )
        case _:
            return (
                f"This key does not hold the permission {permission}. Use a key that does, or ask someone with "
                f"{MANAGE} to create one: tallystick keys create --permission {permission}."
            )
