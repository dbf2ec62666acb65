"""A bounded load on loopback: pre-built requests over keep-alive connections, as light as Python allows.

Run as `python -m bench.load` with a plan as JSON on standard input; prints the figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Figures:
    """What one load measured: seconds in all, latencies in milliseconds, answers by status."""

    seconds: float
    requests: int
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]


class _Connection(asyncio.Protocol):
    """Sends one request, waits for its answer, sends the next."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        lower = self._buffer[:head_end].lower()
        at = lower.index(b"content-length:") + 15
        length = int(lower[at : (lower.find(b"\r\n", at) if lower.find(b"\r\n", at) > 0 else head_end)])
        if len(self._buffer) < head_end + 4 + length:
            return
        self._load.answered(self._buffer[9:12].decode(), time.perf_counter() - self._sent_at)
        self._buffer = self._buffer[head_end + 4 + length :]
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.closed()


class _Load:
    def __init__(self, requests: list[bytes], connections: int) -> None:
        self._requests = iter(requests)
        self._open = connections
        self.latencies: list[float] = []
        self.statuses: dict[str, int] = {}
        self.done = asyncio.Event()

    def next_request(self) -> bytes | None:
        return next(self._requests, None)

    def answered(self, status: str, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(seconds)

    def closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.done.set()


def http_request(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Build the bytes of a POST."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("load goes to loopback only")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n{lines}"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _run(url: str, requests: list[bytes], connections: int) -> Figures:
    parts = urlsplit(url)
    load = _Load(requests, connections)
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(load), parts.hostname, parts.port)
    async with asyncio.timeout(600):
        await load.done.wait()
    seconds = time.perf_counter() - started
    ordered = sorted(load.latencies)
    return Figures(
        seconds=seconds,
        requests=len(ordered),
        p50_ms=ordered[len(ordered) // 2] * 1000,
        p99_ms=ordered[int(len(ordered) * 0.99)] * 1000,
        statuses=load.statuses,
    )


def run(url: str, bodies: list[bytes], *, connections: int, headers: dict[str, str], folder: Path) -> Figures:
    """Post `bodies` to `url` from a process of its own and return what it measured."""
    plan = folder / "load.bin"
    requests = [http_request(url, body, headers) for body in bodies]
    with plan.open("wb") as out:
        for request in requests:
            out.write(len(request).to_bytes(4, "big") + request)
    command = [sys.executable, "-m", "bench.load", url, str(plan), str(connections)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    return Figures(**json.loads(finished.stdout))


def main() -> None:
    """Run the plan named on the command line."""
    import uvloop

    url, plan, connections = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    raw, requests, at = plan.read_bytes(), [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        requests.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    print(json.dumps(asdict(uvloop.run(_run(url, requests, connections)))))


if __name__ == "__main__":
    main()
