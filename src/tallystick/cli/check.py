"""`verify` and `doctor`: is the log what it was, and is the installation what it should be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import click
import uvloop
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from tallystick.catalogue.describe import verb_of
from tallystick.cli.connection import DATA
from tallystick.cli.output import err, out, safe
from tallystick.cli.parallel import spread_over_cores
from tallystick.cli.policy import files_in, read_policy
from tallystick.cli.subject import RELEASE, subject_of
from tallystick.errors import Refused
from tallystick.merkle.keys import VerifierKey
from tallystick.services.examine import Diagnosis
from tallystick.verify.cosigned import judge, prepare, vouch
from tallystick.verify.file import verify_file
from tallystick.verify.instance import Means
from tallystick.verify.known import Kept, Keys
from tallystick.verify.report import Report
from tallystick.verify.static import CHECKPOINT, logs_in, verify_static

TEXT_BYTES_MAX = 4 << 20
SHOWN_MAX = 12
_MARKS = {"well": ("✓", "green"), "warning": ("!", "yellow"), "ill": ("✗", "bold red")}
_VERDICTS = {"proven": "bold green", "violated": "bold red", "unchecked": "bold yellow"}


def verify(
    file: str,
    known: tuple[Path, ...],
    receipt: tuple[Path, ...],
    key: tuple[str, ...],
    event: Path | None,
    proof: Path | None,
    policy: Path | None,
    as_json: bool,
) -> None:
    """Check FILE offline: an export, a receipt, a directory of tiles, or a plain pg_dump (- is standard input).

    An export is JSONL, or CSV, OCSF or Langfuse's rows with the proof beside it: FILE.proof.jsonl, or both in one ZIP.
    Exit code 0 = proven, 1 = violated, 2 = could not be checked.
    """
    kept = [_kept(path) for path in (*known, *receipt)]
    made = prepare(read_policy(policy), cast(Keys, tuple(_key(text) for text in key)), kept)
    if file != "-" and Path(file).is_dir():
        files = files_in(Path(file))
        for prefix in logs_in(files.paths):
            vouch(made, prefix + CHECKPOINT, files.read(prefix + CHECKPOINT).decode("utf-8", "replace"))
        report = judge(made, verify_static(files, kept=made.kept, keys=made.keys))
        _show(report, as_json)
        raise SystemExit(report.exit_code)
    means = Means(verb_of=verb_of, secret=os.urandom(32), keys=made.keys, kept=made.kept)
    with subject_of(file, proof) as subject:
        columns = (TextColumn("verify"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with (
            spread_over_cores(subject.size) as spread,
            Progress(*columns, console=err, transient=True) as progress,
        ):
            task = progress.add_task("verify", total=subject.size)
            try:
                report = verify_file(
                    subject.open_file,
                    means,
                    event=event.read_bytes() if event else b"",
                    progress=lambda done: progress.update(task, completed=done),
                    beside=subject.beside,
                    release=RELEASE,
                    spread=spread,
                )
            except Refused as error:
                report = Report(subject="file", unchecked=str(error))
    _show(judge(made, report), as_json)
    raise SystemExit(report.exit_code)


def _kept(path: Path) -> Kept:
    raw = path.read_bytes()
    if len(raw) > TEXT_BYTES_MAX:
        raise Refused(f"{path} is too large for a checkpoint or receipt.")
    return Kept(path.name, raw.decode("utf-8", "replace"))


def _key(text: str) -> VerifierKey:
    given = Path(text).read_text().strip() if Path(text).is_file() else text
    return VerifierKey.parse(given)


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        import msgspec

        body = {
            "subject": report.subject, "verdict": report.verdict, "facts": report.facts, "proven": report.proven,
            "not_proven": report.not_proven, "violated": report.violated, "violations": report.violations,
            "unchecked": report.unchecked,
        }  # fmt: skip
        click.echo(msgspec.json.format(msgspec.json.encode(body)).decode())
        return
    _print_report(report, out)


def _print_report(report: Report, console: Console) -> None:
    facts = "  ".join(f"{name} {value}" for name, value in report.facts.items() if value != "")
    console.print(safe(facts), style="dim", soft_wrap=True)
    sections = (
        (
            "Violated",
            "bold red",
            "✗",
            [f"{one.where}: {one.message} ({one.kind})" for one in report.violated[:SHOWN_MAX]],
        ),
        ("Could not be checked", "bold yellow", "!", [report.unchecked] if report.unchecked else []),
        ("Not proven", "yellow", "·", report.not_proven),
        ("Proven", "green", "✓", report.proven),
    )
    for title, style, mark, lines in reversed(sections):
        if lines:
            console.print(Text(title, style=style))
        for line in lines:
            console.print(Text(f"  {mark} ", style=style) + safe(line), soft_wrap=True)
    if report.violations > SHOWN_MAX:
        console.print(
            safe(f"  … and {report.violations - SHOWN_MAX:,} more; --json lists 100"), style="bold red"
        )
    console.print(Text(report.verdict.upper(), style=_VERDICTS[report.verdict]))


def doctor(data: Path, quick: bool, known: tuple[Path, ...]) -> None:
    """Check an installation: folder, database, rights, signer, and every row of every log; says what to do.

    Works beside a running server or without one. Exit code 1 when something is ill.
    """
    kept = [_kept(path) for path in known]
    ill = uvloop.run(_doctor(data, quick, kept))
    raise SystemExit(1 if ill else 0)


async def _doctor(data: Path, quick: bool, kept: list[Kept]) -> bool:
    from tallystick.runtime import examination

    async with examination(data, say=lambda sentence: err.print(safe(sentence), style="dim")) as (
        found,
        examine,
    ):
        diagnoses = [*found, *await examine.quick()]
        table = Table(box=None, pad_edge=False, show_header=False)
        for _ in range(3):
            table.add_column(overflow="fold")
        for one in diagnoses:
            table.add_row(*_row(one))
        out.print(table)
        ill = any(one.state == "ill" for one in diagnoses)
        if quick:
            return ill
        columns = (TextColumn("whole log"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("log", total=None)
            report = await examine.whole_log(
                kept, lambda done, total: progress.update(task, completed=done, total=total)
            )
        _print_report(report, out)
        return ill or report.verdict == "violated"


def _row(one: Diagnosis) -> tuple[Text, Text, Text]:
    mark, style = _MARKS[one.state]
    said = safe(one.found + (f" → {one.advice}" if one.advice else ""))
    return Text(mark, style=style), safe(one.name), said


_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)
VERIFY = click.Command(
    "verify", callback=verify, help=verify.__doc__, params=[
        click.Argument(["file"]),
        click.Option(["--known"], multiple=True, type=_PATH, help="An older checkpoint or receipt of this log, kept elsewhere."),
        click.Option(["--receipt"], multiple=True, type=_PATH, help="A receipt from an ingest answer; its event must be where it was."),
        click.Option(["--key"], multiple=True, help="The log's verifier key, or a file with it; pins whose signature counts."),
        click.Option(["--proof"], type=_PATH, help="The proof of FILE, where it is not FILE.proof.jsonl."),
        click.Option(["--policy"], type=_PATH, help="Whose word counts: keys, witnesses and quorum, authorities, older states."),
        click.Option(["--event"], type=_PATH, help="When FILE is a receipt: the event's line of an export, or its leaf."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the report as JSON."),
    ],
)  # fmt: skip
DOCTOR = click.Command(
    "doctor", callback=doctor, help=doctor.__doc__, params=[
        DATA,
        click.Option(["--quick"], is_flag=True, help="Leave out the check of every row."),
        click.Option(["--known"], multiple=True, type=_PATH, help="An older checkpoint or receipt, kept elsewhere."),
    ],
)  # fmt: skip
