"""What an evidence bundle holds, declared once for who writes and who verifies it (docs/reference/evidence-bundle.md)."""

from __future__ import annotations

from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from tallystick.errors import Refused

FORMAT: Final = "tallystick-evidence"
VERSION: Final = 1
ISSUED: Final = "evidence.issued"  # the event by which the log itself seals a bundle

README, REPORT_HTML, REPORT_PDF, CONTROLS = "README.txt", "report.html", "report.pdf", "controls.json"
CHECKPOINTS, EXPORT, REMOVED = "checkpoints.jsonl", "export.jsonl", "removed.jsonl"
MANIFEST, SEAL = "manifest.json", "issued.json"
# In this order; those with False may be missing.
ORDER: Final[tuple[tuple[str, bool], ...]] = (
    (README, True), (REPORT_HTML, True), (REPORT_PDF, False), (CONTROLS, False), (CHECKPOINTS, True), (EXPORT, True),
    (REMOVED, True), (MANIFEST, True), (SEAL, True),
)  # fmt: skip

TEXT_BYTES_MAX: Final = 4 << 20  # of whatever is read as a whole
CHECKPOINTS_MAX: Final = 1_000
# Decisions of a second person, which stand in the catalogue beside the records of keeping.
DECISIONS: Final = frozenset({"approval.requested", "approval.approved", "approval.refused"})
T = TypeVar("T", bound=Struct)


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Asker(_Part, frozen=True, kw_only=True):
    """Who asked: the kind of credential, its id and its name."""

    kind: str
    id: str
    name: str


class Question(_Part, frozen=True, kw_only=True):
    """What was asked: the filter as a query and in words, by whom and when (RFC 3339, UTC)."""

    filter: str
    words: str
    asked_by: Asker
    asked_at: str


class Found(_Part, frozen=True, kw_only=True):
    """What was found: `events` in full among positions [start, end) of a log of `size` events."""

    start: int
    end: int
    size: int
    events: int


class CheckpointCount(_Part, frozen=True, kw_only=True):
    """How many retained checkpoints the log has in the range, and how many of them are here, spread evenly."""

    in_range: int
    here: int


class EntrySum(_Part, frozen=True, kw_only=True):
    """A file of the bundle, its size and its SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


class Manifest(_Part, frozen=True, kw_only=True):
    """`manifest.json`: what the bundle is about, and what each of its other files must hash to."""

    format: Literal["tallystick-evidence"] = FORMAT
    version: Literal[1] = VERSION
    bundle: str
    kind: Literal["evidence", "pack"]
    origin: str
    organization: str
    question: Question
    found: Found
    checkpoints: CheckpointCount
    removals: int
    keys: tuple[str, ...]
    entries: tuple[EntrySum, ...]


class KeptLine(_Part, frozen=True, kw_only=True):
    """A line of `checkpoints.jsonl`: a signed checkpoint of the log."""

    checkpoint: str


class Issued(_Part, frozen=True, kw_only=True):
    """`issued.json`: the event by which the log took the manifest's SHA-256 in, and its way to a signed root.

    `line` is the event's line of an export, `receipt` its tlog-proof, `consistency` base64 hashes: the proof that the
    receipt's log continues the export's.
    """

    line: Raw
    receipt: str
    consistency: tuple[str, ...]


class Control(_Part, frozen=True, kw_only=True):
    """One control of a pack with its answer; `events` are positions in `export.jsonl` that show it, newest first."""

    id: str
    title: str
    asks: str
    result: Literal["met", "partly", "not_met", "unknown"]
    found: tuple[str, ...]
    missing: tuple[str, ...]
    query: str
    matches: int
    events: tuple[int, ...]


class Controls(_Part, frozen=True, kw_only=True):
    """`controls.json`: an evidence pack's controls."""

    pack: str
    title: str
    source: str
    period: str
    controls: tuple[Control, ...]


def written(part: Struct) -> bytes:
    """Return the one spelling of a JSON file of the bundle."""
    return msgspec.json.encode(part) + b"\n"


def read(raw: bytes, kind: type[T], name: str) -> T:
    """Read a JSON file of the bundle; raises Refused when it is none, or not spelled as `written` spells it."""
    try:
        found = msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(f"{name} cannot be read: {error}", rule="manifest") from None
    if written(found) != raw:
        raise Refused(f"{name} is not spelled as Tallystick spells it", rule="manifest")
    return found
