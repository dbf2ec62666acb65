"""The one table of limits on what a producer may send; each one is reached by a test.

Lengths of text count characters (Unicode code points), sizes count bytes. What happens at a limit depends
on who wrote the value: `DEVELOPER` text over its limit is refused, `FOREIGN` text (which an attacker can
write) is cut and flagged, so that nobody can make the record of his own act disappear.
Source: docs/reference/event.md, "Limits".
"""

from __future__ import annotations

from typing import Final

EVENT_BYTES_MAX: Final = 256 * 1024
BATCH_EVENTS_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024  # after decompression
HEADER_BYTES_MAX: Final = 16 * 1024

TARGETS_MAX: Final = 100
ON_BEHALF_OF_MAX: Final = 8
UNSENT_MAX: Final = 64  # ranges of numbers that one event accounts for

DEPTH_MAX: Final = 200  # of the whole document; deeper is refused
VALUE_DEPTH_MAX: Final = 32  # inside before, after and metadata; deeper subtrees are kept as JSON text

INTEGER_MAX: Final = 2**53 - 1  # the last integer every JSON reader agrees on

LEAF_BYTES_MAX: Final = 65_535  # C2SP tlog-tiles: the length of an entry is a 16-bit number
LEAF_TARGETS_BYTES_MAX: Final = 48 * 1024  # targets beyond this are sealed instead of lying in the leaf
LEAF_ENVELOPE_BYTES_MAX: Final = 4 * 1024  # room kept in the leaf for origin, source, times, refs

FLAGS_MAX: Final = 1_000  # of one event; the last one says how many more there were
CHANGES_MAX: Final = 1_000  # differences listed between before and after; then one marker

# Text a developer writes: strict and loud. Path → characters at most.
DEVELOPER: Final[dict[str, int]] = {
    "action": 256,
    "stream": 64,
    "workspace": 512,
    "actor.credential_id": 512,
    "actor.roles.organization": 128,
    "actor.roles.workspace": 128,
    "targets.type": 128,
    "producer.id": 128,
    "producer.epoch": 64,
}

# Text an attacker can write (names, headers, ids taken from a URL or a login form): cut and flagged.
FOREIGN: Final[dict[str, int]] = {
    "actor.id": 512,
    "actor.name": 1_024,
    "actor.email": 320,
    "targets.id": 512,
    "targets.name": 1_024,
    "context.ip": 256,
    "context.user_agent": 2_048,
    "context.request_id": 256,
    "context.session_id": 256,
    "context.trace_id": 256,
    "context.http.method": 64,
    "context.http.path": 8_192,
    "context.location.country": 256,
    "context.location.region": 256,
    "context.location.city": 256,
    "error.type": 256,
    "error.code": 256,
    "error.message": 8_192,
}

# Integers of the event, smallest and largest.
INTEGERS: Final[dict[str, tuple[int, int]]] = {
    "context.http.status": (0, 999),
    "producer.sequence": (1, INTEGER_MAX),
    "producer.unsent.first": (1, INTEGER_MAX),
    "producer.unsent.last": (1, INTEGER_MAX),
}

# Cut ids end with the SHA-256 of the whole, so that two long ids stay two different ids.
IDENTIFIERS: Final = frozenset({"actor.id", "targets.id"})

ACTION_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
STREAM_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]*$"
PRODUCER_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"
ID_PATTERN: Final = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
