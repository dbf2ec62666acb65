"""What producers never sent: said by the verifier of an export, and never taken for a fault of the log."""

from __future__ import annotations

import pytest

from tallystick.event.leaf import LeafProducer
from tallystick.verify.export import verify_export
from tallystick.verify.producers import TOLD_MAX, ProducerNumbers
from tallystick.verify.report import Report

from .numbered import Numbered, numbered_log
from .peer import SIGNER, PeerLog


def verified(log: PeerLog, start: int = 0, end: int | None = None, **more: object) -> Report:
    export = log.export(start, len(log.rows) if end is None else end, **more)  # type: ignore[arg-type]
    return verify_export([export], keys=(SIGNER.verifier,))


def plain(*numbers: int) -> list[Numbered]:
    return [(number, []) for number in numbers]


def test_a_gap_is_told_and_is_no_violation() -> None:
    """An auditor must read what never came, and must not take it for a log that was changed."""
    report = verified(numbered_log(plain(*range(1, 121), *range(138, 141))))
    assert report.verdict == "proven"
    assert any(
        "producer billing-api: 17 events missing between 120 and 138 (epoch e1)" in line
        for line in report.not_proven
    )
    assert not any("numbers of" in line for line in report.proven)


def test_what_is_complete_is_proven() -> None:
    """That nothing is missing must be said as well, with what the producer itself gave up."""
    report = verified(numbered_log([*plain(3, 1, 2), (8, [(4, 7)])]))
    assert (
        "the numbers of 1 producer are complete in 4 events; 4 events they declared as not sent"
        in report.proven
    )


def test_a_part_of_a_log_is_judged_by_what_it_covers() -> None:
    """What came before the range is not missing from it."""
    log = numbered_log(plain(1, 2, 3, 5, 6, 9))
    assert any("complete in 2 events" in line for line in verified(log, 3, 5).proven)
    assert any("2 events missing between 6 and 9" in line for line in verified(log, 4).not_proven)


def test_what_cannot_be_told_is_said() -> None:
    """Where only some events can be read, silence would be taken for completeness."""
    log = numbered_log(plain(1, 2, 3))
    report = verified(log, full=[True, False, True], filter_text="action:a")
    assert any("whether the numbers of producers are complete" in line for line in report.not_proven)
    assert not any("numbers" in line for line in verified(PeerLog.of(9)).proven)


@pytest.mark.parametrize("numbers", [plain(1, 2, 2), plain(1, 1, 1)])
def test_a_number_that_came_twice_is_told(numbers: list[Numbered]) -> None:
    """A copied spool numbers other events alike; then the count proves nothing."""
    report = verified(numbered_log(numbers))
    assert report.verdict == "proven"
    assert any("came again with another event" in line for line in report.not_proven)


def test_limits() -> None:
    """However many producers there are, the report stays readable and the memory small."""
    found = ProducerNumbers(epochs_max=TOLD_MAX + 2)
    found.take(LeafProducer(epoch="e", id=f"p{at}", sequence=2) for at in range(TOLD_MAX + 4))
    report = Report(subject="export")
    found.tell(report, from_the_beginning=True, whole=True)
    assert report.not_proven[-2:] == [
        "the same of 2 more epochs",
        f"whether the numbers of 2 events are complete: there are over {TOLD_MAX + 2} epochs",
    ]
