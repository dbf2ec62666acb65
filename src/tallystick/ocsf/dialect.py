"""What each OCSF version allows: the lists every rendering is built from, one table a version.

Nothing here is computed from the other version. A test compares every table with the schema export of the
schema site, so that a wrong line fails instead of making invalid events.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

Version = Literal["1.7.0", "1.1.0"]
View = Literal["default", "native", "api_activity"]

API_ACTIVITY = 6003
ACCOUNT_CHANGE = 3001
AUTHENTICATION = 3002
ENTITY_MANAGEMENT = 3004
USER_ACCESS = 3005
GROUP_MANAGEMENT = 3006
DETECTION_FINDING = 2004
WEB_RESOURCES = 6001
EVENT_LOG = 1008

# Never 99: an event whose weight we do not know is still an ordinary event.
SEVERITIES: dict[int, str] = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}

OTHER = 99

_FULL = frozenset({"actor", "src_endpoint", "dst_endpoint", "http_request", "http_response", "raw_data_hash"})
_IDENTITY = _FULL - {"dst_endpoint"}


class Dialect(Struct, frozen=True, kw_only=True):
    """One OCSF version: the classes it has, the attributes of each we may fill, and the values it knows.

    `attributes` lists, by class, those of the parts every event has (`actor`, `src_endpoint`, …) that this
    version's class has room for; what is not listed goes to `unmapped`. `host_classes` are the classes where
    `actor` exists only with the profile `host`. `default_classes` are those the default view uses; the others
    are rendered as 6003 there. `newer` names, as `object.attribute`, what this version has beyond 1.1.0.
    `text_max` is the limit of `string_t` in characters, None when there is none.
    """

    version: Version
    attributes: dict[int, frozenset[str]]
    host_classes: frozenset[int]
    default_classes: frozenset[int]
    absent_activities: dict[int, frozenset[int]]
    http_methods: frozenset[str]
    email: re.Pattern[str]
    service_type_id: int
    basic_auth_id: int
    ldap_auth_id: int
    app_attribute: str
    observable_user_uid: int
    observable_resource_uid: int
    resource_path: str
    newer: frozenset[str]
    text_max: int | None


# `object.attribute` of what 1.1.0 does not have and we fill in 1.7.0.
_NEWER_THAN_1_1_0 = frozenset(
    {
        "actor.app_name",
        "detection_finding.anomaly_analyses",
        "detection_finding.is_alert",
        "evidences.http_request",
        "finding_info.related_events_count",
        "managed_entity.org",
        "managed_entity.policy",
        "managed_entity.type_id",
        "managed_entity.user",
        "metadata.log_source",
        "metadata.original_event_uid",
        "related_event.type_name",
        "resource_details.role_id",
        "user.programmatic_credentials",
        "user_access.resources",
    }
)

_METHODS = frozenset({"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"})

V1_7_0 = Dialect(
    version="1.7.0",
    attributes={
        API_ACTIVITY: _FULL,
        ACCOUNT_CHANGE: _IDENTITY,
        AUTHENTICATION: _FULL,
        ENTITY_MANAGEMENT: _IDENTITY,
        USER_ACCESS: _IDENTITY,
        GROUP_MANAGEMENT: _IDENTITY,
        DETECTION_FINDING: frozenset({"actor", "raw_data_hash"}),
        WEB_RESOURCES: _FULL,
        EVENT_LOG: frozenset({"actor", "src_endpoint", "dst_endpoint", "raw_data_hash"}),
    },
    host_classes=frozenset({DETECTION_FINDING, WEB_RESOURCES}),
    default_classes=frozenset({
        API_ACTIVITY, ACCOUNT_CHANGE, AUTHENTICATION, ENTITY_MANAGEMENT, USER_ACCESS, GROUP_MANAGEMENT,
        DETECTION_FINDING, WEB_RESOURCES, EVENT_LOG,
    }),
    absent_activities={},
    http_methods=_METHODS | {"PATCH"},
    email=re.compile(r"[a-zA-Z0-9!#$%&'*+-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+"),
    service_type_id=4,
    basic_auth_id=11,
    ldap_auth_id=12,
    app_attribute="app_name",
    observable_user_uid=31,
    observable_resource_uid=10,
    resource_path="[0].uid",
    newer=_NEWER_THAN_1_1_0,
    text_max=None,
)  # fmt: skip

V1_1_0 = Dialect(
    version="1.1.0",
    attributes={
        API_ACTIVITY: frozenset({"actor", "src_endpoint", "dst_endpoint", "http_request"}),
        ACCOUNT_CHANGE: frozenset({"actor", "src_endpoint", "http_request"}),
        AUTHENTICATION: frozenset({"actor", "src_endpoint", "dst_endpoint", "http_request"}),
        ENTITY_MANAGEMENT: frozenset({"actor"}),
        USER_ACCESS: frozenset({"actor"}),
        GROUP_MANAGEMENT: frozenset({"actor"}),
        DETECTION_FINDING: frozenset({"actor"}),
        WEB_RESOURCES: frozenset({"actor", "src_endpoint", "dst_endpoint", "http_request", "http_response"}),
    },
    host_classes=frozenset({
        ENTITY_MANAGEMENT, USER_ACCESS, GROUP_MANAGEMENT, DETECTION_FINDING, WEB_RESOURCES,
    }),
    # The other classes lose the address and the request in 1.1.0, and SIEMs read these four best.
    default_classes=frozenset({API_ACTIVITY, ACCOUNT_CHANGE, AUTHENTICATION, DETECTION_FINDING}),
    absent_activities={
        ACCOUNT_CHANGE: frozenset({12}),
        AUTHENTICATION: frozenset({6, 7}),
        ENTITY_MANAGEMENT: frozenset(range(5, 14)),
        GROUP_MANAGEMENT: frozenset({7, 8}),
    },
    http_methods=_METHODS,
    email=re.compile(r"[a-zA-Z0-9_.+-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+"),
    service_type_id=OTHER,
    basic_auth_id=OTHER,
    ldap_auth_id=OTHER,
    app_attribute="invoked_by",
    observable_user_uid=OTHER,
    observable_resource_uid=OTHER,
    resource_path=".uid",
    newer=frozenset(),
    text_max=65_535,
)  # fmt: skip

DIALECTS: dict[str, Dialect] = {"1.7.0": V1_7_0, "1.1.0": V1_1_0}

CATEGORIES: dict[int, str] = {
    1: "System Activity",
    2: "Findings",
    3: "Identity & Access Management",
    6: "Application Activity",
}
