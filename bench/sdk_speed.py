"""What does recording cost an application?

    python -m bench.sdk_speed

`record()` in each profile, alone and from many threads; one fsync of the same disk; a request through the ASGI
middleware; 1,000 changed rows through SQLAlchemy; the import. Nothing is sent: the server is not what is measured.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

import tallystick
from tallystick.sqlalchemy import AuditOptions, Outbox, instrument

ADA = tallystick.User("usr_1", name="Ada", email="ada@acme.com", role="admin")
KEY = tallystick.Target("api_key", "key_9", name="ci")


class Base(DeclarativeBase):
    """The application's tables."""


class Row(Base):
    """What is changed a thousand times."""

    __tablename__ = "row"
    __audit__ = AuditOptions()

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    amount: Mapped[int]


def timed(call: Callable[[], object], number: int) -> list[float]:
    """Return the microseconds of each of `number` calls, sorted."""
    taken: list[float] = []
    for _ in range(number):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


def made(folder: Path, profile: Any) -> tallystick.Audit:
    """Return an Audit without a server, so that only recording is measured."""
    return tallystick.Audit(
        profile=profile, spool=folder / profile, exit_seconds=0.0, api_key="k", spool_bytes_max=2**32
    )


def record(audit: tallystick.Audit) -> None:
    """Record an ordinary event."""
    audit.record(
        "api_key.create",
        actor=ADA,
        target=KEY,
        workspace="prj_9",
        after={"scopes": ["read"]},
        metadata={"via": "ui"},
    )


def fsync(folder: Path) -> float:
    """Return the median microseconds of writing and syncing as much as one event takes."""
    descriptor = os.open(folder / "probe", os.O_RDWR | os.O_CREAT)
    at = 0

    def once() -> None:
        nonlocal at
        os.pwrite(descriptor, b"x" * 4120, at)
        os.fdatasync(descriptor)
        at += 4120

    taken = timed(once, 300)
    os.close(descriptor)
    return taken[150]


def together(audit: tallystick.Audit, threads: int, seconds: float) -> float:
    """Return the events a second that so many threads record together."""
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def work(me: int) -> None:
        while time.perf_counter() < end:
            record(audit)
            counts[me] += 1

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / seconds


async def requests(folder: Path) -> dict[str, float]:
    """Return the median microseconds of a request: bare, with the context bound, and recorded by itself."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from tallystick.asgi import AuditMiddleware

    async def endpoint(request: Request) -> Response:
        return Response(b"ok")

    bare = Starlette(routes=[Route("/datasets/{dataset_id}", endpoint, methods=["GET", "POST"])])
    audit = made(folder, "fast")
    audited = AuditMiddleware(bare, audit=audit, auto="mutations", resolve_actor=lambda scope: ADA)
    taken: dict[str, list[float]] = {"bare": [], "bound": [], "recorded": []}

    async def call(app: Any, method: str) -> float:
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": "/datasets/ds_1", "raw_path": b"/datasets/ds_1",
            "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "server": ("x", 80), "scheme": "http",
            "headers": [(b"host", b"x"), (b"user-agent", b"bench"), (b"x-request-id", b"r-1"), (b"accept", b"*/*")],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            pass

        began = time.perf_counter()
        await app(scope, receive, send)
        return (time.perf_counter() - began) * 1e6

    for _ in range(3_000):
        taken["bare"].append(await call(bare, "GET"))
        taken["bound"].append(await call(audited, "GET"))
        taken["recorded"].append(await call(audited, "POST"))
    return {name: median(found) for name, found in taken.items()}


def changes(folder: Path) -> tuple[float, float]:
    """Return the milliseconds of 1,000 changed rows in one transaction: without and with capture."""
    outbox = Outbox(Base.metadata)
    engine = create_engine(f"sqlite:///{folder}/app.db")
    Base.metadata.create_all(engine)
    plain, watched = sessionmaker(engine), sessionmaker(engine)
    audit = made(folder, "fast")
    instrument(watched, outbox, audit)
    with plain() as session:
        session.add_all([Row(name=f"r{n}", amount=0) for n in range(1_000)])
        session.commit()
    best: list[float] = []
    for maker in (plain, watched):
        taken: list[float] = []
        for round in range(5):
            with audit.context(actor=ADA), maker() as session:
                rows = session.query(Row).all()
                began = time.perf_counter()
                for row in rows:
                    row.amount += round + 1
                session.commit()
                taken.append((time.perf_counter() - began) * 1e3)
        best.append(min(taken))
    return best[0], best[1]


def import_ms(code: str) -> float:
    """Return the milliseconds of CPU that an import takes beyond starting Python."""

    def cpu(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return (min(cpu(code) for _ in range(7)) - min(cpu("pass") for _ in range(7))) * 1e3


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows: list[tuple[str, str, str]] = []
        for profile, goal in (("memory", ""), ("fast", "≤ 25 µs"), ("durable", "≤ 1.3 fsync")):
            audit = made(folder, profile)
            for _ in range(200):
                record(audit)
            taken = timed(lambda audit=audit: record(audit), 400 if profile == "durable" else 5_000)
            middle = taken[len(taken) // 2]
            figure = f"{middle:.1f} µs, p99 {taken[int(len(taken) * 0.99)]:.0f} µs"
            if profile == "durable":
                once = fsync(folder)
                figure += f" = {middle / once:.2f} × one fsync ({once:.0f} µs)"
            rows.append((f"record(), {profile}, p50", figure, goal))
            if profile == "durable":
                rows.append(("the same, 32 threads", f"{together(audit, 32, 3.0):,.0f} /s", "≥ 5,000/s"))
        taken = asyncio.run(requests(folder))
        bare = taken["bare"]
        rows.append(
            ("ASGI request, context bound", f"+ {taken['bound'] - bare:.1f} µs on {bare:.1f}", "≤ 60 µs")
        )
        rows.append(("the same, recorded (fast)", f"+ {taken['recorded'] - bare:.1f} µs", ""))
        plain, watched = changes(folder)
        rows.append(("1,000 ORM updates, SQLite", f"{plain:.0f} → {watched:.0f} ms", ""))
        rows.append(("import tallystick", f"{import_ms('import tallystick'):.0f} ms", "≤ 60 ms"))
        rows.append(
            ("the same, Audit used", f"{import_ms('import tallystick; tallystick.Audit'):.0f} ms", "")
        )
    for what, figure, goal in rows:
        print(f"{what:32} {figure:48} {goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
