"""What the log records of its own keeping: policies, holds, removals and erasures, as their events hold it.

The part that machines read is the event's `metadata`, one struct for each action; people read `after`. Services write
these structs and verifiers read them, so that there is one declaration. docs/explanation/erasure.md says what follows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tallystick.errors import Refused, Tampered
from tallystick.event.leaf import Leaf, read_values
from tallystick.event.moment import read_instant

STREAM: Final = "tallystick"
SOURCE: Final = "tallystick"  # what the server itself brings; no caller can be called so
POLICY_CHANGED: Final = "retention.policy_changed"
PRUNED: Final = "retention.pruned"
HOLD_SET: Final = "legal_hold.set"
HOLD_RELEASED: Final = "legal_hold.released"
ERASED_EVENT: Final = "privacy.erased"
RECORDS: Final = frozenset({POLICY_CHANGED, PRUNED, HOLD_SET, HOLD_RELEASED, ERASED_EVENT})

NOTICE: Final = timedelta(days=7)  # before a shorter retention takes effect
DEFAULT_DAYS: Final = 365  # holds until a policy is recorded
DEFAULT_RULE: Final = "default"  # the rule of everything no other rule is for
RANGES_MAX: Final = 8_000  # ranges of positions in one record, so that it stays below the limit of an event

Ranges = tuple[tuple[int, int], ...]  # first position and count


class _Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    format: Literal[1] = 1


class PolicyRecord(_Record, frozen=True):
    """retention.policy_changed: from `effective_at` on, `rule` keeps `days` (None = for ever), or is no more (`ended`)."""

    rule: str
    days: int | None
    effective_at: str
    ended: bool = False


class PrunedPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Positions removed under one rule: what the policy event at `policy` allows, received before `before`.

    `checkpoint` is a checkpoint of more events than the last of them, signed before `before`: they are that old.
    """

    rule: str
    policy: int
    days: int
    before: str
    checkpoint: str
    positions: Ranges


class ArchiveRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that holds the events of a removal with their proof; `sha256` in hexadecimal."""

    file: str
    sha256: str
    bytes: int


class PrunedRecord(_Record, frozen=True):
    """retention.pruned: `events` events were removed; their leaf hashes stay."""

    events: int
    parts: tuple[PrunedPart, ...]
    archive: ArchiveRecord | None = None


class HoldRecord(_Record, frozen=True):
    """legal_hold.set: what was held at that moment; `positions` is None where these were too many to list."""

    hold: str
    events: int
    positions: Ranges | None


class ReleaseRecord(_Record, frozen=True):
    """legal_hold.released."""

    hold: str


class ErasedFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values at `paths` are gone from the events at `positions`."""

    paths: tuple[str, ...]
    positions: Ranges


class ErasedRecord(_Record, frozen=True):
    """privacy.erased: `fields` lost values, the events at `removed` are gone as a whole."""

    erasure: str
    fields: tuple[ErasedFields, ...] = ()
    removed: Ranges = ()


Record = PolicyRecord | PrunedRecord | HoldRecord | ReleaseRecord | ErasedRecord

_READ: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    POLICY_CHANGED: msgspec.json.Decoder(PolicyRecord),
    PRUNED: msgspec.json.Decoder(PrunedRecord),
    HOLD_SET: msgspec.json.Decoder(HoldRecord),
    HOLD_RELEASED: msgspec.json.Decoder(ReleaseRecord),
    ERASED_EVENT: msgspec.json.Decoder(ErasedRecord),
}


class Recorded(Struct, frozen=True, kw_only=True):
    """A record where it stands in the log."""

    position: int
    received_at: datetime
    record: Record


def is_record(action: str, stream: str, source: str) -> bool:
    """Tell whether an event is one by which the log keeps account of itself: no caller can write one."""
    return action in RECORDS and stream == STREAM and source == SOURCE


def read_record(position: int, leaf: Leaf, opening: bytes) -> Recorded | None:
    """Return the record an event holds, None when it is none or did not succeed.

    Leaf and opening must have been checked against each other. Raises Tampered for a record that cannot be read.
    """
    if not is_record(leaf.action, leaf.stream, leaf.source) or leaf.outcome != "success":
        return None
    try:
        metadata = read_values(opening).get("metadata")
        if metadata is None:
            raise ValueError("it has no metadata")
        record = _READ[leaf.action].decode(metadata)
        return Recorded(position=position, received_at=read_instant(leaf.received_at)[0], record=record)
    except (msgspec.MsgspecError, ValueError, Refused, RecursionError) as error:
        raise Tampered(f"a record of the log cannot be read: {error}", rule="record") from None
