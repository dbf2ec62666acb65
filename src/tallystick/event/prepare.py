"""From the bytes a producer sent to everything that sealing needs: decoded, checked, redacted, split.

The ordinary event takes the quick road: one decoding, one conversion, one walk that finds nothing to do.
Whatever is out of the ordinary is decoded again, strictly, and goes through `Normaliser`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import msgspec

from tallystick.errors import Refused, TooLarge
from tallystick.event import limits
from tallystick.event.assemble import assemble
from tallystick.event.canonical import canonical, canonical_plain
from tallystick.event.decode import Repeated, decode_quick, decode_strict
from tallystick.event.model import Event
from tallystick.event.normalise import Normaliser
from tallystick.event.ordinary import ordinary
from tallystick.event.prepared import Prepared, Subject
from tallystick.event.redact import Redaction
from tallystick.event.wire import convert

__all__ = ["Prepared", "Subject", "prepare", "prepare_event"]


def prepare(raw: bytes, *, redaction: Redaction, new_id: Callable[[], UUID]) -> Prepared:
    """Return the event in `raw` (one JSON document), checked, normalised, flagged and redacted.

    `new_id` makes the id of an event that came without one. Raises Refused, with the JSON pointer and the
    rule, for what its developer must mend, and TooLarge over 256 KiB; nothing else.
    """
    if len(raw) > limits.EVENT_BYTES_MAX:
        raise TooLarge(
            f"the event has {len(raw)} bytes, the limit is {limits.EVENT_BYTES_MAX}; cut its largest values",
            rule="event_too_large",
        )
    tree = decode_quick(raw)
    if tree is not None:
        quick = ordinary(tree, raw, redaction)
        if quick is not None:
            event, has_floats = quick
            return assemble(event, len(raw), new_id, canonical if has_floats else canonical_plain, [], ())
    tree = decode_strict(raw)
    if not isinstance(tree, dict | Repeated):
        raise Refused("an event is one JSON object", rule="invalid_json")
    normaliser = Normaliser(redaction, tree.get("action") if isinstance(tree, dict) else None)
    event = convert(normaliser.event(tree))
    redacted = tuple(normaliser.redacted)
    return assemble(event, len(raw), new_id, canonical, normaliser.all_flags(), redacted)


def prepare_event(event: Event, *, redaction: Redaction, new_id: Callable[[], UUID]) -> Prepared:
    """Return `event`, made in this process, as `prepare` returns one that was sent; raises the same."""
    try:
        raw = msgspec.json.encode(event)
    except UnicodeEncodeError:  # a lone surrogate: JSON can carry it, UTF-8 cannot
        raw = json.dumps(msgspec.to_builtins(event)).encode()
    return prepare(raw, redaction=redaction, new_id=new_id)
