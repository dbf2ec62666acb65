"""How long `make serve` takes in a fresh clone whose packages are cached, and how long a restart takes.

Goals: 30 seconds cold, 3 seconds again, until the first call is answered.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PROJECT = Path(__file__).resolve().parents[1]
GOALS = {"cold": 30.0, "again": 3.0}
PATIENCE_SECONDS = 300.0


def main() -> None:
    """Clone, serve twice, print."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-start-"))
    try:
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder / "clone")], check=True)
        print("| `make serve` | seconds until it answers | goal |\n|---|---:|---:|")
        for name, goal in GOALS.items():
            print(f"| {name} | {_served(folder / 'clone'):.1f} | ≤ {goal:.0f} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _served(clone: Path) -> float:
    """Start `make serve`, wait for its first answer, stop it in order, and return how long the answer took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TALLYSTICK_")}
    environment |= {"TALLYSTICK_PORT": str(port), "TALLYSTICK_HOST": "127.0.0.1"}
    started = time.monotonic()
    process = subprocess.Popen(
        ["make", "--silent", "serve"],
        cwd=clone,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - started > PATIENCE_SECONDS:
                raise SystemExit("make serve did not come up")
            time.sleep(0.05)
        return time.monotonic() - started
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    main()
