"""CSV, OCSF and Langfuse's rows with the proof beside them: honest ones are proven, every edit of either is found."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import __version__
from tallystick.services.renderings import writer_of
from tallystick.verify.beside import Beside, EventRow, RenderedText
from tallystick.verify.export import QuickCheck, verify_export
from tallystick.verify.layout import ProofHeader, Rendering
from tallystick.verify.report import Report

from .forgery import FORGERIES, Lines, encoded, forged, other_value
from .peer import CLOCK, ORIGIN, SIGNER, PeerLog

REPETITIONS = 40
KEYS = (SIGNER.verifier, CLOCK.verifier)
RENDERINGS = {
    "csv": Rendering("csv", __version__),
    "ocsf 1.7.0": Rendering("ocsf", __version__, "1.7.0", "native"),
    "ocsf 1.1.0": Rendering("ocsf", __version__, "1.1.0", "default"),
    "ocsf as 6003": Rendering("ocsf", __version__, "1.1.0", "api_activity"),
    "langfuse": Rendering("langfuse-jsonl", __version__),
}
every_rendering = pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
DEEP = ("csv", "ocsf 1.7.0", "ocsf 1.1.0")
deep_rendering = pytest.mark.parametrize("rendering", [RENDERINGS[one] for one in DEEP], ids=DEEP)


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(300)


def with_care(quick: QuickCheck, blocks: Iterable[bytes]) -> Iterator[tuple[bytes, None]]:
    return ((block, None) for block in blocks)


def verified(
    file: bytes, proof: bytes, *, release: str = __version__, piece: int = 1 << 16, **more: Any
) -> Report:
    def opened(header: ProofHeader) -> Beside:
        writer = writer_of(header.rendering, header.origin)
        pieces = (file[at : at + piece] for at in range(0, len(file), piece))
        return RenderedText(pieces, writer.head, writer.write)

    pieces = [proof[at : at + piece] for at in range(0, len(proof), piece)]
    return verify_export(pieces, keys=KEYS, beside=opened, release=release, **more)


def is_found(file: bytes, proof: bytes) -> bool:
    quick, careful = verified(file, proof), verified(file, proof, spread=with_care)
    assert (quick.exit_code != 0) == (careful.exit_code != 0)
    return quick.exit_code != 0


@given(data=st.data())
@settings(max_examples=60)
def test_honest_files_are_proven(data: st.DataObject, log: PeerLog) -> None:
    """An honest export of any range and filter, in any rendering, would be called violated."""
    rng = data.draw(st.randoms(use_true_random=False))
    rendering = rng.choice(list(RENDERINGS.values()))
    part = PeerLog(log.rows[: rng.choice([0, 1, 2, 7, 8, 64, 65, rng.randrange(300)])])
    start = rng.randint(0, len(part.rows))
    end = rng.randint(start, len(part.rows))
    share = rng.choice([None, 0.0, 0.1, 0.9])
    full = None if share is None else [rng.random() < share for _ in part.rows]
    file, proof = part.pair(rendering, start, end, full=full, filter_text="" if full is None else "action:x")
    piece = rng.choice([1, 100, 1000, 1 << 16]) if len(file) + len(proof) < 20_000 else 1 << 16
    report = verified(file, proof, piece=piece)
    assert (report.verdict, report.violated) == ("proven", [])
    assert any("the file says of each what was sealed" in line for line in report.proven)
    assert verified(file, proof, spread=with_care).proven == report.proven


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
@deep_rendering
def test_every_forgery_is_found(
    rendering: Rendering, forgery: Callable[[Lines, random.Random], None], log: PeerLog
) -> None:
    """A forged proof would be called proven, with the file as it was or rendered again from what was forged."""
    part = PeerLog(log.rows[:13])
    whole = part.pair(rendering)
    some = part.pair(rendering, 2, 12, full=[at % 3 > 0 for at in range(13)], filter_text="stream:platform")
    missed = []
    for repetition in range(REPETITIONS):
        file, proof = whole if forgery.__name__ == "bare_without_record" or repetition % 2 else some
        rng = random.Random(repetition)
        done = forged(proof, lambda lines, rng=rng: forgery(lines, rng), careful=repetition % 4 < 2)
        if done != proof and not is_found(rendered_again(rendering, done, file), done):
            missed.append(("again", repetition))
        if repetition % 4 == 0 and done != proof and not is_found(file, done):
            missed.append(("as it was", repetition))
    assert missed == []


def rendered_again(rendering: Rendering, proof: bytes, file: bytes) -> bytes:
    """Return the file that a careful forger puts beside a proof."""
    writer = writer_of(rendering, ORIGIN)
    made = writer.head
    for raw in proof.split(b"\n")[1:-1]:
        line = json.loads(raw)
        if "leaf" in line and "position" in line:
            leaf, opening = encoded(line["leaf"]), encoded(line["opening"])
            try:
                made += writer.write([EventRow(line["position"], leaf, opening, b"\0" * 32)])
            except Exception:  # what cannot be rendered is forged more simply
                return file
    return made


def change_a_byte(file: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(file))
    return file[:at] + bytes([file[at] ^ 1 << rng.randrange(8)]) + file[at + 1 :]


def drop_a_line(file: bytes, rng: random.Random) -> bytes:
    lines = file.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def repeat_a_line(file: bytes, rng: random.Random) -> bytes:
    lines = file.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"".join(lines)


def swap_lines(file: bytes, rng: random.Random) -> bytes:
    lines = file.splitlines(keepends=True)
    first, second = rng.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def cut_off(file: bytes, rng: random.Random) -> bytes:
    return file[: rng.randrange(len(file))]


def append(file: bytes, rng: random.Random) -> bytes:
    return file + rng.choice([b"\n", b"\r\n", b" ", b"x", b"\0", b"{}\n", file])


def change_a_value(file: bytes, rng: random.Random) -> bytes:
    """Change, add or drop a value, spelled as the writer would."""
    if file.startswith(b"{"):
        lines = file.splitlines()
        at = rng.randrange(len(lines))
        row = json.loads(lines[at])
        key = rng.choice(list(row))
        match rng.randrange(3):
            case 0:
                row[key] = other_value(row[key], rng)
            case 1:
                del row[key]
            case _:
                row["note"] = "x"
        lines[at] = encoded(row)
        return b"\n".join([*lines, b""])
    rows = list(csv.reader(io.StringIO(file.decode(), newline="")))
    row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
    rows[row][column] = rng.choice([rows[row][column] + "x", "", "'" + rows[row][column], "=1+1"])
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def drop_a_column(file: bytes, rng: random.Random) -> bytes:
    if file.startswith(b"{"):
        name = rng.choice([b'"unmapped":', b'"metadata":', b'"id":', b'"time":'])
        return file.replace(name, b'"another":')
    rows = list(csv.reader(io.StringIO(file.decode(), newline="")))
    column = rng.randrange(len(rows[0]))
    out = io.StringIO(newline="")
    csv.writer(out).writerows([row[:column] + row[column + 1 :] for row in rows])
    return out.getvalue().encode()


EDITS = (
    change_a_byte, drop_a_line, repeat_a_line, swap_lines, cut_off, append, change_a_value, drop_a_column,
)  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@every_rendering
def test_every_edit_of_the_file_is_found(
    rendering: Rendering, edit: Callable[[bytes, random.Random], bytes], log: PeerLog
) -> None:
    """A file that was edited would be called proven because its proof is."""
    file, proof = PeerLog(log.rows[:40]).pair(
        rendering, 3, 39, full=[at % 5 > 0 for at in range(40)], filter_text="x"
    )
    missed = []
    for repetition in range(REPETITIONS):
        edited = edit(file, random.Random(repetition))
        if edited != file and not is_found(edited, proof):
            missed.append(repetition)
    assert missed == []


@every_rendering
def test_where_it_differs(rendering: Rendering, log: PeerLog) -> None:
    """The report would send its reader to the wrong line, or call an edited file a broken proof."""
    file, proof = PeerLog(log.rows[:40]).pair(rendering)
    at = file.index(log.rows[23].leaf_hash.hex().encode())
    edited = file[:at] + b"0" * 64 + file[at + 64 :]
    report = verified(edited, proof)
    line = file[:at].count(b"\n") + 1
    assert [(one.kind, one.where) for one in report.violated] == [("rendering", f"line {line} of the file")]
    assert "position 23" in report.violated[0].message
    assert not any("events in full" in line for line in report.proven)


def test_another_release_is_not_a_forger(log: PeerLog) -> None:
    """A file of last year would be called forged because titles are worded otherwise now; or a forged one proven."""
    written = Rendering("ocsf", "0.0.1", "1.7.0", "default")
    file, proof = PeerLog(log.rows[:40]).pair(written)
    assert verified(file, proof).verdict == "proven"
    report = verified(file.replace(b'"message":"', b'"message":"Older: '), proof)
    assert (report.exit_code, report.violated) == (2, [])
    assert "0.0.1" in report.unchecked
    broken = proof.replace(b'"outcome":"success"', b'"outcome":"failure"', 1)
    assert verified(file, broken).exit_code == 1, "violated wins over unchecked"


def test_a_proof_alone_says_what_is_missing(log: PeerLog) -> None:
    """A proof without its file would look as if the file had been compared."""
    _, proof = PeerLog(log.rows[:40]).pair(RENDERINGS["csv"])
    report = verify_export([proof], keys=KEYS)
    assert report.verdict == "proven"
    assert any("it was not given" in line for line in report.not_proven)
    assert not any("the file says" in line for line in report.proven)


def test_a_rendering_nobody_knows(log: PeerLog) -> None:
    """A proof of a format that this release lacks would be called proven, or end in a stack trace."""
    file, proof = PeerLog(log.rows[:5]).pair(RENDERINGS["ocsf 1.7.0"])
    for named in (b'"version":"1.9.9"', b'"version":"1.7.0","view":"odd"', b'"format":"parquet"'):
        edited = proof.replace(b'"version":"1.7.0","view":"native"', named).replace(
            b'{"format":"ocsf"', b'{"format":"ocsf"'
        )
        if named.startswith(b'"format"'):
            edited = proof.replace(b'"format":"ocsf"', named)
        assert edited != proof
        assert verified(file, edited).exit_code != 0
