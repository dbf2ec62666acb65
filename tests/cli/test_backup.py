"""`backup` and `restore` on an installation with its own PostgreSQL: whole or refused, and proven at the end."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from server import PROGRAM, Server, event, server_folder, start
from tallystick.store import embedded


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator at the machine does."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], env=clean | {"COLUMNS": "200"}, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = server_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def busy(folder: Path) -> Iterator[Server]:
    """A server with its own PostgreSQL and a few events."""
    running = start(folder / "data")
    try:
        with running.client() as client:
            answer = client.post("/v1/events:batch", json=[event() for _ in range(300)])
            assert answer.status_code == 200, answer.text
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def backup(busy: Server, folder: Path) -> Path:
    """A backup that was made while events were recorded."""
    stopping = threading.Event()
    sent: list[int] = []

    def write() -> None:
        with busy.client() as client:
            while not stopping.is_set():
                sent.append(client.post("/v1/events", json=event()).status_code)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = run("backup", folder / "one.tar", "--data", busy.data)
    finally:
        stopping.set()
        writer.join(60)
    assert done.returncode == 0, done.stderr
    assert set(sent) == {201}, "recording stood still, or was refused, during the backup"
    return folder / "one.tar"


def manifest_of(backup: Path) -> dict:
    with tarfile.open(backup) as archive:
        stream = archive.extractfile("manifest.json")
        assert stream is not None
        return json.load(stream)


def changed(backup: Path, to: Path, name: str, content: bytes | None, *, called: str | None = None) -> Path:
    """Write the backup again with other content for one of its files, without it, or with it under another name."""
    with tarfile.open(backup) as source, tarfile.open(to, "w") as target:
        for entry in source:
            stream = source.extractfile(entry)
            assert stream is not None
            if entry.name != name:
                target.addfile(entry, stream)
            elif content is not None:
                entry.size = len(content)
                entry.name = called or entry.name
                target.addfile(entry, io.BytesIO(content))
    return to


def test_a_restored_server_is_itself_again(busy: Server, backup: Path, folder: Path) -> None:
    """A restored log would lack events, be signed by another key, or refuse to go on."""
    with busy.client() as client:
        old = client.get("/v1/log/checkpoint").text
        later = client.post("/v1/events", json=event()).json()
    held = manifest_of(backup)["logs"][0]["size"]
    assert 300 < held < later["position"]
    done = run("restore", backup, "--data", folder / "again")
    assert done.returncode == 0, done.stderr
    assert f"{held:,} events" in done.stdout
    again = start(folder / "again")
    try:
        assert again.organization_id == busy.organization_id
        with again.client(busy.admin_key) as client:
            assert client.get(f"/v1/events/{later['id']}").status_code == 404, "it came after the backup"
            assert client.post("/v1/events", json=event()).status_code == 201
            exported = client.get("/v1/export").content
            new = client.get("/v1/log/checkpoint").text
            assert new.split("\n")[0] == old.split("\n")[0], "another origin"
    finally:
        again.stop()
    (folder / "again.jsonl").write_bytes(exported)
    (folder / "receipt.txt").write_text(later["receipt"])
    key = again.verifier.format()
    assert run("verify", folder / "again.jsonl", "--key", key).returncode == 0
    missed = run("verify", folder / "again.jsonl", "--key", key, "--known", folder / "receipt.txt")
    assert missed.returncode == 1, "a receipt of an event that the backup lacks went unnoticed"


def test_a_backup_is_on_record(busy: Server, backup: Path) -> None:
    """A copy of everything, signing key included, could be taken without a trace."""
    with busy.client() as client:
        found = client.get("/v1/events", params={"action": "^backup.created$"}).json()["events"]
    held = manifest_of(backup)
    (dump,) = [member for member in held["members"] if member["name"] == "database.dump"]
    assert [one["after"] for one in found] == [
        {"events": held["logs"][0]["size"], "database_sha256": dump["sha256"]}
    ]
    assert found[0]["stream"] == "tallystick"
    assert found[0]["position"] >= held["logs"][0]["size"]


def test_nothing_is_replaced(busy: Server, backup: Path, folder: Path) -> None:
    """A slip of the hand would overwrite the only backup, or an installation newer than it."""
    before = backup.read_bytes()
    again = run("backup", backup, "--data", busy.data)
    assert again.returncode == 2
    assert "choose another name" in again.stderr
    assert backup.read_bytes() == before
    onto = run("restore", backup, "--data", busy.data)
    assert onto.returncode == 2
    assert "is not empty" in onto.stderr
    with busy.client() as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "name", ["database.dump", "keys/signing.key", "instance", "keys/redaction.key", "manifest.json"]
)
def test_a_changed_backup_is_refused(backup: Path, folder: Path, name: str) -> None:
    """A damaged or edited backup would come up as a server that looks whole."""
    with tarfile.open(backup) as archive:
        stream = archive.extractfile(name)
        assert stream is not None
        content = bytearray(stream.read())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), None):
        to = changed(backup, folder / "changed.tar", name, damaged)
        done = run("restore", to, "--data", folder / "none")
        assert done.returncode in (1, 2), done.stdout
        assert "Traceback" not in done.stderr
        assert not (folder / "none").exists(), "half an installation was left behind"


def test_a_backup_writes_nowhere_else(backup: Path, folder: Path) -> None:
    """A forged backup would write over any file of the operator's."""
    manifest = manifest_of(backup)
    for name in ("../escaped", "/tmp/tallystick-escaped", "keys/../../escaped", "signer/x.state"):
        manifest["members"][0]["name"] = name
        forged = changed(backup, folder / "half.tar", "manifest.json", json.dumps(manifest).encode())
        forged = changed(forged, folder / "forged.tar", "keys/cursor.key", b"x", called=name)
        done = run("restore", forged, "--data", folder / "none")
        assert done.returncode == 2
        assert "is not whole" in done.stderr
        assert not (folder / "escaped").exists()
        assert not (folder / "none").exists()


def test_a_tampered_log_is_found_when_it_is_restored(folder: Path) -> None:
    """A backup of a database that somebody edited would be taken for a good one."""
    running = start(folder / "edited")
    try:
        with running.client() as client:
            assert client.post("/v1/events:batch", json=[event() for _ in range(20)]).status_code == 200
        address = embedded.running(folder / "edited").with_database("tallystick")
        with psycopg.connect(address.url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("UPDATE audit_logs SET action = 'nothing.happened' WHERE position = 7")
        made = run("backup", folder / "edited.tar", "--data", folder / "edited")
        assert made.returncode == 0, made.stderr
    finally:
        running.stop()
    done = run("restore", folder / "edited.tar", "--data", folder / "none")
    assert done.returncode == 1
    assert "is not what was signed" in done.stderr
    assert not (folder / "none").exists()


def test_without_a_running_server(busy: Server, backup: Path, folder: Path) -> None:
    """A stopped server could not be backed up, or would be left running by it."""
    assert run("restore", backup, "--data", folder / "still").returncode == 0
    done = run("backup", folder / "still.tar", "--data", folder / "still")
    assert done.returncode == 0, done.stderr
    assert manifest_of(folder / "still.tar")["logs"] == manifest_of(backup)["logs"]
    assert (folder / "still.tar").stat().st_mode & 0o777 == 0o600
    assert not [left for left in folder.iterdir() if left.name.startswith(".")]
