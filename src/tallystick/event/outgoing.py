"""What a producer does with an event before it keeps it anywhere: the server's checks, in the producer's process.

The same limits, the same redaction, the same refusals; so a developer hears of a mistake where it was made,
and no secret touches the producer's disk. What had to be changed for another reason than a secret is noted
in the event's metadata under `$sdk_flags`, since flags proper are the server's to give.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec

from tallystick.errors import Refused
from tallystick.event.assemble import check_actor
from tallystick.event.decode import decode_strict
from tallystick.event.limits import EVENT_BYTES_MAX
from tallystick.event.moment import read_instant
from tallystick.event.normalise import Normaliser
from tallystick.event.ordinary import ordinary
from tallystick.event.redact import Redaction
from tallystick.event.wire import convert

SDK_FLAGS: Final = "$sdk_flags"
# The server counts bytes as they arrive; a proxy may write them otherwise, so some room is left.
OUTGOING_BYTES_MAX: Final = EVENT_BYTES_MAX - 4096
_KEPT_CHARACTERS: Final = 512  # of a text that is cut
_NOT_WORTH_CUTTING: Final = 2_048
_FREE: Final = ("metadata", "before", "after")
_encode: Final = msgspec.json.Encoder().encode


def outgoing(tree: dict[str, Any], redaction: Redaction, *, own_time: bool = False) -> bytes:
    """Return the bytes of the event in `tree` (plain JSON values), checked, redacted and within all limits.

    `tree` is not changed. An event over 256 KiB has its largest values cut, each with its length and SHA-256
    in its place. With `own_time` the time is known to be written by us. Raises Refused, with JSON pointer and rule, for what its developer must mend.
    """
    try:
        raw = _encode(tree)
    except UnicodeEncodeError:  # a lone surrogate: JSON can carry it, UTF-8 cannot
        raw = b""
    quick = ordinary(tree, raw, redaction) if raw else None
    if quick is None:
        return _carefully(tree, redaction)
    _check(quick[0], own_time)
    return raw if len(raw) <= OUTGOING_BYTES_MAX else _cut_to_fit(tree)


def _carefully(tree: dict[str, Any], redaction: Redaction) -> bytes:
    strict = decode_strict(json.dumps(tree).encode())
    normaliser = Normaliser(redaction, tree.get("action"))
    clean: dict[str, Any] = normaliser.event(strict)
    _check(convert(clean), False)
    # Marks that we left ourselves are no news; the server will see and flag them.
    flags = [flag for flag in normaliser.all_flags() if flag.kind != "producer_redacted"]
    if flags:
        clean["metadata"] = {**(clean.get("metadata") or {}), SDK_FLAGS: msgspec.to_builtins(flags)}
    raw = _encode(clean)
    return raw if len(raw) <= OUTGOING_BYTES_MAX else _cut_to_fit(clean)


def _check(event: Any, own_time: bool) -> None:
    """Raise Refused for what the types cannot say."""
    check_actor(event.actor, "/actor")
    for index, link in enumerate(event.actor.on_behalf_of or ()):
        check_actor(link, f"/actor/on_behalf_of/{index}")
    if not own_time and event.occurred_at is not None:
        read_instant(event.occurred_at)


def _cut_to_fit(tree: dict[str, Any]) -> bytes:
    """Return the bytes of `tree` with its largest free values cut, the largest first, until it fits."""
    tree = json.loads(_encode(tree))  # our own copy: the caller's values stay whole
    places = sorted(
        _long_texts({name: tree[name] for name in _FREE if name in tree}, tree), reverse=True, key=_size
    )
    over = len(_encode(tree)) - OUTGOING_BYTES_MAX
    for holder, key in places:
        if over <= 0:
            break
        whole = holder[key]
        holder[key] = _shortened(whole)
        over -= len(_encode(whole)) - len(_encode(holder[key]))
    raw = _encode(tree)
    for name in sorted((name for name in _FREE if name in tree), key=lambda n: -len(_encode(tree[n]))):
        if len(raw) <= OUTGOING_BYTES_MAX:
            break
        tree[name] = _replaced(_encode(tree[name]))
        raw = _encode(tree)
    return raw


def _long_texts(value: Any, holder: Any) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of each text at or below `value` that is worth cutting."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, str):
            if len(item) > _NOT_WORTH_CUTTING:
                yield holder, key
        elif isinstance(item, dict | list):
            yield from _long_texts(item, item)


def _size(place: tuple[Any, Any]) -> int:
    holder, key = place
    return len(holder[key])


def _shortened(text: str) -> str:
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_KEPT_CHARACTERS]}[truncated {len(text)} characters, sha256 {digest}]"


def _replaced(raw: bytes) -> dict[str, Any]:
    return {"$truncated": {"bytes": len(raw), "sha256": sha256(raw).hexdigest()}}


__all__ = ["OUTGOING_BYTES_MAX", "SDK_FLAGS", "Refused", "outgoing"]
