"""An event on its way into the spool, and one that waits in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct


class Row(Struct, frozen=True):
    """One event that waits, with its number in it."""

    seq: int
    id: str
    event: bytes


class Ticket:
    """One event on its way into the spool; `done` is called with the error, or None, when that is settled."""

    __slots__ = ("_gate", "done", "error", "id", "raw", "settled")

    def __init__(self, id: str, raw: bytes, done: Callable[[Exception | None], None] | None = None) -> None:
        self.id = id
        self.raw = raw
        self.done = done
        self.error: Exception | None = None
        self.settled = False
        self._gate: threading.Lock | None = None

    def will_wait(self) -> None:
        """Have `wait` wait until `wake` is called; before others can see this."""
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self) -> None:
        """Wait until somebody wakes whoever recorded this; once for each call of `wake`, or less."""
        assert self._gate is not None
        self._gate.acquire()

    def wake(self) -> bool:
        """Wake whoever waits; False where nobody ever does."""
        if self._gate is None:
            return False
        with suppress(RuntimeError):  # woken already
            self._gate.release()
        return True
