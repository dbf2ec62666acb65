"""A server that misbehaves on demand, and remembers what it was sent."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
PROBLEM = {"Content-Type": "application/problem+json"}


def problem(status: int, rule: str, detail: str = "because", path: str = "") -> Answer:
    """Return an answer in the words of a Tallystick server."""
    return status, PROBLEM, json.dumps({"rule": rule, "detail": detail, "path": path}).encode()


class Fake:
    """`script` gets the events of a call and returns an answer, or None for the honest one."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.beats: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[tuple[float, list[dict[str, Any]]]] = []
        self.script: Callable[[list[dict[str, Any]]], Answer | None] = lambda events: None
        self.url = ""

    def answer(self, path: str, body: bytes) -> Answer:
        """Answer one call."""
        sent = json.loads(body)
        events = sent if isinstance(sent, list) else [sent]
        self.calls.append((time.monotonic(), events))
        scripted = self.script(events)
        if scripted is not None:
            return scripted
        results = []
        for event in events:
            status = "duplicate" if event["id"] in self.stored else "created"
            self.stored.setdefault(event["id"], event)
            results.append({"id": event["id"], "status": status, "position": len(self.stored)})
        if isinstance(sent, list):
            return (
                200,
                {"Content-Type": "application/json"},
                json.dumps({"results": results, "receipt": ""}).encode(),
            )
        made = {**results[0], "received_at": "2026-01-01T00:00:00Z", "receipt": "r"}
        return 201, {"Content-Type": "application/json"}, json.dumps(made).encode()


@contextmanager
def fake_server(port: int = 0) -> Iterator[Fake]:
    """Run a fake server."""
    fake = Fake()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status, headers, content = fake.answer(self.path, body)
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fake.beats.append((self.path, json.loads(body)))
            self.send_response_only(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
