"""What can be decided about an event from its action alone: class, activity, severity, status.

Decided once for each (action, version, view) and remembered; a rendering starts from a copy of the result.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Struct

from tallystick.catalogue.describe import describe
from tallystick.catalogue.kinds import ACTIVITIES, CLASS_NAMES
from tallystick.catalogue.model import ActionInfo, Sensitivity
from tallystick.catalogue.words import split_words
from tallystick.event.model import OUTCOMES, Outcome
from tallystick.ocsf.dialect import (
    ACCOUNT_CHANGE,
    API_ACTIVITY,
    AUTHENTICATION,
    CATEGORIES,
    DETECTION_FINDING,
    DIALECTS,
    OTHER,
    SEVERITIES,
    Dialect,
    Version,
    View,
)  # fmt: skip

REMEMBERED_PLANS_MAX = 16_384

STATUSES: dict[Outcome, tuple[int, str]] = {
    "success": (1, "Success"),
    "failure": (2, "Failure"),
    "denied": (2, "Failure"),
    "unknown": (0, "Unknown"),
}

# Of a finding, `status` is how far it has been dealt with, not how the act ended. By activity.
FINDING_STATUSES: dict[int, tuple[int, str]] = {
    1: (1, "New"),
    2: (2, "In Progress"),
    3: (4, "Resolved"),
    OTHER: (0, "Unknown"),
}

SEVERITY_BY_SENSITIVITY: dict[Sensitivity, int] = {
    "normal": 1,
    "credential": 2,
    "membership": 2,
    "data-export": 2,
    "security": 3,
    "breach": 4,
}
ENABLE, DISABLE = 2, 5  # activities of 3001

DENIED_SEVERITY = 2
FINDING_SEVERITY = 4

# Someone who does one of these to a group does it to themselves, unless a user is named as the target.
_SELF_WORDS = frozenset({"accept", "accepted", "claim", "claimed", "join", "joined", "leave", "left"})


class Plan(Struct, frozen=True):
    """The decided part of a rendering.

    `heads` holds, by outcome, the first attributes of the rendered event; copy one, never change it.
    `room` are the common attributes this class has in this version, `profiles` those it needs for them.
    `asks_states` says that `account_activity` may know the activity better than the name does.
    """

    dialect: Dialect
    info: ActionInfo
    class_uid: int
    activity_id: int
    activity_name: str
    room: frozenset[str]
    profiles: tuple[str, ...]
    asks_states: bool
    acts_on_self: bool
    heads: dict[str, dict[str, Any]]


def class_and_activity(info: ActionInfo, version: Version, view: View) -> tuple[int, int]:
    """Choose the class this version and view show the action in, and its activity there.

    A class that the version or the view does not have becomes 6003 API Activity.
    """
    dialect = DIALECTS[version]
    allowed = dialect.default_classes if view == "default" else dialect.attributes
    if view == "api_activity" or info.class_uid not in allowed:
        return API_ACTIVITY, _known(API_ACTIVITY, info.api_activity_id, dialect)
    if info.class_uid == API_ACTIVITY:
        return API_ACTIVITY, _known(API_ACTIVITY, info.activity_id, dialect)
    return info.class_uid, _known(info.class_uid, info.activity_id, dialect)


def account_activity(event: dict[str, Any]) -> int | None:
    """Return 2 Enable or 5 Disable when the states of an account say that `active` changed, else None.

    Directories disable an account by an ordinary update; the name of the action does not tell.
    """
    before, after = event.get("before"), event.get("after")
    if not isinstance(after, dict):
        return None
    was = before.get("active") if isinstance(before, dict) else None
    match after.get("active"):
        case False if was is not False:
            return DISABLE
        case True if was is False:
            return ENABLE
        case _:
            return None


def _known(class_uid: int, activity_id: int, dialect: Dialect) -> int:
    absent = dialect.absent_activities.get(class_uid, frozenset())
    return activity_id if activity_id in ACTIVITIES[class_uid] and activity_id not in absent else OTHER


def activity_text(info: ActionInfo, class_uid: int, activity_id: int) -> str:
    """Return the caption of the activity; 99 gets the name of the native activity, or the action's title."""
    if activity_id != OTHER:
        return ACTIVITIES[class_uid][activity_id]
    native = ACTIVITIES.get(info.class_uid, {}).get(info.activity_id)
    return native if native is not None and info.activity_id != OTHER else info.title


def severity_id(info: ActionInfo, outcome: str) -> int:
    """Weigh the event: what it touches, raised when it was refused or was a sign-in that failed.

    The same in every view: it follows from the action, not from the class it is shown in.
    """
    if info.class_uid == DETECTION_FINDING:
        return FINDING_SEVERITY
    weight = SEVERITY_BY_SENSITIVITY[info.sensitivity]
    refused = outcome == "denied" or (outcome == "failure" and info.class_uid == AUTHENTICATION)
    return max(weight, DENIED_SEVERITY) if refused else weight


@lru_cache(maxsize=REMEMBERED_PLANS_MAX)
def plan_for(action: str, version: Version, view: View, activity: int | None = None) -> Plan:
    """Decide everything that depends on the action only; total over any text.

    `activity` replaces the class's own activity where the event's states say more than its name.
    """
    info = describe(action)
    dialect = DIALECTS[version]
    class_uid, activity_id = class_and_activity(info, version, view)
    activity_id = activity_id if activity is None else activity
    return Plan(
        dialect=dialect,
        info=info,
        class_uid=class_uid,
        activity_id=activity_id,
        activity_name=activity_text(info, class_uid, activity_id),
        room=dialect.attributes[class_uid],
        profiles=("host",) if class_uid in dialect.host_classes else (),
        asks_states=class_uid == ACCOUNT_CHANGE and activity_id == OTHER,
        acts_on_self=not _SELF_WORDS.isdisjoint(split_words(action)),
        heads={outcome: _head(info, class_uid, activity_id, outcome) for outcome in OUTCOMES},
    )


def _head(info: ActionInfo, class_uid: int, activity_id: int, outcome: Outcome) -> dict[str, Any]:
    severity = severity_id(info, outcome)
    status_id, status = FINDING_STATUSES[activity_id] if class_uid == DETECTION_FINDING else STATUSES[outcome]
    category_uid = class_uid // 1000
    return {
        "activity_id": activity_id,
        "activity_name": activity_text(info, class_uid, activity_id),
        "category_uid": category_uid,
        "category_name": CATEGORIES[category_uid],
        "class_uid": class_uid,
        "class_name": CLASS_NAMES[class_uid],
        "type_uid": class_uid * 100 + activity_id,
        "type_name": f"{CLASS_NAMES[class_uid]}: {ACTIVITIES[class_uid][activity_id]}",
        "severity_id": severity,
        "severity": SEVERITIES[severity],
        "status_id": status_id,
        "status": status,
    }
