"""What was removed and erased, as the short checkers see it: an auditor's single file, and a visitor's browser."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import random
import runpy
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio

from services.keeping import Office
from services.test_verify_removed import lived
from tallystick.query.model import Clause
from tallystick.verify.layout import bare_line
from verify.forgery import forged
from verify.test_browser import CHECK, opened
from verify.test_browser import pytestmark as needs_chromium

FILE = Path(__file__).parents[2] / "auditor" / "check_export.py"


def hide(lines: Any, rng: random.Random) -> None:
    """An event that no record covers looks as if a purge had taken it."""
    at = rng.choice(
        [n for n, one in enumerate(lines) if "event" in one and one["event"]["stream"] != "tallystick"]
    )
    digest = hashlib.sha256(b"\0" + msgspec.json.encode(lines[at]["leaf"])).digest()
    made = msgspec.json.decode(bare_line(lines[at]["position"], [digest]))
    lines[at] = {
        "position": made["position"],
        "count": 1,
        "removed": True,
        "leaf_hashes": made["leaf_hashes"],
    }
    lines[-1]["events"] -= 1
    lines[-1]["bare"] += 1


@pytest_asyncio.fixture
async def lived_through(office: Office) -> tuple[list[bytes], list[str]]:
    """A whole export and a filtered one of a log that lived, and the log's keys."""
    await lived(office)
    whole = await office.exported()
    some = await office.exported(only=(Clause("workspace", ("w-1",)),))
    assert b'"removed":true' in whole
    assert b'"$erased"' in whole
    return [whole, some], [office.log.verifier.format(), office.log.signer.clock().format()]


def test_an_auditor_s_file(lived_through: tuple[list[bytes], list[str]]) -> None:
    """What a policy removed would look like a crime, or a crime like what a policy removed."""
    checker = runpy.run_path(str(FILE))
    exports, keys = lived_through
    parsed = [checker["Key"](key) for key in keys]
    for export in exports:
        found = checker["check"](io.BytesIO(export), parsed)
        assert found.violated == []
        assert any("policies and holds" in one for one in found.not_proven)
        for seed in range(10):
            edited = forged(export, lambda lines, seed=seed: hide(lines, random.Random(seed)), careful=False)
            assert checker["check"](io.BytesIO(edited), parsed).violated


@needs_chromium
async def test_a_visitor_s_browser(lived_through: tuple[list[bytes], list[str]]) -> None:
    """The page that a visitor trusts would cry wolf after the first purge, or never."""
    exports, keys = lived_through
    edited = [forged(one, lambda lines: hide(lines, random.Random(3)), careful=False) for one in exports]
    # Playwright has a loop of its own, so it gets a thread of its own.
    found = await asyncio.to_thread(in_a_browser, [*exports, *edited], keys)
    assert found[:2] == [[], []]
    assert all(found[2:])


def in_a_browser(exports: list[bytes], keys: list[str]) -> list[list[str]]:
    """Return what a browser calls violated in each export."""
    coded = [base64.b64encode(one).decode() for one in exports]
    with contextmanager(opened)() as page:
        return page.evaluate(CHECK, {"exports": coded, "keys": keys, "known": []})
