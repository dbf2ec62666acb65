"""`evidence`: a question and its answer with everything that proves it, as one file; and packs for standards."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.progress import DownloadColumn, Progress, TimeElapsedColumn
from rich.table import Table

from tallystick.cli import filters
from tallystick.cli.connection import OPTIONS, Connection, connect
from tallystick.cli.output import err, out, safe
from tallystick.errors import AuditError, Refused

ASK_SECONDS = 2.0
_TIMES = ("from", "to", "range")


def evidence(
    context: click.Context, url: str | None, key: str | None, data: Path, output: Path | None, **given: Any
) -> None:
    """Answer a question with one file: the events, their proof, what was removed and by whom, and a report to print.

    The flags are the filters of a search. A large answer is written on the server first; this waits for it.
    """
    if context.invoked_subcommand is not None:
        if output is not None or filters.pairs(given):
            raise Refused(f"These flags belong behind '{context.invoked_subcommand}'. Nothing was asked.")
        return
    if output is None:
        raise Refused("Give the file to write: tallystick evidence -o FILE.zip. Nothing was asked.")
    server = connect(url, key, data)
    _keep(server, "POST", "/v1/evidence", filters.pairs(given), output, wait=_wait_for)


def pack(url: str | None, key: str | None, data: Path, name: str, output: Path, **given: Any) -> None:
    """Write the evidence pack NAME: each control of a standard with its result, its proof and what is missing."""
    server = connect(url, key, data)
    _keep(server, "POST", f"/v1/evidence-packs/{name}", filters.pairs(given), output)


def packs(url: str | None, key: str | None, data: Path) -> None:
    """List the evidence packs."""
    table = Table("name", "standard", "controls", box=None, pad_edge=False)
    for one in connect(url, key, data).get("/v1/evidence-packs")["packs"]:
        table.add_row(one["name"], safe(one["title"]), str(len(one["controls"])))
    out.print(table)


def _keep(
    server: Connection,
    method: str,
    path: str,
    params: list[tuple[str, str]],
    output: Path,
    wait: Callable[[Connection, str], None] | None = None,
) -> None:
    """Write what the server answers into `output`, whole or not at all."""
    half = output.with_name(f".{output.name}.part")
    later = ""
    with server.stream(path, params, method=method) as answer:
        if answer.status_code == 202 and wait is not None:
            answer.read()
            later = answer.json()["id"]
        else:
            _copy(answer, half)
    if later and wait is not None:
        wait(server, later)
        with server.stream(f"/v1/evidence/{later}/file", []) as answer:
            _copy(answer, half)
    half.replace(output)
    err.print(
        safe(f"{output}: {output.stat().st_size:,} bytes. Check it anywhere with: tallystick verify {output}")
    )


def _copy(answer: Any, half: Path) -> None:
    """Write an answer's body to disk; a broken one leaves nothing behind."""
    try:
        with (
            half.open("wb") as file,
            Progress(
                "evidence", DownloadColumn(), TimeElapsedColumn(), console=err, transient=True
            ) as progress,
        ):
            task = progress.add_task("evidence", total=None)
            for piece in answer.iter_bytes():
                file.write(piece)
                progress.advance(task, len(piece))
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def _wait_for(server: Connection, export_id: str) -> None:
    """Wait until a large bundle is written; raises AuditError when it failed."""
    with Progress(transient=True, console=err) as progress:
        task = progress.add_task("written on the server", total=None)
        while True:
            one = server.get(f"/v1/evidence/{export_id}")
            progress.update(task, total=one["total"] or None, completed=one["events"])
            if one["state"] == "done":
                return
            if one["state"] not in ("waiting", "running"):
                raise AuditError(one["failure"] or f"The bundle is {one['state']}. Ask again.")
            time.sleep(ASK_SECONDS)


EVIDENCE = click.Group(
    "evidence", callback=click.pass_context(evidence), help=evidence.__doc__, invoke_without_command=True, params=[
        click.Option(["--output", "-o"], type=click.Path(path_type=Path), help="File to write, a zip."),
        *filters.options(), *OPTIONS,
    ],
    commands=[
        click.Command("pack", callback=pack, help=pack.__doc__, params=[
            click.Argument(["name"]),
            click.Option(["--output", "-o"], type=click.Path(path_type=Path), required=True, help="File to write, a zip."),
            *(option for option in filters.options() if option.name in {f"filter_{name}" for name in _TIMES}), *OPTIONS,
        ]),
        click.Command("packs", callback=packs, help=packs.__doc__, params=[*OPTIONS]),
    ],
)  # fmt: skip
