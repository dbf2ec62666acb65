"""The bytes of an export are pinned, and the program in its documentation checks them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tallystick.verify.export import verify_export
from tallystick.verify.layout import Header, Line, Trailer

from .peer import SIGNER, PeerLog

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "export"
PAGE = ROOT / "docs" / "reference" / "export-format.md"


def test_the_bytes_of_a_full_export_are_pinned() -> None:
    """A full export never changes its bytes between releases."""
    assert PeerLog.of(5).export() == (GOLDEN / "whole.jsonl").read_bytes()


def test_the_bytes_of_a_filtered_export_are_pinned() -> None:
    """A filtered export of a range never changes its bytes between releases."""
    export = PeerLog.of(11).export(
        2, 9, full=[at % 3 == 0 for at in range(11)], filter_text="outcome:success"
    )
    assert export == (GOLDEN / "filtered.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["whole", "filtered"])
def test_pinned_exports_are_proven(name: str) -> None:
    """Exports written by earlier releases stay provable."""
    raw = (GOLDEN / f"{name}.jsonl").read_bytes()
    assert verify_export([raw], keys=(SIGNER.verifier,)).verdict == "proven"


def test_the_program_in_the_docs_checks_an_export(tmp_path: Path) -> None:
    """A stranger who follows the page finds a good export good and an edited one bad."""
    match = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match
    program = tmp_path / "check.py"
    program.write_text(match[1])
    log = PeerLog([row for row in PeerLog.of(60).rows if b"1e-7" not in (row.opening or b"")])
    log.rows = [row._replace(position=at) for at, row in enumerate(log.rows)]
    good = tmp_path / "good.jsonl"
    good.write_bytes(log.export())
    assert len(log.rows) > 20
    found = subprocess.run([sys.executable, program, good], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert f"{len(log.rows)} events lead to the root" in found.stdout
    for old, new in (
        (b"zoe@example.com", b"eve@example.com"),
        (b'"outcome":"success"', b'"outcome":"failure"'),
    ):
        bad = tmp_path / "bad.jsonl"
        bad.write_bytes(good.read_bytes().replace(old, new))
        assert subprocess.run([sys.executable, program, bad], capture_output=True).returncode != 0


@pytest.mark.parametrize("struct", [Header, Trailer, Line])
def test_every_key_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    """A key of the format that the page does not explain cannot be merged."""
    page = PAGE.read_text()
    missing = [
        name for name in struct.__struct_fields__ if f"`{name}`" not in page and f'"{name}"' not in page
    ]
    assert missing == []
