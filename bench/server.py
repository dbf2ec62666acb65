"""Servers for benchmarks: ours and the reference, each a process of its own on a database of the same cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from tallystick.store import embedded
from tallystick.store.connect import Dsn

TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def tallystick(folder: Path, data: Path | None = None) -> Iterator[dict[str, Any]]:
    """Run a server on a data folder, by default a fresh one within `folder`; yields what its ready file says."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-c",
        "from tallystick.cli import main; main()",
        "serve",
        "--data",
        str(data or folder / "data"),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TALLYSTICK_")}
    process = subprocess.Popen(
        [*command, "--port", "0", "--ready-file", str(ready)],
        stdout=subprocess.DEVNULL,
        stderr=None,
        env=environment,
    )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def reference(dsn: Dsn) -> Iterator[str]:
    """Run the reference service on a database; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host, database = host_of(dsn), dsn.database
    url = f"postgresql+asyncpg://{quote(dsn.user)}:{quote(dsn.password)}@/{database}?host={quote(host)}&port=5432"
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.reference_service", str(port)],
        env={**os.environ, "REFERENCE_DATABASE_URL": url},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the reference service did not start") from None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def host_of(dsn: Dsn) -> str:
    """Return the folder of the socket in an address."""
    from urllib.parse import parse_qs, urlsplit

    return parse_qs(urlsplit(dsn.url).query)["host"][0]


def psql(dsn: Dsn, *statements: str) -> str:
    """Run statements through psql, stopping at the first error."""
    from tallystick.store.cluster import programs_of_wheel

    command = [str(programs_of_wheel() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-At", dsn.url]
    for statement in statements:
        command += ["-c", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def superuser(data: Path) -> Dsn:
    """Return where the superuser of a running server's database signs in."""
    return embedded.running(data)


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_peak_mb(pid: int) -> float:
    """Return the largest resident size a process had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0
