"""A log whose events are numbered by their producers, exported as the server would."""

from __future__ import annotations

from uuid import UUID

from .peer import PeerLog
from .test_against_event import log_of, sealed

Numbered = tuple[int, list[tuple[int, int]]]  # a number, and the ranges its event accounts for


def numbered_log(numbers: list[Numbered], *, producer: str = "billing-api", epoch: str = "e1") -> PeerLog:
    """Return a log of one event for each number, in the order given."""
    rows = []
    for at, (sequence, unsent) in enumerate(numbers):
        who = {"id": producer, "epoch": epoch, "sequence": sequence}
        if unsent:
            who["unsent"] = [{"first": first, "last": last} for first, last in unsent]
        event = {"action": "a.b", "actor": {"type": "system"}, "metadata": {"at": at}, "producer": who}
        one = sealed(event, bytes(16), lambda at=at: UUID(int=at + 1))
        rows.append((one, one.opening, one.seed))
    return log_of(rows)
