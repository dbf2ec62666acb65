"""Exports on the command line: every format is loaded with its proof, and proven or refuted offline."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import Cluster, fresh_database
from server import Server, event, server_folder, start

from .test_commands import Run

FILTERS = ["--action", "^export.", "--stream", "platform"]


@pytest.fixture(scope="module")
def server(postgres_cluster: Cluster, template_database: str) -> Iterator[Server]:
    """A server with a hundred events, every other one of them wanted."""
    import shutil

    databases = fresh_database(postgres_cluster, template_database)
    folder = server_folder()
    running: Server | None = None
    try:
        running = start(folder / "data", database=next(databases).logins.owner)
        with running.client() as client:
            batch = [event(action="export.me" if at % 2 else "other.one") for at in range(100)]
            assert client.post("/v1/events:batch", json=batch).status_code == 200
        yield running
    finally:
        if running is not None:
            running.stop()
        databases.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Run:
    """Runs `tallystick …` in a folder of its own, connected to the running server."""
    environment = {
        "TALLYSTICK_URL": server.url,
        "TALLYSTICK_API_KEY": server.admin_key,
        "COLUMNS": "200",
        "PATH": "",
    }

    def run(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from tallystick.cli import main; main()", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, input=input, capture_output=True, text=True, timeout=120
        )

    return run


CASES = {
    "csv": ("csv", []),
    "ocsf": ("ocsf", []),
    "ocsf-native": ("ocsf", ["--ocsf-version", "1.7.0", "--ocsf-view", "native"]),
    "langfuse": ("langfuse-jsonl", []),
}


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("case", CASES)
def test_a_file_and_its_proof(run: Run, tmp_path: Path, case: str) -> None:
    """What is handed to an auditor could not be checked by him, or an edited one would pass."""
    format, options = CASES[case]
    done = run("export", "-o", "log", "--format", format, *options, *FILTERS)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.proof.jsonl"]
    proven = run("verify", "log")
    assert (proven.returncode, verdict(proven)) == (0, "PROVEN"), proven.stdout
    assert "50 events in full: unchanged, and the file says of each what was sealed" in proven.stdout
    assert run("verify", "log.proof.jsonl").stdout == proven.stdout, "either of the two names both"
    (tmp_path / "log").write_bytes((tmp_path / "log").read_bytes().replace(b"export.me", b"export.us", 1))
    refuted = run("verify", "log")
    assert (refuted.returncode, verdict(refuted)) == (1, "VIOLATED")
    (tmp_path / "log.proof.jsonl").rename(tmp_path / "elsewhere")
    alone = run("verify", "log", "--proof", "elsewhere")
    assert (alone.returncode, verdict(alone)) == (1, "VIOLATED")


def test_parquet_has_its_proof_in_it(run: Run, tmp_path: Path) -> None:
    """A file for a notebook would need a second one to be checked, or an edited value would pass."""
    done = run("export", "-o", "log.parquet", "--format", "parquet", *FILTERS)
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (0, ["log.parquet"]), done.stderr
    proven = run("verify", "log.parquet")
    assert (proven.returncode, verdict(proven)) == (0, "PROVEN"), proven.stdout
    assert "50 events in full: unchanged, and the file says of each what was sealed" in proven.stdout
    whole = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(whole[:2000] + b"\0" + whole[2001:])
    assert run("verify", "log.parquet").returncode == 2


def test_a_rendering_without_its_proof(run: Run, tmp_path: Path) -> None:
    """A CSV or OCSF file alone would be called proven, or nobody would be told what is missing."""
    for format in ("csv", "ocsf"):
        (tmp_path / format).write_text(run("export", "--format", format, *FILTERS).stdout)
        done = run("verify", format)
        assert (done.returncode, verdict(done)) == (2, "UNCHECKED")
        assert "--proof" in done.stdout


def test_one_archive(run: Run, tmp_path: Path) -> None:
    """One file to hand on would have to be unpacked before it can be checked, or a broken one would pass."""
    assert run("export", "-o", "log.zip", "--format", "csv", *FILTERS).returncode == 0
    with zipfile.ZipFile(tmp_path / "log.zip") as archive:
        assert archive.namelist() == ["tallystick.csv", "tallystick.csv.proof.jsonl"]
        file, proof = (archive.read(name) for name in archive.namelist())
    proven = run("verify", "log.zip")
    assert (proven.returncode, verdict(proven)) == (0, "PROVEN"), proven.stdout
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("tallystick.csv", file.replace(b"export.me", b"export.us", 1))
        archive.writestr("tallystick.csv.proof.jsonl", proof)
    assert run("verify", "log.zip").returncode == 1
    whole = (tmp_path / "log.zip").read_bytes()
    at = whole.index(b"export.us")
    (tmp_path / "broken.zip").write_bytes(whole[:at] + b"E" + whole[at + 1 :])
    broken = run("verify", "broken.zip")
    assert (broken.returncode, verdict(broken)) == (2, "UNCHECKED"), broken.stderr
