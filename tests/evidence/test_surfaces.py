"""Evidence bundles by every way to ask for one: HTTP, the command line, the page; large ones as jobs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from own_events import end, own_events
from people import sign_in
from postgres import Cluster, fresh_database
from server import PROGRAM, Server, Servers, event, server_folder
from tallystick.verify.file import verify_file
from tallystick.verify.instance import Means
from tallystick.verify.report import Report


@pytest.fixture(scope="module")
def house(postgres_cluster: Cluster, template_database: str) -> Iterator[Server]:
    """A server of this module's own with a few events."""
    for database in fresh_database(postgres_cluster, template_database):
        running = Servers(server_folder())
        try:
            server = running.start(database=database.logins.owner)
            with server.client() as client:
                for at in range(12):
                    answer = client.post(
                        "/v1/events", json=event(action=("prompt.updated", "key.rotated")[at % 2])
                    )
                    assert answer.status_code == 201, answer.text
            yield server
        finally:
            running.stop()


def proven(server: Server, content: bytes) -> Report:
    means = Means(verb_of=lambda _: "read", secret=bytes(32), keys=(server.verifier,), kept=[])  # type: ignore[arg-type]
    report = verify_file(lambda: [content], means)
    assert report.verdict == "proven", (report.violated, report.unchecked)
    return report


def test_over_http(house: Server) -> None:
    """A bundle must come with one request, prove itself, and be on record with who asked for it."""
    after = end(house)
    with house.client() as client:
        answer = client.post("/v1/evidence", params={"action": "prompt"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/zip"
        assert len(answer.content) == int(answer.headers["content-length"])
        assert client.post("/v1/evidence", params={"colour": "red"}).status_code == 400
    report = proven(house, answer.content)
    assert report.facts["events"] == 6
    (issued,) = [one for one in own_events(house, after) if one["action"] == "evidence.issued"]
    files = zipfile.ZipFile(io.BytesIO(answer.content))
    sealed = json.loads(files.read("issued.json"))["line"]["event"]
    assert sealed["id"] == issued["id"]
    assert issued["metadata"]["events"] == 6


def test_a_pack_over_http(house: Server) -> None:
    """What an auditor asks for by the name of a standard must come as one file."""
    with house.client() as client:
        names = [one["name"] for one in client.get("/v1/evidence-packs").json()["packs"]]
        assert names == ["soc2", "iso27001", "pci-dss", "hipaa", "nist-800-53"]
        answer = client.post("/v1/evidence-packs/soc2", params={"range": "30d"})
        assert answer.status_code == 200, answer.text
        assert client.post("/v1/evidence-packs/soc2", params={"action": "x"}).status_code == 400
        assert client.post("/v1/evidence-packs/soc3").status_code == 404
    proven(house, answer.content)
    controls = json.loads(zipfile.ZipFile(io.BytesIO(answer.content)).read("controls.json"))
    assert controls["pack"] == "soc2"


def tallystick(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TALLYSTICK_URL": server.url, "TALLYSTICK_API_KEY": server.admin_key}
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def test_on_the_command_line(house: Server, tmp_path: Path) -> None:
    """Whoever has a shell and no browser asks the same question."""
    bundle, pack = tmp_path / "b.zip", tmp_path / "p.zip"
    done = tallystick(house, "evidence", "--action", "prompt", "-o", str(bundle))
    assert done.returncode == 0, done.stderr
    proven(house, bundle.read_bytes())
    done = tallystick(house, "evidence", "pack", "hipaa", "-o", str(pack))
    assert done.returncode == 0, done.stderr
    proven(house, pack.read_bytes())
    done = tallystick(house, "evidence", "packs")
    assert "pci-dss" in done.stdout
    assert tallystick(house, "evidence").returncode == 2
    checked = tallystick(house, "verify", str(bundle), "--key", house.verifier.format())
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "as they were when the log sealed this bundle" in " ".join(checked.stdout.split())


def test_large_answers_are_written_into_a_file(house: Server) -> None:
    """An answer that takes minutes must not hang on one connection, and must be as good as a small one."""
    owner = sign_in(house)
    begun = owner.post("/exports", data={"format": "evidence", "filter": "action:prompt", "job": "1"})
    assert begun.status_code == 303, begun.text
    with house.client() as client:
        (one,) = client.get("/v1/evidence").json()["bundles"]
        deadline = time.monotonic() + 60
        while one["state"] in ("waiting", "running"):
            assert time.monotonic() < deadline, one
            time.sleep(0.05)
            one = client.get(f"/v1/evidence/{one['id']}").json()
        assert one["state"] == "done", one
        assert one["events"] == 6
        content = client.get(f"/v1/evidence/{one['id']}/file").content
    assert hashlib.sha256(content).hexdigest() == one["sha256"]
    report = proven(house, content)
    assert report.facts["filter"] == "action:prompt"


def test_on_a_page(house: Server) -> None:
    """Who works with a browser must find the bundle where the question is asked, and packs by their names."""
    owner = sign_in(house)
    page = owner.get("/evidence", params={"action": "prompt"})
    assert page.status_code == 200
    assert "All events whose action contains “prompt”." in page.text
    bundle = owner.post("/evidence", data={"filter": "action:prompt"})
    assert bundle.headers["content-type"] == "application/zip"
    assert proven(house, bundle.content).facts["events"] == 6
    pack = owner.post("/evidence/packs/iso27001", data={"range": "90d"})
    assert proven(house, pack.content).facts["events"]
    assert owner.post("/evidence/packs/iso27001", data={"range": "forever"}).status_code == 400
    assert owner.post("/evidence", data={"filter": "colour:red"}).status_code == 400
