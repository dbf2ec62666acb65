"""The searches of `search_speed` through the whole server: HTTP, key, search, rendering, JSON.

Run: python -m bench.search_http [--folder DIR] [--rows 1000000] [--repeats 60] [--only TEXT]
One caller on one connection first, each search for itself; then all of them shuffled over four connections, which is
what a first use of a statement on each of the server's connections costs. `cpu` is the processor time of the server
and of its database for one request.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench.search_log import kept_in, load, server
from bench.search_speed import COUNTS, FACETS, HISTOGRAMS, PAGES
from bench.search_tree import sign
from bench.server import tallystick

ROUNDS, CONNECTIONS = 3, 4
PATHS = {"count": "/v1/events:count", "histogram": "/v1/events:histogram", "facets": "/v1/events:facets"}


class Http:
    """One kept-alive connection that asks and waits, and reads no more of an answer than its length."""

    def __init__(self, url: str, key: str) -> None:
        self._address = urlsplit(url)
        self._head = f"Host: {self._address.netloc}\r\nX-API-Key: {key}\r\n\r\n"

    async def open(self) -> Http:
        """Connect."""
        self._in, self._out = await asyncio.open_connection(self._address.hostname, self._address.port)
        return self

    async def get(self, target: str) -> tuple[float, bytes]:
        """Ask; return the milliseconds until the whole answer was there, and its body."""
        started = time.perf_counter()
        self._out.write(f"GET {target} HTTP/1.1\r\n{self._head}".encode())
        head = (await self._in.readuntil(b"\r\n\r\n")).lower()
        at = head.index(b"content-length:") + 15
        body = await self._in.readexactly(int(head[at : head.index(b"\r\n", at)]))
        took = (time.perf_counter() - started) * 1000
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{target}: {head[:40]!r} {body[:300]!r}")
        return took, body


def targets(only: str) -> dict[str, str]:
    """Return what is asked for by name: pages, counts, histograms, facets."""
    found = {name: "/v1/events?" + urlencode({"q": text} if text else {}) for name, text in PAGES.items()}
    for what, names in (("count", COUNTS), ("histogram", HISTOGRAMS), ("facets", FACETS)):
        found |= {
            f"{what}: {name}": f"{PATHS[what]}?" + urlencode({"q": PAGES[name]} if PAGES[name] else {})
            for name in names
        }
    return {name: target for name, target in found.items() if only in name}


def family(pid: int) -> list[int]:
    """Return a process and everything it started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_ms(pids: list[int]) -> float:
    """Return the processor time all these used."""
    used = 0
    for pid in pids:
        try:
            used += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return used / 1e6


async def one_by_one(url: str, key: str, pid: int, repeats: int, only: str) -> None:
    """Measure each search alone; the better of three rounds, because others share the machine."""
    line = await Http(url, key).open()
    print("| over HTTP | p50 ms | p99 ms | cpu ms |\n|---|--:|--:|--:|")
    for name, target in targets(only).items():
        for _ in range(3):
            await line.get(target)
        rounds: list[tuple[float, float, float]] = []
        pids = family(pid)
        for _ in range(ROUNDS):
            before = cpu_ms(pids)
            times = sorted([(await line.get(target))[0] for _ in range(repeats)])
            used = (cpu_ms(pids) - before) / repeats
            rounds.append((times[len(times) // 2], times[int(len(times) * 0.99)], used))
        p50, p99, used = (min(values) for values in zip(*rounds, strict=True))
        print(f"| {name:40} | {p50:7.2f} | {p99:7.2f} | {used:7.2f} |", flush=True)


async def shuffled(url: str, key: str, repeats: int, only: str) -> None:
    """Measure all searches in any order over a few connections at once."""
    asked = [target for name, target in targets(only).items() if name in PAGES] * repeats
    random.Random(1).shuffle(asked)
    times: list[float] = []

    async def caller() -> None:
        line = await Http(url, key).open()
        while asked:
            times.append((await line.get(asked.pop()))[0])

    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
    times.sort()
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(
        f"shuffled over {CONNECTIONS} connections: p50 {p50:.2f} ms, p99 {p99:.2f} ms of {len(times)} pages"
    )


def main(arguments: list[str]) -> int:
    """Load if need be, start a server on the folder, and measure; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--only", default="")
    asked = parser.parse_args(arguments)
    with kept_in(asked.folder) as folder:
        _run(folder, asked.rows, asked.repeats, asked.only)
    return 0


def _run(folder: Path, rows: int, repeats: int, only: str) -> None:
    with server(folder, print) as (logins, superuser):

        async def prepare() -> None:
            await load(logins, superuser, rows, print)
            await sign(superuser, folder, print)

        asyncio.run(prepare())
    with tallystick(folder, data=folder) as ready:
        url, key, pid = ready["url"], ready["admin_key"], ready["pid"]
        asyncio.run(one_by_one(url, key, pid, repeats, only))
        asyncio.run(shuffled(url, key, max(1, repeats // 10), only))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
