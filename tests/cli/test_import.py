"""What `import` does with lines before anything is sent."""

from __future__ import annotations

import io
import json
from collections import Counter
from uuid import UUID

from tallystick.cli import import_ as command
from tallystick.cli.import_ import BATCH_EVENTS, Line, Outcome

EVENT = {"action": "a.b", "actor": {"type": "system"}}


def _events(text: str) -> tuple[list[Line], Outcome]:
    outcome = Outcome()
    refusals = command._Refusals(None, outcome)
    with refusals:
        return list(command._events(io.BytesIO(text.encode()), None, refusals)), outcome


def test_a_repeated_import_gives_the_same_ids() -> None:
    """Importing a file again would double every event that has no id of its own."""
    text = "\n".join(json.dumps(EVENT) for _ in range(3))
    first, _ = _events(text)
    second, _ = _events(text)
    assert [line.event for line in first] == [line.event for line in second]


def test_equal_lines_are_different_events() -> None:
    """Two equal lines are two acts; merging them would drop one silently."""
    lines, _ = _events("\n".join(json.dumps(EVENT) for _ in range(3)))
    assert len({json.loads(line.event)["id"] for line in lines}) == 3


def test_an_event_with_an_id_is_sent_byte_for_byte() -> None:
    """Decoding and encoding on the way would hide a duplicate key or change a number before the server sees it."""
    raw = '{"id": "01a1fe56-5197-75ba-a851-d9cd8b254110", "action": "a", "action": "b", "n": 1.50}'
    (line,), _ = _events(raw)
    assert line.event == raw.encode()


def test_an_id_that_is_no_uuid_becomes_one_that_stays() -> None:
    """A feed's own id would be refused, or change from import to import."""
    seen: Counter[bytes] = Counter()
    made = command._id({"id": "git:abc"}, command.Record(1, {}, "", b""), seen)
    assert isinstance(made, UUID)
    assert made == command._id({"id": "git:abc"}, command.Record(9, {}, "", b"other"), seen)


def test_batches_hold_every_line_once_and_in_order() -> None:
    """A line at the edge of a batch would be lost or sent twice."""
    lines = [Line(number, b"x" * 100) for number in range(BATCH_EVENTS * 2 + 7)]
    batches = list(command._batches(iter(lines)))
    assert [line for batch in batches for line in batch] == lines
    assert max(len(batch) for batch in batches) == BATCH_EVENTS


def test_a_broken_line_is_counted() -> None:
    """A broken line would vanish from an import that says it is complete."""
    lines, outcome = _events(json.dumps(EVENT) + "\nnonsense\n")
    assert (len(lines), outcome.refused) == (1, 1)
