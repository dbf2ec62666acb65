"""The numbers of a spool's events: who gives them, in which epoch, and which of them will not be sent.

A number is the row's own key, given out by the transaction that keeps the event: dense for what was kept, across
threads, processes and forks, and forgotten with it where that transaction is. An epoch ends where numbers may have been
given out and forgotten: with the file, and with a run of the machine in which somebody wrote without waiting for the disk.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from tallystick.event.limits import UNSENT_MAX
from tallystick.event.numbering import Range, Ranges

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_LAST: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'waiting'), 0)"


class Naming(Struct, frozen=True):
    """Under which name events are numbered: the one that was chosen, else the file's own, `default` in a new file.

    `new_epoch` makes the name of an epoch.
    """

    producer: str | None
    default: str
    new_epoch: Callable[[], str]


class Standing(Struct, frozen=True):
    """Who numbers, how far, and the first number that still waits to be sent; None when none does."""

    producer: str
    epoch: str
    last: int
    waiting_from: int | None


class Numberings:
    """The epochs of a file, each from its base on."""

    def __init__(self, rows: Sequence[tuple[int, str, str]]) -> None:
        self._bases = [base for base, _, _ in rows]
        self._names = [f'"id":"{producer}","epoch":"{epoch}"' for _, producer, epoch in rows]

    def on(self, event: bytes, seq: int, unsent: str | None) -> bytes:
        """Return the JSON object `event` with its number, and the numbers that it accounts for."""
        at = bisect_left(self._bases, seq) - 1
        told = ""
        if unsent and unsent != "[]":
            spans = self._of_epoch(json.loads(unsent), at)
            told = ',"unsent":[' + ",".join(f'{{"first":{one},"last":{last}}}' for one, last in spans) + "]"
        number = f',"producer":{{{self._names[at]},"sequence":{seq - self._bases[at]}{told}}}}}'
        return event[:-1] + number.encode()

    def _of_epoch(self, ranges: Iterable[Range], at: int) -> list[Range]:
        """Return the numbers of rows as this epoch counts them; what belongs to an earlier one, no event can tell."""
        base = self._bases[at]
        return [(max(first - base, 1), last - base) for first, last in ranges if last > base]


def begin_numbering(connection: sqlite3.Connection, naming: Naming, *, synced: bool) -> None:
    """Begin a new epoch where there is none, numbers may be forgotten, or another name is chosen than before.

    `synced` says that this connection waits for the disk with every commit.
    """
    boot, producer = None if synced else _boot(), naming.producer
    newest = "SELECT base, producer, boot FROM numbering ORDER BY base DESC LIMIT 1"
    if _goes_on(connection.execute(newest).fetchone(), producer, boot):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.execute(newest).fetchone()
        if found is not None and _same_run(found[2]) and producer in (None, found[1]):
            connection.execute("UPDATE numbering SET boot = ? WHERE base = ?", (boot or found[2], found[0]))
        else:
            last = connection.execute(_LAST).fetchone()[0]
            name = producer or (found[1] if found else naming.default)
            # In the place of an epoch in which nothing was numbered, if the last one is such.
            sql = "INSERT OR REPLACE INTO numbering VALUES (?, ?, ?, ?)"
            connection.execute(sql, (last, name, naming.new_epoch(), boot))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _goes_on(found: tuple[int, str, str | None] | None, producer: str | None, boot: str | None) -> bool:
    """Tell whether nothing has to be written: the newest epoch holds for this connection as it is."""
    return (
        found is not None
        and _same_run(found[2])
        and producer in (None, found[1])
        and boot in (None, found[2])
    )


def _same_run(boot: str | None) -> bool:
    return boot is None or boot == _boot()


def _boot() -> str:
    """Return what names this run of the machine; "" where the system does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def numberings(connection: sqlite3.Connection) -> Numberings:
    """Return the epochs of a file as they are now; another process may have begun one."""
    return Numberings(
        connection.execute("SELECT base, producer, epoch FROM numbering ORDER BY base").fetchall()
    )


def standing(connection: sqlite3.Connection) -> Standing:
    """Return where the newest epoch stands."""
    base, producer, epoch = connection.execute(
        "SELECT base, producer, epoch FROM numbering ORDER BY base DESC LIMIT 1"
    ).fetchone()
    last = connection.execute(_LAST).fetchone()[0]
    waits = connection.execute("SELECT min(seq) FROM waiting WHERE seq > ?", (base,)).fetchone()[0]
    return Standing(producer, epoch, last - base, None if waits is None else waits - base)


def gather(connection: sqlite3.Connection, rows: Iterable[tuple[int, str | None]]) -> list[Range]:
    """Return the numbers that rows (seq, unsent) had and told of, those of the newest epoch."""
    base = connection.execute("SELECT max(base) FROM numbering").fetchone()[0]
    found = Ranges()
    for seq, unsent in rows:
        for first, last in ((seq, seq), *(json.loads(unsent) if unsent else ())):
            found.add(max(first, base + 1), last)
    return list(found)


def written(numbers: Sequence[Range], *, onto: str | None) -> list[str]:
    """Return `numbers` as texts to be kept, each as many as one event can tell; the first adds to those of `onto`."""
    merged = Ranges([*(json.loads(onto) if onto else ()), *numbers])
    if onto is not None and len(merged) > UNSENT_MAX:
        return [onto, *_pieces(numbers)]
    return _pieces(list(merged))


def _pieces(ranges: Sequence[Range]) -> list[str]:
    texts = [json.dumps(ranges[at : at + UNSENT_MAX]) for at in range(0, len(ranges), UNSENT_MAX)]
    return texts or ["[]"]
