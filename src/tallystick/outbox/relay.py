"""The relay: rounds of taking the oldest events, sending them, and deleting what the server has, in one transaction.

While a round lasts its rows are locked, so that several relays share the work and none waits for another. A relay
that is killed lets go of them; they are sent again under the same ids, and the log has each of them once. Events
leave in the order in which they were written, as long as one relay runs; several overtake each other by a round.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.errors import TryLater
from tallystick.outbox.shipping import Outcome, Shipping
from tallystick.outbox.table import ROWS_MAX, Statement, Statements

log = logging.getLogger("tallystick")

PAUSE_SECONDS: Final = 0.5
BACK_OFF_SECONDS_MAX: Final = 60.0
Run = Callable[[Statement], Sequence[Any]]
RunSoon = Callable[[Statement], Awaitable[Sequence[Any]]]
Round = Callable[[], Outcome]
RoundSoon = Callable[[], Awaitable[Outcome]]


class Rows(Struct, frozen=True):
    """What a round wants to have sent."""

    rows: Sequence[Any]


def _steps(
    statements: Statements, rows_max: int
) -> Generator[Statement | Rows, Sequence[Any] | Outcome, Outcome]:
    """One round as the questions it asks: the same for drivers that block and for those that do not."""
    rows = yield statements.claim(rows_max)
    assert not isinstance(rows, Outcome)
    if not rows:
        return Outcome()
    outcome = yield Rows(rows)
    assert isinstance(outcome, Outcome)
    if outcome.done:
        yield statements.delete(outcome.done)
    for seq, why in outcome.dead:
        yield statements.refuse(seq, why)
    return outcome


def run_round(statements: Statements, shipping: Shipping, run: Run, *, rows_max: int = ROWS_MAX) -> Outcome:
    """Do one round within a transaction of the caller's, who commits it whatever became of the rows."""
    steps = _steps(statements, rows_max)
    answer: Sequence[Any] | Outcome | None = None
    while True:
        try:
            wanted = steps.send(answer)  # type: ignore[arg-type] - a generator begins with None
        except StopIteration as end:
            return end.value
        answer = shipping.ship(wanted.rows) if isinstance(wanted, Rows) else run(wanted)


async def run_round_soon(
    statements: Statements, shipping: Shipping, run: RunSoon, *, rows_max: int = ROWS_MAX
) -> Outcome:
    """Do one round as `run_round` does, without holding up the event loop for the server."""
    steps = _steps(statements, rows_max)
    answer: Sequence[Any] | Outcome | None = None
    while True:
        try:
            wanted = steps.send(answer)  # type: ignore[arg-type] - a generator begins with None
        except StopIteration as end:
            return end.value
        if isinstance(wanted, Rows):
            answer = await asyncio.to_thread(shipping.ship, wanted.rows)
        else:
            answer = await run(wanted)


def settled(outcome: Outcome) -> int:
    """Return how many rows a round has dealt with; TryLater where the server took none of them for now."""
    if outcome.later is not None and not outcome.moved:
        raise TryLater(
            f"The server does not take events now ({outcome.later.why}). They wait in the outbox and nothing is lost.",
            retry_after_seconds=max(1, int(outcome.later.after_seconds)),
        )
    return outcome.moved


class Pace:
    """How long a relay waits between two rounds: not at all while there is work, longer and longer in trouble."""

    def __init__(self, pause_seconds: float, chance: Callable[[], float] = random.random) -> None:
        self.sent = 0
        self.dead = 0
        self.trouble = ""
        self._pause = pause_seconds
        self._failures = 0
        self._chance = chance

    def after(self, outcome: Outcome) -> float:
        """Return the seconds to wait after a round that the database has committed."""
        self.sent += len(outcome.done)
        self.dead += len(outcome.dead)
        if outcome.later is not None:
            return self._in_trouble(outcome.later.why, outcome.later.after_seconds)
        if self.trouble:
            log.info("tallystick: the outbox is relayed again")
        self.trouble, self._failures = "", 0
        return 0.0 if outcome.moved else self._pause

    def after_error(self, error: BaseException) -> float:
        """Return the seconds to wait after a round that the database did not let happen."""
        return self._in_trouble(f"the database: {type(error).__name__}", 0.0)

    def _in_trouble(self, why: str, least: float) -> float:
        if why != self.trouble:
            self.trouble = why
            log.warning("tallystick: the outbox is not relayed, %s; its events wait and nothing is lost", why)
        self._failures = min(self._failures + 1, 30)
        most = min(BACK_OFF_SECONDS_MAX, max(self._pause, 0.01) * 2**self._failures)
        return max(least, most * (0.5 + 0.5 * self._chance()))


class Background:
    """Relays in a thread for as long as a `with` block lasts, and once more at its end.

    Args:
        round: does one round in a transaction of its own. pause_seconds: between two looks at an empty outbox.
    """

    def __init__(self, round: Round, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.pace = Pace(pause_seconds)
        self._round = round
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tallystick-relay", daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            wait = self._once()
        while not self.pace.trouble and self._once() == 0.0:
            pass  # what was committed during the last pause

    def _once(self) -> float:
        try:
            return self.pace.after(self._round())
        except Exception as error:  # any driver's: what is committed waits in the outbox
            return self.pace.after_error(error)


async def relay_until(stop: asyncio.Event, round: RoundSoon, *, pause_seconds: float = PAUSE_SECONDS) -> Pace:
    """Relay in this event loop until `stop` is set, and once more then; returns the numbers."""
    pace = Pace(pause_seconds)
    while not stop.is_set():
        wait = await _once_soon(pace, round)
        if wait:
            try:
                await asyncio.wait_for(stop.wait(), wait)
            except TimeoutError:
                continue
    while not pace.trouble and await _once_soon(pace, round) == 0.0:
        pass
    return pace


async def _once_soon(pace: Pace, round: RoundSoon) -> float:
    try:
        return pace.after(await round())
    except Exception as error:  # any driver's
        return pace.after_error(error)
