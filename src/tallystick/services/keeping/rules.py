"""Retention rules: their classes, which version of each is in force, what shortens, and what each allows to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.event.limits import DEVELOPER
from tallystick.verify.records import DEFAULT_DAYS, DEFAULT_RULE

CLASSES: Final[Mapping[str, int | None]] = {
    "thirty_days": 30,
    "one_year": 365,
    "seven_years": 2557,  # with two leap days, so that seven calendar years are never cut short
    "forever": None,
}
CUSTOM: Final = "custom"
DAYS_MAX: Final = 36_500
RULES_MAX: Final = 200
_LATER_THAN_ALL: Final = 1 << 62


class PolicyVersion(Struct, frozen=True, kw_only=True):
    """One version of a rule, as the event at `position` recorded it; `days` None = for ever."""

    rule: str
    position: int
    stream: str | None
    workspace: str | None
    class_: str
    days: int | None
    ended: bool
    recorded_at: datetime
    effective_at: datetime

    @property
    def scope(self) -> tuple[str | None, str | None]:
        """What it is for: a stream, a workspace, or everything else."""
        return self.stream, self.workspace


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"class_": "class"}):
    """What a rule shall be: of a stream, of a workspace ("-" = the organization's own level), or of everything else.

    `days` goes with the class custom only; `ended` makes an end of a stream's or workspace's own rule.
    """

    stream: str | None = None
    workspace: str | None = None
    class_: str = ""
    days: int | None = None
    ended: bool = False


def checked(wish: Wish) -> tuple[str, int | None]:
    """Return class and days of a wish; raises Refused when it makes no sense."""
    if wish.stream is not None and wish.workspace is not None:
        raise Refused(
            "A rule is for a stream or for a workspace, not for both.", path="/workspace", rule="scope"
        )
    for name, value in (("stream", wish.stream), ("workspace", wish.workspace)):
        if value is not None and not 0 < len(value) <= DEVELOPER.get(name, 128):
            raise Refused(f"That is no {name}.", path=f"/{name}", rule="scope")
    if wish.ended:
        if wish.stream is None and wish.workspace is None:
            raise Refused(
                "The rule of everything else can be changed, never ended.", path="/ended", rule="scope"
            )
        return "", None
    if wish.class_ == CUSTOM:
        if wish.days is None or not 1 <= wish.days <= DAYS_MAX:
            raise Refused(f"A custom class keeps 1 to {DAYS_MAX} days.", path="/days", rule="range")
        return CUSTOM, wish.days
    if wish.class_ not in CLASSES:
        known = ", ".join([*CLASSES, CUSTOM])
        raise Refused(f"There is no such retention class; known are {known}.", path="/class", rule="class")
    if wish.days is not None:
        raise Refused("Days go with the class custom only.", path="/days", rule="class")
    return wish.class_, CLASSES[wish.class_]


def in_force(versions: Iterable[PolicyVersion], at: datetime) -> dict[str, PolicyVersion]:
    """Return the version of each rule that counts at a moment: the last one recorded whose time has come."""
    found: dict[str, PolicyVersion] = {}
    for version in sorted(versions, key=lambda one: one.position):
        if version.effective_at <= at:
            found[version.rule] = version
    return {rule: version for rule, version in found.items() if not version.ended}


def to_come(versions: Sequence[PolicyVersion], at: datetime) -> list[PolicyVersion]:
    """Return the versions that are announced and that no later one has overtaken."""
    return [
        one for one in versions
        if one.effective_at > at
        and not any(later.rule == one.rule and later.position > one.position and later.effective_at <= one.effective_at
                    for later in versions)
    ]  # fmt: skip


def default_days(force: Mapping[str, PolicyVersion]) -> int | None:
    """Return how long everything else is kept."""
    return force[DEFAULT_RULE].days if DEFAULT_RULE in force else DEFAULT_DAYS


def is_shorter(new: int | None, old: int | None) -> bool:
    """Tell whether `new` days are less than `old`; None = for ever."""
    return new is not None and (old is None or new < old)


def cutoff(days: int | None, at: datetime) -> datetime | None:
    """Return before when events must have been received to be due, None where none ever is."""
    return None if days is None else at - timedelta(days=days)


class Tide(Struct, frozen=True, kw_only=True):
    """What one rule lets go: events before position `bound`, by the checkpoint that proves them older than `before`."""

    version: PolicyVersion
    before: datetime | None
    bound: int
    checkpoint: str


def never(version: PolicyVersion) -> Tide:
    """Return the tide of a rule under which nothing goes."""
    return Tide(version=version, before=None, bound=0, checkpoint="")
