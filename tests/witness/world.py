"""What the witness tests share: real witness processes, a policy over them, and a liar that speaks HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("tallystick"))
START_SECONDS = 60.0


@dataclass
class WitnessProcess:
    """A witness in a process of its own."""

    data: Path
    name: str
    log_key: str
    process: subprocess.Popen[bytes]
    url: str
    key: str

    def stop(self) -> None:
        """Stop it as an operator would."""
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        """Stop it as a power cut would."""
        self.process.kill()
        self.process.wait(30)


def start_witness(data: Path, name: str, log_key: str, *, port: int = 0) -> WitnessProcess:
    """Start a witness and wait until it answers."""
    data.mkdir(parents=True, exist_ok=True)
    ready = data / "ready.json"
    ready.unlink(missing_ok=True)
    command = [PROGRAM, "witness", "serve", "--data", str(data), "--name", name, "--log-key", log_key]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--ready-file", str(ready)],
        stdout=subprocess.DEVNULL, stderr=(data / "errors.txt").open("wb"),
    )  # fmt: skip
    end = time.monotonic() + START_SECONDS
    while not ready.exists():
        assert process.poll() is None, (data / "errors.txt").read_text()
        assert time.monotonic() < end, "the witness did not start"
        time.sleep(0.02)
    said = json.loads(ready.read_text())
    return WitnessProcess(data, name, log_key, process, said["url"], said["key"])


def policy_of(log_key: str, clock_key: str, witnesses: list[tuple[str, str, str]], needed: int) -> str:
    """Return a policy of witnesses (name, key, URL) of which `needed` must cosign."""
    lines = [f"log {log_key}", f"clock {clock_key}"]
    lines += [f"witness {name} {key} {url}".rstrip() for name, key, url in witnesses]
    lines += [f"group everyone {needed} {' '.join(one[0] for one in witnesses)}", "quorum everyone"]
    return "\n".join(lines) + "\n"


@contextmanager
def answering(answer: Callable[[bytes], tuple[int, str, bytes]]) -> Iterator[str]:
    """Give the address of an HTTP server that answers every POST with what `answer` makes of its body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, kind, content = answer(body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
