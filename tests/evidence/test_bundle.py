"""Evidence bundles of real logs: what is in them, and that whoever has only the file can prove it."""

from __future__ import annotations

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pypdf import PdfReader

from evidence.bundles import ADA, bundles_of, check, files_of, lived, made, packed
from services.appending import event
from services.keeping import Office
from tallystick.errors import Forbidden, NotFound, TryLater
from tallystick.formats import report_pdf
from tallystick.formats.report import Document, Table
from tallystick.query.model import Clause, Query
from tallystick.services import evidence_bundle
from tallystick.verify import bundle_layout

FILES = [name for name, _ in bundle_layout.ORDER if name != "controls.json"]


async def test_a_bundle_proves_itself(office: Office, pools: Any, tmp_path: Path) -> None:
    """Somebody with the file and the key alone could not tell whether anything is missing, or was removed by whom."""
    await lived(office)
    bundles = bundles_of(office, tmp_path / "evidence", pools)
    kept = await bundles._log.checkpoint(office.log.organization_id)  # pyright: ignore[reportPrivateUsage]
    for query in ({}, {"only": (Clause("workspace", ("w-1",)),)}, {"only": (Clause("user", ("nobody",)),)}):
        bundle = await made(bundles, office, **query)
        report = check(office, bundle, kept=(kept,), piece=random.Random(1).choice([1000, 4096, 1 << 18]))
        assert report.verdict == "proven", (report.violated, report.unchecked)
        assert any(line.startswith("kept 0: its") for line in report.proven)
        assert report.facts["asked by"] == "boss"
        assert not any("(--known)" in line for line in report.not_proven)
        alone = check(office, bundle)
        assert any("(--known)" in line for line in alone.not_proven)
        files = files_of(bundle)
        assert list(files) == FILES
        removals = [json.loads(line) for line in files["removed.jsonl"].splitlines()]
        actions = [one["leaf"]["action"] for one in removals]
        assert sorted(set(actions)) == [
            "legal_hold.set",
            "privacy.erased",
            "retention.policy_changed",
            "retention.pruned",
        ]
    assert not list((tmp_path / "evidence").iterdir()), "something stayed behind on the disk"


async def test_the_report_says_it_all_to_people(office: Office, pools: Any, tmp_path: Path) -> None:
    """A report that leaves out who removed what, or carries a script, is not one to be printed and believed."""
    await lived(office)
    await office.log.append([event(actor=ADA | {"name": "<script>Иван</script>"}, workspace="w-7")])
    bundle = await made(bundles_of(office, tmp_path, pools), office, only=(Clause("workspace", ("w-7",)),))
    files = files_of(bundle)
    page = files["report.html"].decode()
    assert "&lt;script&gt;Иван" in page
    assert not re.search(r"<script|<img|<link|https?://|@import|url\(", page)
    pages = [one.extract_text() for one in PdfReader(io.BytesIO(files["report.pdf"])).pages]
    text = "\n".join(pages).replace("\n", " ")
    assert "[U+0418]" in text, "a letter the font lacks is named, not left out"
    for told in (
        "1 event found, and nothing is missing", "All events of workspace “w-7”.", "boss (mbr_boss)", "Legal hold set: case 2026-17",
        "retention rule set by", "Erased: values of", "What could not be checked", "check_bundle.py",
    ):  # fmt: skip
        assert told in page, told
        assert told in text, told


async def test_the_same_contents_give_the_same_bytes(office: Office, pools: Any, tmp_path: Path) -> None:
    """Two people who compare what they were given must not be led astray by a clock or an order of files."""
    await office.age(30)
    bundle = await made(bundles_of(office, tmp_path / "one", pools), office)
    assert packed(files_of(bundle)) == bundle
    document = Document(title="a", subtitle="b", foot="c", blocks=(Table(("x",), (("1",), ("2",)), (1,)),))
    assert report_pdf.write_pdf(document) == report_pdf.write_pdf(document)


async def test_who_may_and_when(
    office: Office, pools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle for who may not export, of an empty log, or when the server is at its limit, is refused with a reason."""
    bundles = bundles_of(office, tmp_path, pools)
    with pytest.raises(NotFound):
        await bundles.make(office.boss, Query())
    await office.age(3)
    with pytest.raises(Forbidden):
        await bundles.make(replace(office.boss, permissions=frozenset({"auditLogs:view"})), Query())
    for _ in range(evidence_bundle.AT_ONCE):
        await bundles._turns.acquire()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(TryLater):
        await bundles.make(office.boss, Query())
    assert not list(tmp_path.glob("bundle-*"))


async def test_without_pdf_the_bundle_says_so(
    office: Office, pools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is not installed nobody may look for a file that was never made."""
    await office.age(3)
    monkeypatch.setattr(evidence_bundle, "can_write_pdf", lambda: False)
    bundle = await made(bundles_of(office, tmp_path, pools), office)
    assert check(office, bundle).verdict == "proven"
    files = files_of(bundle)
    assert "report.pdf" not in files
    assert "There is no report.pdf here" in files["report.html"].decode()
    assert report_pdf.can_write_pdf()


async def test_a_part_of_a_log_is_all_that_a_part_shows(office: Office, pools: Any, tmp_path: Path) -> None:
    """Who sees one workspace could read in the catalogue what was held and erased elsewhere, and why."""
    await lived(office)
    bundles = bundles_of(office, tmp_path, pools)
    narrow = replace(office.boss, workspaces=frozenset({"w-2"}))
    answer = await bundles.make(narrow, Query())
    bundle = b"".join([piece async for piece in answer.pieces()])
    report = check(office, bundle)
    assert report.verdict == "proven", report.violated
    files = files_of(bundle)
    for name, content in files.items():
        assert b"case 2026-17" not in content, name
    assert {"w-2"} == {
        json.loads(line)["event"]["workspace"] for line in files["export.jsonl"].splitlines() if b'"event":' in line[:40]
    }  # fmt: skip


async def test_checkpoints_are_thinned_and_it_says_so(
    office: Office, pools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of checkpoints does not fit into a bundle; that some were left out must not go unsaid."""
    for _ in range(12):
        await office.age(2)
    monkeypatch.setattr("tallystick.services.evidence_bundle_parts.CHECKPOINTS_MAX", 5)
    bundle = await made(bundles_of(office, tmp_path, pools), office)
    report = check(office, bundle)
    assert report.verdict == "proven", report.violated
    assert any(
        re.search(r"that \d+ further checkpoints of the range agree", line) for line in report.not_proven
    )
    assert len(files_of(bundle)["checkpoints.jsonl"].splitlines()) <= 5
