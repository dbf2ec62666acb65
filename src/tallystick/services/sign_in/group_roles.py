"""From the groups an identity provider tells to a role here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVERYBODY = "*"
GROUPS_MAX = 2_000
# What is more in one look; a role of the organization's own stands between AUDITOR and MEMBER.
_RANK = {"OWNER": 0, "ADMIN": 1, "AUDITOR": 2, "MEMBER": 4, "VIEWER": 5}
_OWN = 3


def groups_in(claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
    """Return the groups in a claim, None when it is absent; `realm_access.roles` looks inside a claim.

    A claim's own name wins over a path, since providers use addresses with dots as names.
    """
    found: Any = claims
    if claim in claims:
        found = claims[claim]
    else:
        for part in claim.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
    if isinstance(found, str):
        return (found,)
    if not isinstance(found, list | tuple):
        return ()
    return tuple(one for one in found[:GROUPS_MAX] if isinstance(one, str))


def role_for(groups: tuple[str, ...], group_roles: Mapping[str, str]) -> str | None:
    """Return the highest role that any of the groups, or `*` for everybody, gives; None = no role at all."""
    roles = {group_roles[group] for group in (*groups, EVERYBODY) if group in group_roles}
    return min(roles, key=lambda role: (_RANK.get(role, _OWN), role), default=None)
