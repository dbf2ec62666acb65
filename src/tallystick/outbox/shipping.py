"""From rows of an outbox to the server, and what became of each of them.

A row leaves the outbox only when the server has answered for it. So the relay needs no disk of its own, whoever
dies in between sends the same ids again, and the log has each event once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from tallystick.client.settings import Settings
from tallystick.client.spool import Row
from tallystick.client.transport import Later, Settled, Split, Transport
from tallystick.errors import Misconfigured, Refused
from tallystick.event.outgoing import outgoing

log = logging.getLogger("tallystick")

BATCH_BYTES: Final = 1_000_000


class Outcome(Struct):
    """What became of the rows of one round; what is in neither list waits, because of `later`."""

    done: list[int] = field(default_factory=list)
    dead: list[tuple[int, str]] = field(default_factory=list)  # place in the outbox, and why
    duplicates: int = 0
    later: Later | None = None

    @property
    def moved(self) -> int:
        """How many rows need not be looked at again."""
        return len(self.done) + len(self.dead)


class Shipping:
    """Sends rows of an outbox to one server.

    Args:
        chosen: server, key, and what is hidden in events.

    Raises Misconfigured when no server is set: nothing could ever leave the outbox.
    """

    def __init__(self, chosen: Settings, transport: Transport | None = None) -> None:
        if chosen.url is None:
            raise Misconfigured("the relay has no server: set TALLYSTICK_URL, or give url=")
        self._redaction = chosen.redaction
        self._transport = transport or Transport(chosen.url, chosen.api_key)

    def ship(self, rows: Iterable[Sequence[Any]]) -> Outcome:
        """Send rows of seq, id and event, in their order; never raises for what a network or a server does."""
        outcome = Outcome()
        for batch in _batches(self._checked(rows, outcome)):
            self._send(batch, outcome)
            if outcome.later is not None:
                break  # what comes after it is not to overtake it
        return outcome

    def _checked(self, rows: Iterable[Sequence[Any]], outcome: Outcome) -> list[Row]:
        """Redact and check again: a row may have been written by a trigger, or by anybody else."""
        good: list[Row] = []
        for seq, id, raw in rows:
            try:
                tree = _decoded(bytes(raw))
                tree.setdefault("id", id)  # a trigger says it once, in its column
                good.append(Row(seq, id, outgoing(tree, self._redaction)))
            except Refused as error:
                self._bury(outcome, seq, id, error.rule, str(error))
        return good

    def _send(self, batch: list[Row], outcome: Outcome) -> None:
        answer = self._transport.send(batch)
        match answer:
            case Settled():
                outcome.done += [row.seq for row in answer.done]
                outcome.duplicates += answer.duplicates
                for row, rule, message in answer.dead:
                    self._bury(outcome, row.seq, row.id, rule, message)
                if answer.again:
                    outcome.later = Later(f"{len(answer.again)} events are to be sent again")
            case Split():
                middle = max(1, len(batch) // 2)
                for half in (batch[:middle], batch[middle:]):
                    if half and outcome.later is None:
                        self._send(half, outcome)
            case Later():
                outcome.later = answer

    def _bury(self, outcome: Outcome, seq: int, id: str, rule: str, message: str) -> None:
        log.error(
            "tallystick: event %s of the outbox is refused for good (%s: %s); it stays there as a dead letter, see: "
            "tallystick outbox dead-letters", id, rule, message,
        )  # fmt: skip
        outcome.dead.append((seq, f"{rule}: {message}"))


def _batches(rows: Sequence[Row]) -> Iterable[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and size + len(row.event) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row.event)
    if batch:
        yield batch


def _exact(text: str) -> Any:
    """Return a number that a float writes back as it was as a float, any other as text: databases count further."""
    number = float(text)
    return number if isfinite(number) and Decimal(repr(number)) == Decimal(text) else text


_decode: Final = msgspec.json.Decoder(float_hook=_exact).decode


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        tree = _decode(raw)
    except msgspec.MsgspecError as error:
        raise Refused(f"this row is no JSON ({error})", rule="invalid_json") from None
    if not isinstance(tree, dict):
        raise Refused("this row is no event", rule="invalid_json")
    return tree
