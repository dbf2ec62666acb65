"""From the kind of an act and the family of its target to a verb class and the OCSF class and activity.

The table of OCSF.md, as data. The TOML holds what was decided for each known name; these rules decide for
all others, and a test keeps the two from drifting apart.
"""

from __future__ import annotations

from typing import NamedTuple

from tallystick.catalogue.model import Family, Verb
from tallystick.catalogue.words import Kind

# The OCSF classes we render and the activities that exist in them in 1.7.0. 0 Unknown is left out on purpose:
# an entry of the catalogue always knows.
ACTIVITIES: dict[int, dict[int, str]] = {
    1008: {1: "Clear", 2: "Delete", 3: "Export", 4: "Archive", 5: "Rotate", 6: "Start", 7: "Stop", 8: "Restart",
           9: "Enable", 10: "Disable", 99: "Other"},
    2004: {1: "Create", 2: "Update", 3: "Close", 99: "Other"},
    3001: {1: "Create", 2: "Enable", 3: "Password Change", 4: "Password Reset", 5: "Disable", 6: "Delete",
           7: "Attach Policy", 8: "Detach Policy", 9: "Lock", 10: "MFA Factor Enable", 11: "MFA Factor Disable",
           12: "Unlock", 99: "Other"},
    3002: {1: "Logon", 2: "Logoff", 3: "Authentication Ticket", 4: "Service Ticket Request",
           5: "Service Ticket Renew", 6: "Preauth", 7: "Account Switch", 99: "Other"},
    3004: {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 5: "Move", 6: "Enroll", 7: "Unenroll", 8: "Enable",
           9: "Disable", 10: "Activate", 11: "Deactivate", 12: "Suspend", 13: "Resume", 99: "Other"},
    3005: {1: "Assign Privileges", 2: "Revoke Privileges", 99: "Other"},
    3006: {1: "Assign Privileges", 2: "Revoke Privileges", 3: "Add User", 4: "Remove User", 5: "Delete",
           6: "Create", 7: "Add Subgroup", 8: "Remove Subgroup", 99: "Other"},
    6001: {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 5: "Search", 6: "Import", 7: "Export", 8: "Share",
           99: "Other"},
    6003: {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
}  # fmt: skip

CLASS_NAMES: dict[int, str] = {
    1008: "Event Log Activity", 2004: "Detection Finding", 3001: "Account Change", 3002: "Authentication",
    3004: "Entity Management", 3005: "User Access Management", 3006: "Group Management",
    6001: "Web Resources Activity", 6003: "API Activity",
}  # fmt: skip


class Placement(NamedTuple):
    """Where an act belongs: verb class, native OCSF class and activity, and the activity in the 6003 view."""

    verb: Verb
    class_uid: int
    activity_id: int
    api_activity_id: int


UNPLACED = Placement("admin", 6003, 99, 99)

_BY_KIND: dict[Kind, Placement] = {
    "create": Placement("create", 6003, 1, 1),
    "read": Placement("read", 6003, 2, 2),
    "search": Placement("read", 6003, 2, 2),
    "export": Placement("read", 6001, 7, 2),
    "import": Placement("create", 6001, 6, 1),
    "update": Placement("update", 6003, 3, 3),
    "delete": Placement("delete", 6003, 4, 4),
    "archive": Placement("delete", 6003, 4, 4),
    "enable": Placement("update", 6003, 3, 3),
    "disable": Placement("update", 6003, 3, 3),
    "activate": Placement("update", 6003, 3, 3),
    "deactivate": Placement("update", 6003, 3, 3),
    "suspend": Placement("update", 6003, 3, 3),
    "resume": Placement("update", 6003, 3, 3),
    "move": Placement("update", 6003, 3, 3),
    "reset": Placement("update", 6003, 3, 3),
    "add": Placement("create", 6003, 1, 1),
    "remove": Placement("delete", 6003, 4, 4),
    "assign": Placement("access", 3005, 1, 3),
    "revoke": Placement("access", 3005, 2, 3),
    "share": Placement("access", 6001, 8, 3),
    "unshare": Placement("access", 6001, 3, 3),
    "sign_in": Placement("auth", 3002, 1, 99),
    "sign_out": Placement("auth", 3002, 2, 99),
    "password": Placement("update", 3001, 3, 3),
    "operate": UNPLACED,
    "breach": Placement("admin", 2004, 1, 99),
}

_ENTITY: dict[Kind, Placement] = {
    "create": Placement("create", 3004, 1, 1),
    "add": Placement("create", 3004, 1, 1),
    "update": Placement("update", 3004, 3, 3),
    "reset": Placement("update", 3004, 3, 3),
    "delete": Placement("delete", 3004, 4, 4),
    "remove": Placement("delete", 3004, 4, 4),
    # OCSF has no "archive"; the thing is out of use but still there.
    "archive": Placement("delete", 3004, 11, 4),
    "move": Placement("update", 3004, 5, 3),
    "enable": Placement("update", 3004, 8, 3),
    "disable": Placement("update", 3004, 9, 3),
    "activate": Placement("update", 3004, 10, 3),
    "deactivate": Placement("update", 3004, 11, 3),
    "suspend": Placement("update", 3004, 12, 3),
    "resume": Placement("update", 3004, 13, 3),
}

_MEMBERSHIP: dict[Kind, Placement] = {
    "create": Placement("access", 3006, 3, 3),
    "add": Placement("access", 3006, 3, 3),
    "assign": Placement("access", 3006, 3, 3),
    "update": Placement("access", 3005, 1, 3),
    "delete": Placement("access", 3006, 4, 3),
    "remove": Placement("access", 3006, 4, 3),
    "archive": Placement("access", 3006, 4, 3),
    "revoke": Placement("access", 3006, 4, 3),
}

_BY_FAMILY: dict[Family, dict[Kind, Placement]] = {
    "resource": {},
    "credential": {
        "assign": Placement("update", 6003, 3, 3),
        "revoke": Placement("delete", 6003, 4, 4),
    },
    "account": {
        "create": Placement("create", 3001, 1, 1),
        "add": Placement("create", 3001, 1, 1),
        "enable": Placement("update", 3001, 2, 3),
        "activate": Placement("update", 3001, 2, 3),
        "resume": Placement("update", 3001, 2, 3),
        "password": Placement("update", 3001, 3, 3),
        "reset": Placement("update", 3001, 4, 3),
        "disable": Placement("update", 3001, 5, 3),
        "deactivate": Placement("update", 3001, 5, 3),
        "suspend": Placement("update", 3001, 5, 3),
        "delete": Placement("delete", 3001, 6, 4),
        "remove": Placement("delete", 3001, 6, 4),
        "archive": Placement("delete", 3001, 5, 4),
        "update": Placement("update", 3001, 99, 3),
    },
    "membership": _MEMBERSHIP,
    "invitation": {
        "operate": Placement("create", 6003, 1, 1),
        "add": Placement("access", 3006, 3, 3),
        "revoke": Placement("delete", 6003, 4, 4),
    },
    "grant": {
        "create": Placement("access", 3005, 1, 3),
        "add": Placement("access", 3005, 1, 3),
        "update": Placement("access", 3005, 1, 3),
        "delete": Placement("access", 3005, 2, 3),
        "remove": Placement("access", 3005, 2, 3),
        "archive": Placement("access", 3005, 2, 3),
    },
    "group": _ENTITY,
    "configuration": _ENTITY,
    "container": _ENTITY,
    "share": {
        "create": Placement("access", 6001, 8, 3),
        "enable": Placement("access", 6001, 8, 3),
        "update": Placement("access", 6001, 3, 3),
        "delete": Placement("access", 6001, 3, 3),
        "remove": Placement("access", 6001, 3, 3),
        "revoke": Placement("access", 6001, 3, 3),
        "disable": Placement("access", 6001, 3, 3),
    },
    "session": {
        "create": Placement("auth", 3002, 1, 99),
        "delete": Placement("auth", 3002, 2, 99),
        "remove": Placement("auth", 3002, 2, 99),
        "revoke": Placement("auth", 3002, 2, 99),
        "update": Placement("auth", 3002, 99, 99),
        "operate": Placement("auth", 3002, 1, 99),
    },
    "export": {
        "create": Placement("create", 6001, 7, 1),
    },
    "log": {
        "export": Placement("read", 1008, 3, 2),
        "delete": Placement("delete", 1008, 2, 4),
        "archive": Placement("delete", 1008, 4, 4),
        "enable": Placement("update", 1008, 9, 3),
        "disable": Placement("update", 1008, 10, 3),
    },
    "finding": {
        "create": Placement("admin", 2004, 1, 99),
        "update": Placement("admin", 2004, 2, 99),
        "delete": Placement("admin", 2004, 3, 99),
        "archive": Placement("admin", 2004, 3, 99),
    },
}


def place(kind: Kind, family: Family) -> Placement:
    """Return where an act of `kind` on a target of `family` belongs; total over both."""
    return _BY_FAMILY[family].get(kind) or _BY_KIND[kind]
