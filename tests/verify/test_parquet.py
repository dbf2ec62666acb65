"""Parquet with its proof in it: honest files are proven and read by anybody, every edit of a value is found."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from tallystick import __version__
from tallystick.errors import Tampered, TooLarge
from tallystick.formats import parquet
from tallystick.formats.columns import COLUMNS, texts
from tallystick.formats.jsonl import ExportRow
from tallystick.formats.parquet import (
    HEADER_KEY,
    MOMENTS,
    PROOF_COLUMNS,
    REST_KEY,
    ParquetWriter,
    schema,
    shown_columns,
)
from tallystick.formats.parquet_reading import ParquetSubject
from tallystick.verify.beside import EventRow
from tallystick.verify.export import verify_export
from tallystick.verify.layout import ProofHeader, Rendering
from tallystick.verify.report import Report

from .forgery import FORGERIES, Lines, encoded, forged
from .peer import CLOCK, SIGNER, PeerLog

REPETITIONS = 40
KEYS = (SIGNER.verifier, CLOCK.verifier)
RENDERING = Rendering("parquet", __version__)


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(300)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet") / "export.parquet"


def writer_for(log: PeerLog, start: int, end: int, **more: Any) -> ParquetWriter:
    said = asdict(log.header(start, end, **more))
    del said["format"]
    return ParquetWriter(ProofHeader(**said, rendering=RENDERING))


def export(log: PeerLog, start: int = 0, end: int | None = None, *, full: list[bool] | None = None) -> bytes:
    end = len(log.rows) if end is None else end
    writer = writer_for(log, start, end, filter_text="" if full is None else "action:x")
    rows = log.shown(start, end, full)
    half = len(rows) // 2
    return writer.begin() + writer.rows(rows[:half]) + writer.rows(rows[half:]) + writer.end()


def verified(path: Path, file: bytes) -> Report:
    path.write_bytes(file)
    subject = ParquetSubject(path)
    return verify_export(subject.pieces(), keys=KEYS, beside=subject.beside, release=__version__)


def events_of(log: PeerLog) -> list[EventRow]:
    return [EventRow(one.position, one.leaf or b"", one.opening or b"", one.leaf_hash) for one in log.rows]


@given(data=st.data())
@settings(max_examples=15)
def test_honest_files_are_proven(data: st.DataObject, log: PeerLog, path: Path) -> None:
    """An honest export of any range and filter would be called violated."""
    rng = data.draw(st.randoms(use_true_random=False))
    part = PeerLog(log.rows[: rng.choice([0, 1, 2, 65, rng.randrange(300)])])
    start = rng.randint(0, len(part.rows))
    end = rng.randint(start, len(part.rows))
    share = rng.choice([None, 0.0, 0.1, 0.9])
    full = None if share is None else [rng.random() < share for _ in part.rows]
    report = verified(path, export(part, start, end, full=full))
    assert (report.verdict, report.violated) == ("proven", [])
    assert any("the file says of each what was sealed" in line for line in report.proven)


def test_many_row_groups(monkeypatch: pytest.MonkeyPatch, log: PeerLog, path: Path) -> None:
    """A file of more than one row group, with hashes between and within them, would lose or move an event."""
    monkeypatch.setattr(parquet, "ROWS_IN_GROUP", 16)
    file = export(log, 3, 299, full=[at % 7 < 3 for at in range(300)])
    path.write_bytes(file)
    assert pq.ParquetFile(path).num_row_groups > 5
    report = verified(path, file)
    assert (report.verdict, report.facts["events"], report.facts["bare hashes"]) == ("proven", 126, 170)


def test_others_read_it(log: PeerLog, path: Path) -> None:
    """A notebook would get text where it needs moments and numbers, or lose a value."""
    path.write_bytes(export(log))
    read = pq.read_table(path)
    assert read.schema.names == [*COLUMNS, *PROOF_COLUMNS]
    assert read.schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
    assert read.column("position").to_pylist() == list(range(300))
    for row, event in zip(read.to_pylist(), events_of(log), strict=True):
        for name, text in zip(COLUMNS, texts(event), strict=True):
            if name in MOMENTS:
                assert row[name] == datetime.fromisoformat(text).astimezone(UTC)
            else:
                assert str(row[name] if row[name] is not None else "") == text
    frame = read.to_pandas()
    assert (len(frame), str(frame["occurred_at"].dtype)) == (300, "datetime64[us, UTC]")
    found = polars.read_parquet(path).filter(polars.col("position") >= 290)
    assert found["action"].to_list() == read.column("action").to_pylist()[290:]


def packed(proof: bytes, columns: list[Any]) -> bytes:
    """Write a file of these lines of a proof, and of these columns for people."""
    lines = proof.split(b"\n")[:-1]
    decoded = [json.loads(line) for line in lines]
    inside = [at for at, line in enumerate(decoded) if "leaf" in line and "position" in line]
    rows = [decoded[at] for at in inside]
    rest = b"".join(line + b"\n" for at, line in enumerate(lines[1:], 1) if at not in inside)
    hidden = [
        [encoded(row["leaf"]).decode() for row in rows],
        [encoded(row["opening"]).decode() for row in rows],
        [row["seed"] if isinstance(row["seed"], str) else encoded(row["seed"]).decode() for row in rows],
    ]
    names = [*COLUMNS, *PROOF_COLUMNS]
    table = pa.Table.from_arrays([*columns, *map(pa.array, hidden)], names=names).cast(schema())
    sink = pa.BufferOutputStream()
    statistics: Any = ["position", "occurred_at", "received_at"]
    with pq.ParquetWriter(sink, schema(), write_statistics=statistics) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({HEADER_KEY: lines[0] + b"\n", REST_KEY: rest})
    return sink.getvalue().to_pybytes()


def taken_apart(path: Path, file: bytes) -> tuple[bytes, list[Any]]:
    """Return the lines of the proof in a file, and its columns for people."""
    path.write_bytes(file)
    return b"".join(ParquetSubject(path).pieces()), [pq.read_table(path).column(name) for name in COLUMNS]


def rendered_again(proof: bytes, columns: list[Any]) -> list[Any]:
    """Return the columns that a careful forger writes, the old ones where his events cannot be rendered."""
    lines = [json.loads(line) for line in proof.split(b"\n")[1:-1]]
    rows = [
        EventRow(line["position"], encoded(line["leaf"]), encoded(line["opening"]), b"\0" * 32)
        for line in lines
        if "leaf" in line and "position" in line
    ]
    try:
        return list(shown_columns(rows)) if rows else [column.slice(0, 0) for column in columns]
    except (Tampered, pa.ArrowInvalid):
        return [pa.concat_arrays([column.combine_chunks()] * 3).slice(0, len(rows)) for column in columns]


def test_the_press_changes_nothing(log: PeerLog, path: Path) -> None:
    """The forger's tools would add a difference of their own, and every forgery be found for that."""
    file = export(PeerLog(log.rows[:9]), 1, 8, full=[at != 4 for at in range(9)])
    assert verified(path, packed(*taken_apart(path, file))).verdict == "proven"


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_every_forgery_is_found(
    forgery: Callable[[Lines, random.Random], None], log: PeerLog, path: Path
) -> None:
    """A forged file would be called proven, with its columns as they were or made again from what was forged."""
    part = PeerLog(log.rows[:9])
    whole = taken_apart(path, export(part))
    some = taken_apart(path, export(part, 1, 8, full=[at % 3 > 0 for at in range(9)]))
    missed = []
    for repetition in range(REPETITIONS):
        proof, columns = whole if forgery.__name__ == "bare_without_record" or repetition % 2 else some
        rng = random.Random(repetition)
        done = forged(proof, lambda lines, rng=rng: forgery(lines, rng), careful=repetition % 4 < 2)
        if done != proof and verified(path, packed(done, rendered_again(done, columns))).exit_code == 0:
            missed.append(repetition)
    assert missed == []


