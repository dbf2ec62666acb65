"""How long the server takes for the events page: table, count, histogram, suggestions and HTML, over HTTP.

Run: python -m bench.viewer_speed --folder DIR [--rows 4200000] [--repeats 60] [--only TEXT]
Of the rows 6 in 25 belong to the organization that is looked at, so that 4.2 million are a log of a million. `cpu` is
the processor time of the server and of its database for one page, which other work on the machine disturbs less.
Where counting takes longer than compose.SOON_SECONDS, chart and count come after the page, in a request of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from bench.search_http import cpu_ms, family
from bench.search_log import DATABASE, LARGEST, load, server
from bench.search_tree import sign
from bench.server import tallystick
from tallystick.store.connect import Dsn, connect

ROUNDS = 3
TOKEN = "tss_" + "b" * 43
PARTS = {
    "page": "",
    "results": "HX-Request: true\r\nHX-Target: section#results\r\n",
    "drawer": "HX-Request: true\r\nHX-Target: aside#drawer\r\n",
}
PAGES: dict[str, tuple[str, str]] = {
    "first view: everything": ("page", "/events?view=all"),
    "all but reads": ("page", "/events?q=-type:read&view=changes"),
    "last 30 days": ("page", "/events?range=30d"),
    "failed or denied": ("page", "/events?outcome=denied&outcome=failure&view=failed"),
    "an action, typed": ("results", "/events?action=budget"),
    "a user, typed": ("results", "/events?user=hopper"),
    "a user nobody is": ("results", "/events?user=zzzzqq"),
    "250 rows": ("page", "/events?view=all&limit=250"),
    "an event opened": ("drawer", "/events?view=all&event="),
}


async def let_in(superuser: Dsn) -> None:
    """Make a member of the organization with a session, as signing in does."""
    connection = await connect(superuser.with_database(DATABASE))
    at = datetime.now(UTC)
    await connection.execute(
        "INSERT INTO members (organization_id, id, email, display_name, role) VALUES ($1, 'mbr_bench', 'bench@example.com', 'Bench', 'OWNER')"
        " ON CONFLICT DO NOTHING", LARGEST,
    )  # fmt: skip
    await connection.execute("DELETE FROM sessions WHERE id = 'ses_bench'")
    await connection.execute(
        "INSERT INTO sessions (organization_id, id, sha256, member_id, method, access_version, last_seen_at, expires_at)"
        " VALUES ($1, 'ses_bench', $2, 'mbr_bench', 'password', 0, $3::timestamptz, $3::timestamptz + interval '12 hours')",
        LARGEST, hashlib.sha256(TOKEN.encode()).digest(), at,
    )  # fmt: skip
    await connection.close()


class Visitor:
    """One kept-alive connection with a session, asking for pages as a browser does."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._head = (
            f"Host: {self._address.netloc}\r\nCookie: tallystick={TOKEN}\r\nAccept-Encoding: gzip\r\n"
        )

    async def get(self, part: str, path: str) -> tuple[float, int, str]:
        """Ask; return the milliseconds until the whole answer was there, its bytes, and its head."""
        if not hasattr(self, "_in"):
            self._in, self._out = await asyncio.open_connection(self._address.hostname, self._address.port)
        started = time.perf_counter()
        self._out.write(f"GET {path} HTTP/1.1\r\n{self._head}{PARTS[part]}\r\n".encode())
        head = (await self._in.readuntil(b"\r\n\r\n")).decode("latin-1")
        size = int(head.lower().partition("content-length:")[2].partition("\r\n")[0])
        await self._in.readexactly(size)
        if not head.startswith("HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {head[:200]}")
        return (time.perf_counter() - started) * 1000, size, head


async def measure(url: str, pid: int, event_id: str, repeats: int, only: str) -> None:
    """Print a row for each page; the best of three rounds, because others share the machine."""
    visitor, pids = Visitor(url), family(pid)
    print("| page | p50 ms | p95 ms | cpu ms | KB |\n|---|--:|--:|--:|--:|")
    for name, (part, path) in PAGES.items():
        if only not in name:
            continue
        target = path + event_id if path.endswith("event=") else path
        for _ in range(5):
            await visitor.get(part, target)
        rounds = []
        for _ in range(ROUNDS):
            before = cpu_ms(pids)
            answers = [await visitor.get(part, target) for _ in range(repeats)]
            times = sorted(took for took, _, _ in answers)
            rounds.append(
                (times[len(times) // 2], times[int(len(times) * 0.95)], (cpu_ms(pids) - before) / repeats)
            )
        p50, p95, cpu = (min(values) for values in zip(*rounds, strict=True))
        print(
            f"| {name:28} | {p50:7.1f} | {p95:7.1f} | {cpu:7.1f} | {answers[0][1] / 1024:5.1f} |", flush=True
        )


async def newest(superuser: Dsn) -> str:
    """Return the id of the newest event."""
    connection = await connect(superuser.with_database(DATABASE))
    found = await connection.fetchval(
        "SELECT id FROM audit_logs WHERE organization_id = $1 ORDER BY received_at DESC LIMIT 1", LARGEST
    )
    await connection.close()
    return str(found)


def main(arguments: list[str]) -> int:
    """Load if need be, start a server on the folder, and measure; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_200_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--only", default="")
    asked = parser.parse_args(arguments)
    with server(asked.folder, print) as (logins, superuser):

        async def prepare() -> str:
            await load(logins, superuser, asked.rows, print)
            await sign(superuser, asked.folder, print)
            await let_in(superuser)
            return await newest(superuser)

        event_id = asyncio.run(prepare())
    with tallystick(asked.folder, data=asked.folder) as ready:
        asyncio.run(measure(ready["url"], ready["pid"], event_id, asked.repeats, asked.only))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
