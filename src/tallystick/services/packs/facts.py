"""What the checks of evidence packs look at: this installation as it is, read once for each pack."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from tallystick.services.keeping.rules import PolicyVersion
from tallystick.verify.report import Report

Result = Literal["met", "partly", "not_met", "unknown"]


class Outcome(Struct, frozen=True, kw_only=True):
    """What a check found, and what is missing for it, in sentences for people."""

    result: Result
    found: str = ""
    missing: str = ""


class Outside(Struct, frozen=True, kw_only=True):
    """Who else signed of late: witnesses of the instance log, and authorities of time."""

    witnesses: int
    witnessed_at: datetime | None
    authorities: int
    stamped_at: datetime | None


class Facts(Struct, frozen=True, kw_only=True):
    """One installation, for one control.

    `count` tells how many events of the period a query has; `ever`, how many at all. `matches` is that of the control's
    own query, `report` the check of the pack's export, `rules` those in force besides the default.
    """

    at: datetime
    matches: int
    days: int | None
    rules: tuple[PolicyVersion, ...]
    dual_control: bool
    holds: int
    outside: Outside
    report: Report
    count: Callable[[str], Awaitable[int]]
    ever: Callable[[str], Awaitable[int]]