def test_every_edited_value_is_found(log: PeerLog, path: Path) -> None:
    """A value in any column could be changed, because leaf and opening beside it are right."""
    proof, columns = taken_apart(path, export(PeerLog(log.rows[:20])))
    missed = []
    for number, name in enumerate(COLUMNS):
        for repetition in range(2):
            rng = random.Random(repetition)
            values = columns[number].to_pylist()
            at = rng.randrange(len(values))
            if name in MOMENTS:
                values[at] = datetime(2020, 1, 1, tzinfo=UTC)
            elif name == "position":
                values[at] += 1
            else:
                values[at] = "another" if rng.random() < 0.5 or values[at] is None else None
            edited = [*columns]
            edited[number] = pa.chunked_array([pa.array(values, columns[number].type)])
            try:
                report = verified(path, packed(proof, edited))
            except pa.ArrowInvalid:
                continue
            if report.exit_code == 0:
                missed.append((name, repetition))
    assert missed == []


def edit_table(path: Path, file: bytes, edit: Callable[[pa.Table], pa.Table], **options: Any) -> Report:
    path.write_bytes(file)
    table = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata or {}
    edited = edit(table).replace_schema_metadata(
        {HEADER_KEY: metadata[HEADER_KEY], REST_KEY: metadata[REST_KEY]}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(edited, sink, **{"write_statistics": ["position", "occurred_at", "received_at"]} | options)
    return verified(path, sink.getvalue().to_pybytes())


def test_rows_columns_and_statistics(log: PeerLog, path: Path) -> None:
    """Rows left out, repeated or swapped, a column more or less, or what makes readers skip a group would pass."""
    file = export(PeerLog(log.rows[:20]))
    assert edit_table(path, file, lambda table: table).exit_code == 0, (
        "other writers' files of the same values are good"
    )
    extra = pa.array(["x"] * 20)
    found = [
        edit_table(path, file, lambda table: table.slice(0, 19)),
        edit_table(path, file, lambda table: table.slice(1, 19)),
        edit_table(path, file, lambda table: pa.concat_tables([table.slice(0, 5), table.slice(6)])),
        edit_table(path, file, lambda table: pa.concat_tables([table, table.slice(19)])),
        edit_table(path, file, lambda table: table.take([1, 0, *range(2, 20)])),
        edit_table(path, file, lambda table: table.drop_columns(["ip"])),
        edit_table(path, file, lambda table: table.append_column("note", extra)),
        edit_table(path, file, lambda table: table.rename_columns([*table.column_names[:-1], "salt"])),
        edit_table(path, file, lambda table: table, write_statistics=True),
    ]
    assert [report.exit_code for report in found if report.exit_code == 0] == []


def test_flipped_bytes(log: PeerLog, path: Path) -> None:
    """A flipped byte would change what a reader sees, and be called proven."""
    file = export(PeerLog(log.rows[:9]), 1, 8, full=[at != 4 for at in range(9)])
    path.write_bytes(file)
    honest = pq.read_table(path)
    rng, missed = random.Random(1), []
    for at in range(0, len(file), 67):
        flipped = file[:at] + bytes([file[at] ^ 1 << rng.randrange(8)]) + file[at + 1 :]
        # Some bytes of a Parquet file mean nothing to a reader, such as who wrote it.
        if verified(path, flipped).exit_code == 0 and not pq.read_table(path).equals(honest):
            missed.append(at)
    assert missed == []
    assert all(verified(path, file[:cut]).exit_code != 0 for cut in range(0, len(file), 211))


def test_its_limits(monkeypatch: pytest.MonkeyPatch, log: PeerLog) -> None:
    """Hashes beyond what a reader can hold, or a hole, would make a file that nobody can read, or that looks whole."""
    monkeypatch.setattr(parquet, "BARE_MAX", 10)
    with pytest.raises(TooLarge, match="CSV or JSONL"):
        export(log, full=[False] * 300)
    writer = writer_for(PeerLog(log.rows[:10]), 0, 10)
    with pytest.raises(Tampered):
        writer.rows(log.rows[:4] + log.rows[5:10])
    with pytest.raises(Tampered):
        writer_for(PeerLog(log.rows[:10]), 0, 10).end()
    assert isinstance(log.rows[0], ExportRow)
