"""Whose signatures count, and opening a checkpoint by them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, cast

from msgspec import Struct

from tallystick.errors import Refused, Tampered
from tallystick.merkle.checkpoint import (
    Checkpoint,
    PinnedKey,
    SignedCheckpoint,
    open_checkpoint,
    parse_checkpoint,
)
from tallystick.merkle.cosignature import split_cosignature
from tallystick.merkle.keys import COSIGNATURE, ED25519, VerifierKey
from tallystick.merkle.note import Verifier, parse_note
from tallystick.merkle.tree import SIZE_MAX

Keys = Sequence[Verifier | PinnedKey]


class Trust(Struct, frozen=True):
    """The keys whose signatures count: `logs` sign checkpoints, `clocks` cosign when.

    `pinned` tells whether the caller gave the log keys, or the subject named them itself.
    """

    logs: Keys
    clocks: tuple[VerifierKey, ...]
    pinned: bool


class Signed(NamedTuple):
    """A checkpoint with a good signature: when its log's clock says that it was signed ("" = it does not), and the
    trusted keys that signed, by name and id."""

    checkpoint: Checkpoint
    at: str
    by: frozenset[tuple[str, int]]


def trust(pinned: Keys, named: Sequence[str] = ()) -> Trust:
    """Return whom to trust: the pinned keys, and where no log's or no clock's is pinned, those the subject names.

    Raises Refused when a named key cannot be read.
    """
    logs, clocks = _apart(pinned)
    named_logs, named_clocks = _apart([named_key(text) for text in named])
    return Trust(logs or named_logs, clocks or named_clocks, bool(logs))


def named_key(text: str) -> Verifier:
    """Read a key from its text form; raises Refused when it is none."""
    # A cached_property is a property to everyone but the type checker.
    return cast(Verifier, VerifierKey.parse(text))


def _apart(keys: Keys) -> tuple[Keys, tuple[VerifierKey, ...]]:
    clocks = tuple(key for key in keys if isinstance(key, VerifierKey) and key.key_type == COSIGNATURE)
    return tuple(key for key in keys if key not in clocks), clocks


def instance_of(origin: str) -> str:
    """Return the instance a log belongs to: the part before `/o/<organization id>`, or all of it for its own log."""
    return origin.rpartition("/o/")[0] or origin


def keys_for_origin(keys: Keys, origin: str) -> Keys:
    """Return `keys`, and those named after the instance of `origin` once more under its name: they sign all its logs.

    A key named after an organization's log counts for that log alone, so that no log can stand in for another.
    """
    found: list[Verifier | PinnedKey] = list(keys)
    instance = instance_of(origin)
    for key in keys:
        if isinstance(key, VerifierKey) and key.key_type == ED25519 and key.name == instance != origin:
            renamed = cast(Verifier, VerifierKey(origin, key.public_key))
            if renamed not in found:
                found.append(renamed)
        elif isinstance(key, PinnedKey) and key.size_max == SIZE_MAX:
            found += [one for one in keys_for_origin((key.verifier,), origin) if one is not key.verifier]
    return tuple(found)


def open_signed(note: str, trusted: Trust, *, origin: str | None = None) -> Signed:
    """Open a checkpoint, every signature of a trusted key checked.

    Raises what `open_checkpoint` raises, and Tampered when the clock of this log's instance is trusted and did not
    sign: somebody took the time away.
    """
    logs = keys_for_origin(trusted.logs, parse_checkpoint(parse_note(note).text).origin)
    signed = open_checkpoint(note, logs, origin=origin, witnesses=cast(Sequence[Verifier], trusted.clocks))
    instance = instance_of(signed.checkpoint.origin)
    by = frozenset((one.name, one.key_id) for one in (*signed.signed_by, *signed.cosigned_by))
    for clock in trusted.clocks:
        if clock.name == f"{instance}/clock" and (clock.name, clock.key_id) not in by:
            raise Tampered(f"the clock {clock.name} did not sign it", rule="clock")
    return Signed(signed.checkpoint, _time_of(signed, f"{instance}/clock"), by)


def check_named(note: str, named: Sequence[str], by: frozenset[tuple[str, int]]) -> None:
    """Raise Refused or Tampered unless the keys in `named` all signed the checkpoint and include those in `by`."""
    keys = [named_key(text) for text in named]
    logs, clocks = _apart(keys)
    if not logs:
        raise Refused("the header names no key of the log", rule="key")
    signed = open_checkpoint(note, logs, witnesses=cast(Sequence[Verifier], clocks))
    if len(signed.signed_by) + len(signed.cosigned_by) != len(keys) or by - {
        (one.name, one.key_id) for one in keys
    }:
        raise Tampered("the header does not name the keys that signed its checkpoint", rule="key")


def _time_of(signed: SignedCheckpoint, clock: str) -> str:
    for one in signed.cosigned_by:
        timed = split_cosignature(one.signature) if one.name == clock else None
        if timed is not None and timed[0] < 1 << 36:
            return datetime.fromtimestamp(timed[0], UTC).isoformat().replace("+00:00", "Z")
    return ""
