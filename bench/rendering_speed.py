"""How fast exports in other formats are written and verified: CSV, OCSF and Parquet, on one core, without a database.

Run: python -m bench.rendering_speed [EVENTS]
The events are those of `bench.verify_speed`: nine sealed values each. Rates are of processor time, the best of three rounds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

from msgspec.structs import asdict

from bench.verify_speed import ORIGIN, PIECE_BYTES, SIGNER, header, sealed_rows
from tallystick import __version__
from tallystick.formats.jsonl import ExportRow, JsonlWriter
from tallystick.formats.parquet import ParquetWriter
from tallystick.formats.parquet_reading import ParquetSubject
from tallystick.merkle.tree import root_of
from tallystick.services.renderings import writer_of
from tallystick.verify.beside import Beside, EventRow, RenderedText
from tallystick.verify.export import verify_export
from tallystick.verify.layout import ProofHeader, Rendering
from tallystick.verify.report import Report

ROUNDS = 3
EVENTS_PER_SECOND_MIN = 30_000
PIECE_ROWS = 64
RENDERINGS = {
    "CSV": Rendering("csv", __version__),
    "OCSF 1.7.0": Rendering("ocsf", __version__, "1.7.0", "default"),
    "OCSF 1.1.0": Rendering("ocsf", __version__, "1.1.0", "default"),
}
KEYS = (SIGNER.verifier,)


def best(count: int, run: Callable[[], object]) -> float:
    """Return how many events a second of processor time the quickest round manages."""
    times = []
    for _ in range(ROUNDS):
        begun = process_time()
        run()
        times.append(process_time() - begun)
    return count / min(times)


def proof_header(rows: list[ExportRow], rendering: Rendering) -> ProofHeader:
    """Return the header of a proof of all rows."""
    said = asdict(header(len(rows), root_of([row.leaf_hash for row in rows])))
    del said["format"]
    return ProofHeader(**said, rendering=rendering)


def text_speed(rows: list[ExportRow], rendering: Rendering) -> tuple[float, float]:
    """Return the rates of writing and of verifying a file and its proof."""
    events = [EventRow(one.position, one.leaf or b"", one.opening or b"", one.leaf_hash) for one in rows]
    writer = writer_of(rendering, ORIGIN)

    def write() -> list[bytes]:
        return [writer.write(events[at : at + PIECE_ROWS]) for at in range(0, len(events), PIECE_ROWS)]

    lines = JsonlWriter(proof_header(rows, rendering))
    proof = lines.begin() + lines.rows(rows) + lines.end()
    file = writer.head + b"".join(write())

    def opened(_: ProofHeader) -> Beside:
        return RenderedText(cut(file), writer.head, writer.write)

    def verify() -> None:
        expect(verify_export(cut(proof), keys=KEYS, beside=opened, release=__version__))

    return best(len(rows), write), best(len(rows), verify)


def parquet_speed(rows: list[ExportRow], folder: Path) -> tuple[float, float]:
    """Return the rates of writing and of verifying a Parquet file."""
    path = folder / "export.parquet"
    made = proof_header(rows, Rendering("parquet", __version__))

    def write() -> None:
        writer = ParquetWriter(made)
        with path.open("wb") as file:
            file.write(writer.begin())
            for at in range(0, len(rows), PIECE_ROWS):
                file.write(writer.rows(rows[at : at + PIECE_ROWS]))
            file.write(writer.end())

    def verify() -> None:
        subject = ParquetSubject(path)
        expect(verify_export(subject.pieces(), keys=KEYS, beside=subject.beside, release=__version__))

    return best(len(rows), write), best(len(rows), verify)


def cut(file: bytes) -> list[bytes]:
    """Return a file in pieces."""
    return [file[at : at + PIECE_BYTES] for at in range(0, len(file), PIECE_BYTES)]


def expect(report: Report) -> None:
    """Raise when a good file is not proven: its speed would be that of giving up."""
    if report.verdict != "proven":
        raise RuntimeError(f"{report.verdict}: {report.violated[:3]} {report.unchecked}")


def main(arguments: list[str]) -> int:
    """Print the table; the result is 1 when a rate of verifying is under the goal."""
    count = int(arguments[0]) if arguments else 20_000
    rows = [row for batch in sealed_rows(count) for row in batch]
    rates = {name: text_speed(rows, rendering) for name, rendering in RENDERINGS.items()}
    with tempfile.TemporaryDirectory() as folder:
        rates["Parquet"] = parquet_speed(rows, Path(folder))
    for name, (written, verified) in rates.items():
        print(f"{name:12} written {written:9,.0f} events/s, verified {verified:9,.0f} events/s")
    goals = [verified for name, (_, verified) in rates.items() if name != "Parquet"]
    return 0 if min(goals) >= EVENTS_PER_SECOND_MIN else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
