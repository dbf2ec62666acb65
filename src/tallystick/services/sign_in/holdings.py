"""What a member may do: the union of its roles, on the organization and on single workspaces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tallystick.services.permissions import OF_A_WORKSPACE, READ, ROLES, WORKSPACE_ROLES, implies


class Holdings(Struct, frozen=True, kw_only=True):
    """Permissions on the organization, and those on single workspaces."""

    permissions: frozenset[str]
    grants: tuple[tuple[str, frozenset[str]], ...]

    @property
    def workspaces(self) -> frozenset[str] | None:
        """The workspaces whose events may be read, None = the whole organization."""
        if implies(self.permissions, READ):
            return None
        return frozenset(workspace for workspace, held in self.grants if READ in held)


def holdings_of(roles: Iterable[tuple[str, str, Sequence[str] | None]]) -> Holdings:
    """Return what (workspace or "", role, permissions of an own role or None) give together.

    A role that is neither built in nor there any more gives nothing.
    """
    on_organization: set[str] = set()
    on_workspace: dict[str, set[str]] = {}
    for workspace, role, own in roles:
        if workspace == "":
            on_organization |= ROLES.get(role, frozenset(own or ()))
        else:
            held = WORKSPACE_ROLES.get(role, frozenset(own or ()) & OF_A_WORKSPACE)
            on_workspace.setdefault(workspace, set()).update(held)
    return Holdings(
        permissions=frozenset(on_organization),
        grants=tuple(sorted((name, frozenset(held)) for name, held in on_workspace.items())),
    )
