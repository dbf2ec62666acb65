"""MLflow's tracking server in an environment of its own, with our middleware in front, as a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "examples" / "mlflow" / "requirements.txt"
HOME = ROOT / ".venv-mlflow"  # survives the run; a change of the lock file makes it anew
PASSWORD = "correct-horse-battery"
READY_SECONDS = 120


def python() -> Path:
    """Return MLflow's interpreter, having made its environment if there is none of this lock file."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    HOME.mkdir(exist_ok=True)
    (HOME / ".gitignore").write_text("*\n")
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two workers of a test run come here at once
        made, env = HOME / ".made", HOME / "env"
        if not made.exists() or made.read_text() != wanted:
            made.unlink(missing_ok=True)
            shutil.rmtree(env, ignore_errors=True)
            uv = Path(sys.executable).with_name("uv")
            _run([uv, "venv", "--quiet", "--python", sys.executable, env])
            _run(
                [
                    uv,
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    env / "bin/python",
                    "--require-hashes",
                    "-r",
                    REQUIREMENTS,
                ]
            )
            made.write_text(wanted)
        return env / "bin" / "python"


def _run(command: list[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"MLflow's environment could not be made:\n{done.stderr}")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of MLflow's processes, their files in `folder`."""
    # Each request proves a password by PBKDF2, as slow as it is meant to be; MLflow can remember for a while.
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 300\nauth_cache_max_size = 10\n"
    )
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("TALLYSTICK_", "MLFLOW_", "PYTHON"))
    }
    return kept | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTHONWARNINGS": "ignore", "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD, "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-these-tests-" * 2,
        "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db", "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
        "TALLYSTICK_SPOOL": str(folder / "spool"), **more,
    }  # fmt: skip


@contextmanager
def mlflow_server(folder: Path, **more: str) -> Iterator[str]:
    """Run the server and give its address; when it has ended, everything it recorded has been sent."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    output = (folder / "mlflow.log").open("wb")
    process = subprocess.Popen(
        [python(), "-m", "uvicorn", "examples.mlflow.app:app", "--fd", str(listening.fileno()), "--no-access-log"],
        cwd=folder, env=environment(folder, **more), stdout=output, stderr=subprocess.STDOUT,
        pass_fds=[listening.fileno()],
    )  # fmt: skip
    try:
        _wait(url, process, folder)
        yield url
    finally:
        process.terminate()
        process.wait(60)
        listening.close()
        output.close()


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx2.get(f"{url}/health", timeout=READY_SECONDS).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"MLflow did not start:\n{(folder / 'mlflow.log').read_text()[-3000:]}")


def drive(url: str, folder: Path) -> str:
    """Have MLflow's own client do a team's work and return what it printed."""
    done = subprocess.run(
        [python(), "-m", "examples.mlflow.drive", url, PASSWORD],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{done.stdout}\n{done.stderr}\n{(folder / 'mlflow.log').read_text()[-3000:]}")
    return done.stdout
