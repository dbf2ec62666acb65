"""What the producers' own numbers say about a part of a log: whether anything is missing that was never in it.

The tree proves that nothing was taken out of the log; only the numbers that producers give their events can tell that
something never came. A gap is no violation of the log, so that it never changes the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tallystick.event.leaf import LeafProducer
from tallystick.event.numbering import Numbering, sentence
from tallystick.verify.report import Report

EPOCHS_MAX: Final = 10_000  # accounts that are kept; of further ones it is said that they were not looked at
TOLD_MAX: Final = 20


class ProducerNumbers:
    """Collects the numbers of events, in the order of their positions."""

    def __init__(self, epochs_max: int = EPOCHS_MAX) -> None:
        self._accounts: dict[tuple[str, str], Numbering] = {}
        self._lowest: dict[tuple[str, str], int] = {}
        self._epochs_max = epochs_max
        self._not_looked_at = 0

    def take(self, producers: Iterable[LeafProducer]) -> None:
        """Take in the numbers of some events."""
        for producer in producers:
            key = producer.id, producer.epoch
            account = self._accounts.get(key)
            if account is None:
                if len(self._accounts) >= self._epochs_max:
                    self._not_looked_at += 1
                    continue
                account = self._accounts[key] = Numbering()
            account.take(producer)
            self._lowest[key] = min(producer.sequence, self._lowest.get(key, producer.sequence))

    def tell(self, report: Report, *, from_the_beginning: bool, whole: bool) -> None:
        """Say in `report` what is missing; `whole` says that every event of the range was seen.

        Where the range does not begin with the log, nothing is expected below the lowest number that was seen.
        """
        if not self._accounts:
            return
        if not whole:
            report.not_proven.append(
                "whether the numbers of producers are complete: not every event of the range is here in full"
            )
            return
        if not from_the_beginning:
            for key, account in self._accounts.items():
                account.missing.take(1, self._lowest[key] - 1)
        producers = len({id for id, _ in self._accounts})
        self._tell_gaps(report)
        if self._not_looked_at:
            report.not_proven.append(
                f"whether the numbers of {self._not_looked_at} events are complete: there are over {self._epochs_max} epochs"
            )
        elif not any(account.missing_count or account.conflicts for account in self._accounts.values()):
            events = sum(account.events for account in self._accounts.values())
            report.proven.append(
                f"the numbers of {_counted(producers, 'producer')} are complete in {_counted(events, 'event')}"
                + self._declared()
            )

    def _tell_gaps(self, report: Report) -> None:
        told = 0
        for (id, epoch), account in self._accounts.items():
            if not account.missing_count and not account.conflicts:
                continue
            told += 1
            if told > TOLD_MAX:
                continue
            if account.missing_count:
                said = sentence(id, account.missing, account.missing_count)
                report.not_proven.append(f"that producers sent everything: {said} (epoch {epoch})")
            if account.conflicts:
                report.not_proven.append(
                    f"that producers sent nothing twice: producer {id}: {_counted(account.conflicts, 'number')} came again with "
                    f"another event (epoch {epoch})"
                )
        if told > TOLD_MAX:
            report.not_proven.append(f"the same of {told - TOLD_MAX} more epochs")

    def _declared(self) -> str:
        declared = sum(account.unsent.count() for account in self._accounts.values())
        return f"; {_counted(declared, 'event')} they declared as not sent" if declared else ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
