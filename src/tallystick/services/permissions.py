"""Every permission and every built-in role, declared once; API, command line, OpenAPI and docs derive from it.

The words are those of the products people know. A role is a set of permissions on the organization, or on one
workspace of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from tallystick.errors import Refused

READ = "auditLogs:read"
EXPORT = "auditLogs:export"
WRITE = "auditLogs:write"
MANAGE = "organization:manage"
COMPLIANCE = "complianceExport:view"
RETENTION = "retention:manage"
HOLDS = "holds:manage"
KEYS = "keys:manage"
MEMBERS = "members:manage"
SOURCES = "sources:manage"
SINKS = "sinks:manage"
RULES = "rules:manage"
# Signed in, or with a key of the organization, whatever it may do otherwise.
ANYONE = "organization:member"

MEANING: Mapping[str, str] = {
    READ: "search, count and read events",
    EXPORT: "export events",
    WRITE: "record events",
    MANAGE: "everything there is, this organization's owners and switches included",
    COMPLIANCE: "see the reports for auditors",
    RETENTION: "set how long events are kept",
    HOLDS: "set and lift legal holds",
    KEYS: "make, rotate and revoke API keys",
    MEMBERS: "invite, change and remove members, teams, workspaces and roles",
    SOURCES: "set up where events come from",
    SINKS: "set up where events are sent to",
    RULES: "set up rules and alerts",
}
PERMISSIONS: tuple[str, ...] = tuple(MEANING)
# What a role on one workspace can give: everything else concerns the whole organization.
OF_A_WORKSPACE = frozenset({READ, EXPORT, WRITE})
SHORTHANDS: Mapping[str, tuple[str, ...]] = {"write": (WRITE,), "read": (READ, EXPORT), "admin": (MANAGE,)}

BuiltIn = Literal["OWNER", "ADMIN", "MEMBER", "VIEWER", "AUDITOR"]
OWNER: BuiltIn = "OWNER"
ROLES: Mapping[str, frozenset[str]] = {
    "OWNER": frozenset({MANAGE}),
    "ADMIN": frozenset(PERMISSIONS) - {MANAGE},
    "MEMBER": frozenset(),
    "VIEWER": frozenset(),
    "AUDITOR": frozenset({READ, EXPORT, COMPLIANCE}),
}
WORKSPACE_ROLES: Mapping[str, frozenset[str]] = {
    "ADMIN": frozenset({READ, EXPORT}),
    "AUDITOR": frozenset({READ, EXPORT}),
    "MEMBER": frozenset(),
    "VIEWER": frozenset(),
}
assert set(ROLES) == set(get_args(BuiltIn))


def implies(held: Iterable[str], permission: str) -> bool:
    """Tell whether whoever holds `held` may do `permission`; organization:manage implies all, ANYONE needs none."""
    held = frozenset(held)
    return permission in held or MANAGE in held or permission == ANYONE


def expand_permissions(words: Sequence[str]) -> tuple[str, ...]:
    """Turn permissions and the shorthands write, read and admin into permissions; Refused names an unknown one."""
    found: list[str] = []
    for word in words:
        if word not in SHORTHANDS and word not in MEANING:
            known = ", ".join([*SHORTHANDS, *PERMISSIONS])
            raise Refused(
                f"'{word[:80]}' is no permission; known are {known}.", path="/permissions", rule="permission"
            )
        found.extend(p for p in SHORTHANDS.get(word, (word,)) if p not in found)
    if not found:
        raise Refused("At least one permission is needed.", path="/permissions", rule="permission")
    return tuple(found)
