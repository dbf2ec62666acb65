"""JSONL exports: honest ones are proven, every edit is found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.formats.jsonl import ExportRow
from tallystick.verify.export import QuickCheck, verify_export

from .forgery import FORGERIES, Lines, forged
from .peer import CLOCK, SIGNER, PeerLog

REPETITIONS = 40
KEYS = (SIGNER.verifier, CLOCK.verifier)


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(300)


def with_care(quick: QuickCheck, blocks: Iterable[bytes]) -> Iterator[tuple[bytes, None]]:
    """Send every block on the careful road."""
    return ((block, None) for block in blocks)


def is_found(export: bytes) -> bool:
    quick, careful = verify_export([export], keys=KEYS), verify_export([export], keys=KEYS, spread=with_care)
    assert quick == careful
    return quick.exit_code != 0


@given(data=st.data())
@settings(max_examples=60)
def test_honest_exports_are_proven(data: st.DataObject, log: PeerLog) -> None:
    """An honest export of any range and filter, read in pieces of any size, is never called violated."""
    rng = data.draw(st.randoms(use_true_random=False))
    part = PeerLog(log.rows[: rng.choice([0, 1, 2, 3, 7, 8, 255, 256, 257, rng.randrange(300)])])
    start = rng.randint(0, len(part.rows))
    end = rng.randint(start, len(part.rows))
    share = rng.choice([None, 0.0, 0.1, 0.9])
    full = None if share is None else [rng.random() < share for _ in part.rows]
    export = part.export(start, end, full=full, filter_text="" if full is None else "action:prompt")
    piece = rng.choice([1, 100, 1000, 1 << 20]) if len(export) < 20_000 else 1 << 16
    pieces = [export[at : at + piece] for at in range(0, len(export), piece)]
    report = verify_export(pieces, keys=rng.choice([(), KEYS]))
    assert (report.verdict, report.violated) == ("proven", [])
    assert verify_export(pieces, keys=KEYS, spread=with_care).proven == report.proven


@pytest.mark.parametrize("careful", [True, False], ids=["careful", "careless"])
@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_every_forgery_is_found(
    forgery: Callable[[Lines, random.Random], None], careful: bool, log: PeerLog
) -> None:
    """A forged export is never called proven, whether or not its counts and SHA-256 were put right."""
    part = PeerLog(log.rows[:23])
    whole, some = (
        part.export(),
        part.export(3, 20, full=[at % 3 > 0 for at in range(23)], filter_text="stream:platform"),
    )
    missed = []
    for repetition in range(REPETITIONS):
        export = whole if forgery.__name__ == "bare_without_record" or repetition % 2 else some
        rng = random.Random(repetition)
        forgery_done = forged(export, lambda lines, rng=rng: forgery(lines, rng), careful=careful)
        if forgery_done != export and not is_found(forgery_done):
            missed.append(repetition)
    assert missed == []


def test_forger_at_rest_changes_nothing(log: PeerLog) -> None:
    """The forger's pen adds no difference of its own, so that what is found is the forgery."""
    export = log.export(5, 290, full=[at % 2 > 0 for at in range(300)], filter_text="x")
    assert forged(export, lambda lines: None) == export


def test_every_flipped_byte_is_found(log: PeerLog) -> None:
    """No byte of an export can be changed, added or removed unnoticed."""
    export = PeerLog(log.rows[:9]).export(1, 8, full=[at != 4 for at in range(9)], filter_text="x")
    rng = random.Random(5)
    missed = []
    for at in range(0, len(export), 7):
        flipped = bytes([export[at] ^ 1 << rng.randrange(8)])
        for edit in (flipped, b"", export[at : at + 1] + rng.choice([b" ", b"\n", b"0", b"x"])):
            edited = export[:at] + edit + export[at + 1 :]
            if edited != export and not is_found(edited):
                missed.append((at, edit))
    assert missed == []


def test_every_cut_is_found(log: PeerLog) -> None:
    """An export cut off anywhere, at its end or its beginning, is never called proven."""
    export = PeerLog(log.rows[:5]).export()
    assert [cut for cut in range(len(export)) if is_found(export[:cut]) is False] == []
    assert [cut for cut in range(1, len(export)) if is_found(export[cut:]) is False] == []


def test_everything_after_the_last_line_is_found(log: PeerLog) -> None:
    """Nothing can be added behind the last line, not even a newline or a second export."""
    export = PeerLog(log.rows[:5]).export()
    line = export.split(b"\n")[1] + b"\n"
    assert all(is_found(export + more) for more in (b"\n", b" ", b"x", b"{}", line, export, b"\0"))


def test_an_export_of_a_hole_is_refused(log: PeerLog) -> None:
    """The writer never exports a log with a missing position as if it were complete."""
    from tallystick.errors import Tampered
    from tallystick.formats.jsonl import JsonlWriter

    rows = log.rows[:10]
    for broken in (rows[:4] + rows[5:], rows[:9], [*rows[:5], *rows[4:]]):
        writer = JsonlWriter(PeerLog(rows).header(0, 10))
        with pytest.raises(Tampered):
            _ = writer.begin() + writer.rows(broken) + writer.end()


def test_bare_runs_are_packed(log: PeerLog) -> None:
    """A filter that matches little costs 43 bytes a position, not a line each."""
    export = log.export(full=[False] * 300, filter_text="x")
    assert [line[:31] for line in export.split(b"\n")[1:3]] == [
        b'{"position":0,"count":256,"leaf', b'{"position":256,"count":44,"lea',
    ]  # fmt: skip
    assert verify_export([export]).facts["bare hashes"] == 300
    assert isinstance(log.rows[0], ExportRow)
