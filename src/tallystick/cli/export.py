"""`export`: events from a server into a file, with the proof that anyone can check."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.progress import DownloadColumn, Progress, TimeElapsedColumn, TransferSpeedColumn

from tallystick.cli import filters
from tallystick.cli.connection import OPTIONS, Connection, connect
from tallystick.cli.output import err, safe
from tallystick.errors import TryLater
from tallystick.verify.layout import PROOF_ENDING

# These have no room for a proof: it goes into a file beside them.
PROVEN_BESIDE = frozenset({"csv", "ocsf", "langfuse-jsonl"})
FORMATS = ("jsonl", "parquet", *sorted(PROVEN_BESIDE))


def export(
    url: str | None,
    key: str | None,
    data: Path,
    output: Path | None,
    format: str,
    ocsf_version: str | None,
    ocsf_view: str | None,
    **given: Any,
) -> None:
    """Write matching events with their proof, to be checked by anyone with `tallystick verify`.

    CSV, OCSF and Langfuse's rows are proven by a second file, FILE.proof.jsonl; if the name ends in .zip, both are in it.
    """
    server = connect(url, key, data)
    params = [("format", format), *filters.pairs(given)]
    params += [(name, value) for name, value in (("version", ocsf_version), ("view", ocsf_view)) if value]
    if output is None:
        _pass_on(server, params)
        if format in PROVEN_BESIDE:
            err.print("This is without its proof. Give --output to have it too.", style="dim")
        return
    apart = format in PROVEN_BESIDE and output.suffix != ".zip"
    if format in PROVEN_BESIDE:
        params.append(("proof", "zip"))
    half = output.with_name(f".{output.name}.part")
    try:
        _load(server, params, half)
        if apart:
            _take_apart(half, output)
        else:
            half.replace(output)
    finally:
        half.unlink(missing_ok=True)
    beside = f", its proof beside it in {output.name}{PROOF_ENDING}" if apart else ""
    size = output.stat().st_size
    err.print(safe(f"{output}: {size:,} bytes{beside}. Check it anywhere with: tallystick verify {output}"))


def _pass_on(server: Connection, params: list[tuple[str, str]]) -> None:
    stdout: BinaryIO = sys.stdout.buffer
    with server.stream("/v1/export", params) as answer:
        for piece in answer.iter_bytes():
            stdout.write(piece)


def _load(server: Connection, params: list[tuple[str, str]], into: Path) -> None:
    columns = ("{task.description}", DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with (
        server.stream("/v1/export", params) as answer,
        into.open("wb") as file,
        Progress(*columns, console=err) as progress,
    ):
        task = progress.add_task("export", total=None)
        for piece in answer.iter_bytes():
            file.write(piece)
            progress.advance(task, len(piece))


def _take_apart(archive: Path, output: Path) -> None:
    """Put the file and its proof where they belong; raises TryLater when the archive did not come whole."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                path = output.with_name(
                    output.name + (PROOF_ENDING if entry.filename.endswith(PROOF_ENDING) else "")
                )
                half = path.with_name(f".{path.name}.half")
                with opened.open(entry) as member, half.open("wb") as file:
                    shutil.copyfileobj(member, file, 1 << 20)
                half.replace(path)
    except zipfile.BadZipFile as error:
        raise TryLater(
            f"The export did not come whole ({error}). Nothing was written; begin it again."
        ) from None


EXPORT = click.Command(
    "export", callback=export, help=export.__doc__, params=[
        click.Option(["--output", "-o"], type=click.Path(path_type=Path), help="File to write; absent = standard output."),
        click.Option(["--format"], type=click.Choice(FORMATS), default="jsonl", show_default=True),
        click.Option(["--ocsf-version"], type=click.Choice(["1.1.0", "1.7.0"]), help="Of OCSF; 1.1.0 when absent."),
        click.Option(["--ocsf-view"], type=click.Choice(["default", "native", "api_activity"]), help="Classes of OCSF."),
        *filters.options(), *OPTIONS,
    ],
)  # fmt: skip
