"""Exports as a person makes them: a small one at once, a large one as a job that survives, each with its manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from people import COOKIE, add_member, browser, execute, sign_in
from postgres import Database
from server import Server, Servers, event
from tallystick.catalogue.describe import verb_of
from tallystick.cli.subject import RELEASE, subject_of
from tallystick.verify.file import verify_file
from tallystick.verify.instance import Means

from .test_verify_page import chromium, house, pytestmark, visit

MEANS = Means(verb_of=verb_of, secret=bytes(32))
__all__ = ["chromium", "house", "pytestmark", "visit"]


@pytest.fixture
def owner(house: tuple[Server, str]) -> Iterator[httpx2.Client]:
    server, cookie = house
    with browser(server) as client:
        client.cookies.set(COOKIE, cookie)
        client.follow_redirects = True
        yield client


def finished(client: httpx2.Client, export_id: str) -> dict[str, Any]:
    """Wait until an export came to its end; return its manifest."""
    for _ in range(300):
        found = client.get(f"/exports/{export_id}/manifest").json()
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"the export did not end: {found}")


def newest(client: httpx2.Client) -> str:
    """Return the id of the newest export of the page."""
    found = re.search(r"/exports/(exp_[0-9a-f]{16})/", client.get("/exports").text)
    assert found is not None
    return found[1]


def test_what_is_shown_is_what_is_exported(owner: httpx2.Client) -> None:
    """The export would hold more or less than the page it was begun from."""
    page = owner.get("/exports/new?q=stream:platform")
    assert "Export 40 events" in page.text
    filter = re.search(r'name="filter" value="([^"]*)"', page.text)
    assert filter is not None
    sent = owner.post("/exports", data={"filter": filter[1], "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(sent.text, newline="")))
    assert (sent.status_code, len(rows), {row["stream"] for row in rows}) == (200, 40, {"platform"})


@pytest.mark.parametrize("wanted", ["csv", "jsonl", "ocsf-1.1.0", "ocsf-1.7.0", "langfuse-jsonl", "parquet"])
def test_a_job_and_its_manifest(owner: httpx2.Client, wanted: str, tmp_path: Path) -> None:
    """The file would be another than its manifest says, its count would be wrong, or nobody could prove it."""
    sent = owner.post("/exports", data={"filter": "stream:platform", "format": wanted, "job": "1"})
    assert sent.status_code == 200
    export_id = newest(owner)
    manifest = finished(owner, export_id)
    assert (manifest["state"], manifest["events"], manifest["filter"]) == ("done", 40, "stream:platform")
    file = owner.get(f"/exports/{export_id}/file").content
    assert (len(file), hashlib.sha256(file).hexdigest()) == (manifest["bytes"], manifest["sha256"])
    assert manifest["checkpoint"].startswith(manifest["keys"][0].partition("+")[0])
    if wanted == "jsonl":
        assert json.loads(file.splitlines()[-1])["events"] == 40
    (tmp_path / "log").write_bytes(file)
    proof = owner.get(f"/exports/{export_id}/file?part=proof")
    assert proof.status_code == (404 if wanted in ("jsonl", "parquet") else 200)
    if proof.status_code == 200:
        assert proof.headers["content-disposition"].endswith('.proof.jsonl"')
        (tmp_path / "log.proof.jsonl").write_bytes(proof.content)
    with subject_of(str(tmp_path / "log"), None) as subject:
        report = verify_file(subject.open_file, MEANS, beside=subject.beside, release=RELEASE)
    assert (report.verdict, report.violated, report.facts["events"]) == ("proven", [], 40)


def test_a_download_with_its_proof(owner: httpx2.Client, tmp_path: Path) -> None:
    """A person would hand on a file that nobody can prove, though the box was ticked."""
    page = owner.get("/exports/new?q=stream:platform").text
    assert 'name="proof" value="1" checked' in page
    sent = owner.post("/exports", data={"filter": "stream:platform", "format": "csv", "proof": "1"})
    assert sent.headers["content-type"] == "application/zip"
    (tmp_path / "log.zip").write_bytes(sent.content)
    with subject_of(str(tmp_path / "log.zip"), None) as subject:
        report = verify_file(subject.open_file, MEANS, beside=subject.beside, release=RELEASE)
    assert (report.verdict, report.facts["events"], report.facts["rendering"]) == ("proven", 40, "csv")
    own = owner.post("/exports", data={"filter": "stream:platform", "format": "jsonl", "proof": "1"})
    assert own.content.startswith(b'{"format":"tallystick-export"')


def test_a_mistake_exports_nothing(owner: httpx2.Client) -> None:
    """A filter that is not understood would export everything."""
    assert owner.get("/exports/new?colour=red").status_code == 400
    for fields in ({"filter": "from:never", "format": "csv"}, {"filter": "", "format": "exe", "job": "1"}):
        assert owner.post("/exports", data=fields).status_code == 400
    assert owner.get("/exports/exp_0000000000000000/file").status_code == 404


def test_another_s_export_is_not_there(owner: httpx2.Client, house: tuple[Server, str]) -> None:
    """An auditor would fetch what somebody with other rights had exported."""
    server, _ = house
    owner.post("/exports", data={"filter": "stream:platform", "format": "csv", "job": "1"})
    export_id = newest(owner)
    finished(owner, export_id)
    add_member(server, "audit@example.com", "AUDITOR")
    auditor = sign_in(server, "audit@example.com")
    assert export_id not in auditor.get("/exports").text
    for path in ("file", "manifest"):
        assert auditor.get(f"/exports/{export_id}/{path}").status_code == 404
    auditor.post("/exports", data={"filter": "", "format": "csv", "job": "1"})
    assert newest(auditor) in owner.get("/exports").text, "whoever manages the organization sees all of them"


def test_an_export_survives_its_server(servers: Servers, database: Database) -> None:
    """A restart would leave an export that neither ends nor can be begun again."""
    first = servers.start(database=database.logins.owner)
    with first.client() as client:
        for _ in range(5):
            assert client.post("/v1/events:batch", json=[event() for _ in range(1000)]).status_code == 200
    person = sign_in(first)
    person.post("/exports", data={"filter": "stream:platform", "format": "ocsf-1.7.0", "job": "1"})
    first.kill()
    # As if it had died in the middle, a minute ago.
    left = "UPDATE exports SET state = 'running', seen_at = now() - interval '1 minute', events = 7, sha256 = NULL"
    execute(first, left)
    for file in first.data.glob("exports/*/exp_*"):
        file.write_bytes(b"half a li")
    second = servers.start(database=database.logins.owner)
    person = sign_in(second)
    export_id = newest(person)
    manifest = finished(person, export_id)
    file = person.get(f"/exports/{export_id}/file").content
    assert (manifest["state"], manifest["events"], file.count(b"\n")) == ("done", 5000, 5000)


def test_cancelled(owner: httpx2.Client) -> None:
    """Cancel would let it go on, or a finished one be taken back."""
    owner.post("/exports", data={"filter": "stream:platform", "format": "csv", "job": "1"})
    export_id = newest(owner)
    finished(owner, export_id)
    late = owner.post(f"/exports/{export_id}/cancel")
    assert (late.status_code, "come to its end already" in late.text) == (409, True)


@pytest.mark.parametrize("path", ["/exports", "/exports/new?q=stream:platform"])
def test_the_pages_fit(visit: Any, owner: httpx2.Client, path: str) -> None:
    """A page would scroll sideways on a phone."""
    page = visit(path, color_scheme="dark", viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
