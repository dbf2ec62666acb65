"""`import`: a whole feed, with a progress bar, safe to repeat."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import click
from msgspec import Struct
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tallystick.cli.connection import OPTIONS, Connection, connect
from tallystick.cli.output import err, out, safe
from tallystick.errors import Refused, TooLarge, TryLater
from tallystick.sources.mapping import Input, MappingFile, read_mapping
from tallystick.sources.records import Record, records

BATCH_EVENTS = 500
BATCH_BYTES = 4 * 1024 * 1024
TRIES_MAX = 8
REFUSALS_SHOWN = 20
_JSONL = Input(format="jsonl", records=None, separator="", fields=())
_NAMESPACE = uuid5(NAMESPACE_URL, "tallystick/import")


class Line(Struct, frozen=True):
    """One event on its way: the line it came from and its JSON."""

    line: int
    event: bytes


class Outcome(Struct):
    """What became of an import so far."""

    created: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: int = 0


def import_(
    url: str | None,
    key: str | None,
    data: Path,
    file: str,
    mapping: str | None,
    rejects: Path | None,
    dry_run: bool,
) -> None:
    """Record every event of FILE (- is standard input): JSON lines of events, or any feed with --mapping.

    Repeating an import makes no second row: events without an id get one from their own content.

    \b
    git -C REPO log --reverse --format=... | tallystick import --mapping git -
    tallystick import --mapping cloudtrail trail.json.gz
    """
    found = read_mapping(mapping) if mapping else None
    outcome = Outcome()
    with click.open_file(file, "rb") as stream, _Refusals(rejects, outcome) as refusals:
        events = _events(stream, found, refusals)
        if dry_run:
            for line in events:
                click.echo(line.event)
            return
        server = connect(url, key, data, write=True)
        # Bytes are known beforehand, events are not: the bar goes by bytes, the count stands beside it.
        total = Path(file).stat().st_size if file != "-" else None
        with _progress() as progress:
            task = progress.add_task("import", total=total, events=0)
            for batch in _batches(events):
                _send(server, batch, outcome, refusals)
                stored = outcome.created + outcome.duplicate + outcome.quarantined
                progress.update(task, completed=stream.tell() if total else None, events=stored)
            progress.update(task, completed=total)
    words = f"{outcome.created} recorded, {outcome.duplicate} there already, {outcome.refused} refused"
    out.print(safe(words + (f", {outcome.quarantined} in quarantine" if outcome.quarantined else "")))
    if outcome.refused:
        raise Refused(
            f"{outcome.refused} lines were refused and not recorded; everything else was. Mend them and import again."
        )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[events]:,} events"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err)


class _Refusals:
    """Tells about refused lines, on the terminal up to a number and in a file all of them."""

    def __init__(self, path: Path | None, outcome: Outcome) -> None:
        self._path = path
        self._outcome = outcome

    def __enter__(self) -> _Refusals:
        self._file = self._path.open("w") if self._path else None
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line: int, reason: str, raw: bytes) -> None:
        """Count a refused line and say why."""
        self._outcome.refused += 1
        if self._outcome.refused <= REFUSALS_SHOWN:
            err.print(safe(f"line {line}: {reason}"))
        elif self._outcome.refused == REFUSALS_SHOWN + 1:
            err.print(safe("… more are refused; --rejects FILE keeps all of them"))
        if self._file is not None:
            record = {"line": line, "reason": reason, "raw": raw.decode("utf-8", "replace")}
            self._file.write(json.dumps(record) + "\n")


def _events(stream: Any, mapping: MappingFile | None, refusals: _Refusals) -> Iterator[Line]:
    seen: Counter[bytes] = Counter()
    for record in records(stream, mapping.input if mapping else _JSONL):
        if record.value is None:
            refusals.add(record.line, record.error, record.raw)
            continue
        try:
            event = mapping.apply(record.value) if mapping else record.value
        except Refused as error:
            refusals.add(record.line, str(error), record.raw)
            continue
        if mapping is None and event.get("id") is not None:
            # Sent as it came: the server is the one to judge it, duplicate keys and all.
            yield Line(record.line, record.raw.strip())
            continue
        yield Line(record.line, json.dumps({**event, "id": str(_id(event, record, seen))}).encode())


def _id(event: dict[str, Any], record: Record, seen: Counter[bytes]) -> UUID:
    given = event.get("id")
    if given is not None:
        try:
            return UUID(str(given))
        except ValueError:
            return uuid5(_NAMESPACE, str(given))
    # Two equal lines are two events: the second is told apart by how many came before it.
    content = record.raw.strip()
    seen[content] += 1
    return uuid5(_NAMESPACE, f"{seen[content]}:{content.decode('utf-8', 'replace')}")


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_EVENTS or size + len(line.event) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.event) + 1
    if batch:
        yield batch


def _send(server: Connection, batch: list[Line], outcome: Outcome, refusals: _Refusals) -> None:
    body = b"\n".join(line.event for line in batch)
    try:
        answer = _post(server, body)
    except TooLarge:
        if len(batch) == 1:
            refusals.add(batch[0].line, "the event is too large", batch[0].event)
            return
        half = len(batch) // 2
        _send(server, batch[:half], outcome, refusals)
        _send(server, batch[half:], outcome, refusals)
        return
    for line, result in zip(batch, answer["results"], strict=True):
        if result["status"] == "rejected":
            error = result["error"]
            where = f" at {error['path']}" if error.get("path") else ""
            refusals.add(line.line, f"{error['message']}{where}", line.event)
        else:
            setattr(outcome, result["status"], getattr(outcome, result["status"]) + 1)


def _post(server: Connection, body: bytes) -> Any:
    """Send a batch; again with the same ids while the outcome is unknown or the server busy."""
    for attempt in range(TRIES_MAX - 1):
        try:
            return server.post("/v1/events:batch", body, "application/x-ndjson")
        except TryLater:
            time.sleep(min(0.2 * 2**attempt, 10))
    return server.post("/v1/events:batch", body, "application/x-ndjson")


IMPORT = click.Command(
    "import", callback=import_, help=import_.__doc__, params=[
        click.Argument(["file"]),
        click.Option(["--mapping"], help="A shipped mapping (git, cloudtrail) or a mapping file."),
        click.Option(["--rejects"], type=click.Path(path_type=Path), help="Write refused lines with their reasons here."),
        click.Option(["--dry-run"], is_flag=True, help="Print the events instead of recording them."),
        *OPTIONS,
    ],
)  # fmt: skip
