"""The single-file checker for auditors: it must find what the verifier finds, without sharing a line with it."""

from __future__ import annotations

import ast
import io
import random
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .forgery import FORGERIES, Lines, forged
from .numbered import numbered_log
from .peer import CLOCK, SIGNER, PeerLog

FILE = Path(__file__).parents[2] / "auditor" / "check_export.py"
REPETITIONS = 40
KEYS = (SIGNER.verifier.format(), CLOCK.verifier.format())


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(300)


@pytest.fixture(scope="module")
def checker() -> dict[str, Any]:
    return runpy.run_path(str(FILE))


def violations(checker: dict[str, Any], export: bytes, known: tuple[tuple[str, str], ...] = ()) -> list[str]:
    """Return what the checker calls violated; that it could not be opened counts too."""
    try:
        return checker["check"](io.BytesIO(export), [checker["Key"](key) for key in KEYS], known).violated
    except checker["Broken"] as error:
        return [str(error)]


def test_an_auditor_can_read_it() -> None:
    """A file that grows, or leans on anything but the standard library, is no longer read before it is trusted."""
    text = FILE.read_text()
    assert len(text.splitlines()) <= 400
    imported = {
        name.split(".")[0]
        for one in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in one.names]
            if isinstance(one, ast.Import)
            else [one.module or ""]
            if isinstance(one, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_honest_exports_are_proven(checker: dict[str, Any], log: PeerLog) -> None:
    """An honest export that is called violated makes every later warning worthless."""
    rng = random.Random(7)
    for _ in range(60):
        part = PeerLog(log.rows[: rng.choice([0, 1, 2, 3, 7, 8, 255, 256, 257, rng.randrange(300)])])
        start = rng.randint(0, len(part.rows))
        end = rng.randint(start, len(part.rows))
        share = rng.choice([None, 0.0, 0.1, 0.9])
        full = None if share is None else [rng.random() < share for _ in part.rows]
        export = part.export(start, end, full=full, filter_text="" if full is None else "action:prompt")
        assert violations(checker, export) == []


def test_numbers_of_producers_are_checked(checker: dict[str, Any]) -> None:
    """A number that could be edited beside its leaf would hide a gap from whoever reads the readable part."""
    export = numbered_log([(1, []), (5, [(2, 4)])]).export()
    assert violations(checker, export) == []
    edited = export.replace(b'"sequence":5', b'"sequence":2')
    assert edited != export
    assert violations(checker, edited)


@pytest.mark.parametrize("careful", [True, False], ids=["careful", "careless"])
@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_every_forgery_is_found(
    forgery: Callable[[Lines, random.Random], None], careful: bool, checker: dict[str, Any], log: PeerLog
) -> None:
    """An auditor who runs the short file would miss what the long one finds."""
    part = PeerLog(log.rows[:23])
    whole = part.export()
    some = part.export(3, 20, full=[at % 3 > 0 for at in range(23)], filter_text="stream:platform")
    missed = []
    for repetition in range(REPETITIONS):
        export = whole if forgery.__name__ == "bare_without_record" or repetition % 2 else some
        rng = random.Random(repetition)
        edited = forged(export, lambda lines, rng=rng: forgery(lines, rng), careful=careful)
        if edited != export and not violations(checker, edited):
            missed.append(repetition)
    assert missed == []


def test_every_flipped_byte_is_found(checker: dict[str, Any], log: PeerLog) -> None:
    """One byte that may change unseen is one byte that proves nothing."""
    export = PeerLog(log.rows[:5]).export(0, 5)
    rng = random.Random(11)
    for at in rng.sample(range(len(export)), 400):
        flipped = export[:at] + bytes([export[at] ^ 1 << rng.randrange(8)]) + export[at + 1 :]
        assert violations(checker, flipped), (at, export[at - 20 : at + 20])


def test_older_checkpoints_and_receipts(checker: dict[str, Any], log: PeerLog) -> None:
    """A log rewritten with its own key would pass, though the auditor kept half of the tally."""
    old, new = PeerLog(log.rows[:20]), PeerLog(log.rows[:50])
    other = PeerLog([*log.rows[1:20], log.rows[0]])
    kept = (("kept.txt", old.note()),)
    assert violations(checker, new.export(0, 50), kept) == []
    assert violations(checker, new.export(0, 50), (("kept.txt", other.note()),))
    assert violations(checker, old.export(0, 20), (("kept.txt", new.note()),))


def test_as_a_program(log: PeerLog, tmp_path: Path) -> None:
    """An auditor's script reads the exit status; a wrong one passes a forged file on."""
    good = log.export(0, len(log.rows))
    at = good.index(b'"action":"') + 12
    files = {"good": good, "bad": good[:at] + b"X" + good[at + 1 :], "else": b"hello\n"}
    wanted = {"good": (0, "Proven"), "bad": (1, "VIOLATED"), "else": (2, "UNCHECKED")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-I", str(FILE), str(tmp_path / name), "--key", KEYS[0]],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, wanted[name][1] in done.stdout) == (wanted[name][0], True), done
        assert done.stderr == ""
