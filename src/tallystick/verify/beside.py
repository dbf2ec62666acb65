"""The file beside a proof: the same events as CSV, as OCSF or in another product's words, read along with their proof.

A rendering follows from leaf and opening, so it is made again and compared byte for byte; nothing of the file is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from tallystick.errors import AuditError, Refused
from tallystick.verify.layout import Header, ProofHeader
from tallystick.verify.report import Report


class EventRow(NamedTuple):
    """One event as the log stores it: what every rendering is made from."""

    position: int
    leaf: bytes
    opening: bytes
    leaf_hash: bytes


class Difference(NamedTuple):
    """Where a file says something else than its proof, and what."""

    where: str
    message: str


RowsWriter = Callable[[Sequence[EventRow]], bytes]


class Beside(Protocol):
    """A file that is compared with the events of its proof, in their order."""

    def take(self, rows: Sequence[EventRow]) -> Difference | None:
        """Compare what the file says of the next events; the first difference ends the comparison."""
        ...

    def finish(self) -> Difference | None:
        """Return a difference when the file has more than these events."""
        ...


# What is raised for an event that no log of ours would hold.
_UNWRITABLE: Final = (
    AuditError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)

# Opens the file that a header speaks of; raises Refused when this release cannot tell what it must hold.
OpenBeside = Callable[[ProofHeader], Beside]


class RenderedText:
    """A file of `head` and the bytes that `write` makes of the events; `chunks` are its bytes."""

    def __init__(self, chunks: Iterable[bytes], head: bytes, write: RowsWriter) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self._head, self._write = head, write
        self._lines = 1

    def take(self, rows: Sequence[EventRow]) -> Difference | None:
        """See `Beside`."""
        if (wrong := self._begin()) is not None:
            return wrong
        try:
            expected = self._write(rows)
        except _UNWRITABLE as error:
            return Difference("the proof", f"an event of it cannot be rendered: {error!r}")
        found = self._read(len(expected))
        if found == expected:
            self._lines += expected.count(b"\n")
            return None
        return self._difference(rows, found)

    def finish(self) -> Difference | None:
        """See `Beside`."""
        if (wrong := self._begin()) is not None:
            return wrong
        if self._read(1):
            return Difference(
                f"line {self._lines} of the file", "something follows the last event of its proof"
            )
        return None

    def _begin(self) -> Difference | None:
        head, self._head = self._head, b""
        if self._read(len(head)) != head:
            return Difference("line 1 of the file", "its first line is not the one such a file begins with")
        self._lines += head.count(b"\n")
        return None

    def _difference(self, rows: Sequence[EventRow], found: bytes) -> Difference:
        line, at = self._lines, 0
        for row in rows:
            expected = self._write((row,))
            if found[at : at + len(expected)] != expected:
                ends = len(found) < at + len(expected) and found[at:] == expected[: len(found) - at]
                what = "the file ends before" if ends else "it does not say what is proven of"
                return Difference(f"line {line} of the file", f"{what} the event at position {row.position}")
            at += len(expected)
            line += expected.count(b"\n")
        return Difference(f"line {line} of the file", "it does not say what is proven")

    def _read(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end."""
        pieces, held = [self._rest], len(self._rest)
        while held < count and (piece := next(self._chunks, None)) is not None:
            pieces.append(piece)
            held += len(piece)
        joined = b"".join(pieces)
        self._rest = joined[count:]
        return joined[:count]


class Comparison:
    """Where people read the events: in the export's own lines, or in a file beside its proof, which is compared here.

    `open_beside` opens that file, None when it is not at hand. A file of another release than `release`, the one that
    compares, may differ honestly: then it is not violated but unchecked, and the report says which release to take.
    """

    def __init__(self, header: Header, report: Report, open_beside: OpenBeside | None, release: str) -> None:
        self._report, self._release = report, release
        self._rendering = header.rendering if isinstance(header, ProofHeader) else None
        self._file: Beside | None = None
        self.is_beside = self._rendering is not None
        self.proven = ", and each readable form says what was sealed"
        if isinstance(header, ProofHeader):
            rendering = header.rendering
            words = (rendering.format, rendering.version, rendering.view)
            report.facts |= {"rendering": " ".join(filter(None, words)), "release": rendering.release}
            self.proven = ""
            if open_beside is None:
                report.not_proven.append("what the file says that this is the proof of: it was not given")
            else:
                self._open(header, open_beside)

    def _open(self, header: ProofHeader, open_beside: OpenBeside) -> None:
        try:
            self._file = open_beside(header)
        except Refused as error:
            self._report.unchecked = f"the file beside the proof could not be compared: {error}"
        else:
            self.proven = ", and the file says of each what was sealed, nothing else and nothing more"

    def compare(self, rows: Sequence[EventRow]) -> None:
        """Compare the next events with the file, until the first difference: behind it nothing is where it must be."""
        # After a violation the proof has lost an event, so that the file would be called wrong in its place.
        if self._file is not None and rows and not self._report.violations:
            self._differ(self._file.take(rows))

    def finish(self) -> None:
        """Compare the end of the file."""
        if self._file is not None and not self._report.violations:
            self._differ(self._file.finish())

    def _differ(self, wrong: Difference | None) -> None:
        if wrong is None:
            return
        self._file = None
        assert self._rendering is not None
        if self._rendering.release == self._release:
            self._report.violate("rendering", wrong.where, wrong.message)
        else:
            self._report.unchecked = (
                f"{wrong.where}: {wrong.message} as this release writes it ({self._release}). The file says that release "
                f"{self._rendering.release} wrote it: verify it with that one"
            )
