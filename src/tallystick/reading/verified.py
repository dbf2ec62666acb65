"""What came of checking a part of a log that was fetched: proven or not, by whose key, up to which checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec

from msgspec import Struct

from tallystick.errors import Misconfigured, Tampered
from tallystick.merkle.keys import VerifierKey
from tallystick.verify.export import verify_export
from tallystick.verify.known import Kept
from tallystick.verify.report import Finding, Report, Verdict

_HEADER_BYTES_MAX = 1 << 20


class Verified(Struct, frozen=True, kw_only=True):
    """The result of a check; `checkpoint` is the signed state that was proven: keep it, and give it as `known` next time.

    `not_proven` says what cannot follow from what was fetched, `violated` what contradicts itself (100 at most; `violations`
    counts all), `unchecked` why the check did not come to its end, if it did not.
    """

    verdict: Verdict
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    violated: tuple[Finding, ...]
    violations: int
    unchecked: str
    checkpoint: str

    def raise_if_broken(self) -> Verified:
        """Return this where it is proven; raise Tampered for a contradiction, Misconfigured where nothing could be checked."""
        if self.violations:
            first = self.violated[0]
            raise Tampered(
                f"The log contradicts itself in {self.violations} places; the first is {first.where}: {first.message}"
            )
        if self.verdict != "proven":
            raise Misconfigured(f"The log could not be checked: {self.unchecked or 'nothing was proven'}")
        return self


def check(chunks: Iterable[bytes], *, key: str | None, known: Sequence[str]) -> Verified:
    """Check the bytes of an export; `key` is the pinned verifier key, `known` are older checkpoints or receipts."""
    if find_spec("cryptography") is None:
        raise Misconfigured(
            "checking signatures needs a library that recording does not: pip install cryptography"
        )
    first = _FirstLine(chunks)
    keys = () if key is None else (VerifierKey.parse(key),)
    kept = [Kept(f"known[{number}]", text) for number, text in enumerate(known)]
    return _verified(verify_export(first, kept=kept, keys=keys), first.checkpoint)


def _verified(report: Report, checkpoint: str) -> Verified:
    return Verified(
        verdict=report.verdict, proven=tuple(report.proven), not_proven=tuple(report.not_proven),
        violated=tuple(report.violated), violations=report.violations, unchecked=report.unchecked,
        checkpoint=checkpoint if report.verdict == "proven" else "",
    )  # fmt: skip


class _FirstLine:
    """Pieces of an export on their way; keeps the first line, which names the checkpoint."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._chunks:
            if b"\n" not in self._held and len(self._held) < _HEADER_BYTES_MAX:
                self._held += piece
            yield piece

    @property
    def checkpoint(self) -> str:
        """The checkpoint that the first line names, "" where it names none."""
        try:
            said = json.loads(self._held.partition(b"\n")[0])
            return str(said["checkpoint"])
        except (ValueError, KeyError, TypeError):
            return ""
