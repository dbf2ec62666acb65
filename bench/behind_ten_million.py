"""Is appending behind many rows as fast as into an empty log? Both in one run, turn by turn, on one PostgreSQL.

Run: python -m bench.behind_ten_million [--folder DIR] [--rows 1000000] [--events 20000] [--rounds 5]
With --rows 10000000 and the folder of `search_http` it does what its name says; the log that grows is its largest. Everything is durable.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from bench.append_cost import BATCH, BATCH_CALLERS, append_all, bodies_of_today, prepared
from bench.search_http import cpu_ms, family
from bench.search_log import DATABASE, LARGEST, kept_in, load, server
from bench.search_tree import INSTANCE, sign
from tallystick.services.append import Appender
from tallystick.services.sign import Signer
from tallystick.store import migrate
from tallystick.store.connect import Dsn, Logins, connect, open_pool

EMPTY = "empty_log"


class Round(NamedTuple):
    """One turn: events a second by the clock, and the database's processor time an event in microseconds."""

    rate: float
    cpu_us: float


async def append(
    logins: Logins, signer: Signer, log: UUID, events: int, seed: int, pids: Callable[[], list[int]]
) -> Round:
    """Append so many new events in batches and return how fast that was."""
    pool = await open_pool(logins.writer, role="writer", size_max=8)
    appender = Appender(pool, signer, now=lambda: datetime.now(UTC), random=os.urandom)
    await appender.start()
    ready = prepared(bodies_of_today(events + BATCH, seed=seed))
    batches = [ready[at : at + BATCH] for at in range(0, events + BATCH, BATCH)]
    await append_all(appender, log, batches[:1], 1, receipts=False)  # the log's state is read, plans are made
    gc.collect()
    before, started = cpu_ms(pids()), time.perf_counter()
    await append_all(appender, log, batches[1:], BATCH_CALLERS, receipts=True)
    seconds = time.perf_counter() - started
    used = cpu_ms(pids()) - before
    await appender.stop()
    await pool.close()
    return Round(events / seconds, used / events * 1000)


async def measure(logins: Logins, superuser: Dsn, folder: Path, events: int, rounds: int, pid: int) -> None:
    """Append turn by turn and print the table."""
    names = (logins.owner, logins.writer, logins.reader, logins.keeper)
    owner, writer, reader, keeper = (dsn.with_database(EMPTY) for dsn in names)
    empty = Logins(owner=owner, writer=writer, reader=reader, keeper=keeper)
    admin = await connect(superuser)
    await admin.execute(f"DROP DATABASE IF EXISTS {EMPTY} WITH (FORCE)")
    await migrate.make_database(superuser, empty)
    await migrate.migrate(empty.owner, migrate.read_plan(), say=lambda _: None)
    other = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    signers = [Signer.open(data, instance=INSTANCE, random=os.urandom) for data in (folder, other)]
    found: dict[str, list[Round]] = {DATABASE: [], EMPTY: []}
    seed = int(time.time())  # ids of another run are in the log already
    for number in range(rounds):
        for name, where, signer, log in (
            (DATABASE, logins, signers[0], LARGEST),
            (EMPTY, empty, signers[1], uuid4()),
        ):
            found[name].append(
                await append(where, signer, log, events, seed + 1000 * number, lambda: family(pid))
            )
    await admin.execute(f"DROP DATABASE {EMPTY} WITH (FORCE)")
    await admin.close()
    shutil.rmtree(other, ignore_errors=True)
    behind, into = found[DATABASE], found[EMPTY]
    print("| batches of 1,000, 4 callers | events/s | database µs an event |\n|---|--:|--:|")
    for label, turns in (("into an empty log", into), ("behind the loaded rows", behind)):
        rates, costs = [turn.rate for turn in turns], [turn.cpu_us for turn in turns]
        print(
            f"| {label} | {statistics.median(rates):,.0f} (best {max(rates):,.0f}) | {statistics.median(costs):.1f} |"
        )
    ratios = [one.rate / two.rate for one, two in zip(behind, into, strict=True)]
    costs = [two.cpu_us / one.cpu_us for one, two in zip(behind, into, strict=True)]
    print(
        f"ratio of the rates, round by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; "
        f"median {statistics.median(ratios):.2f}; of processor time {statistics.median(costs):.2f}; goal ≥ 0.8"
    )


def main(arguments: list[str]) -> int:
    """Load if need be, append and print; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)

    async def run(folder: Path) -> None:
        with server(folder, print) as (logins, superuser):
            await load(logins, superuser, asked.rows, print)
            await sign(superuser, folder, print)
        with server(folder, print, durable=True) as (logins, superuser):
            pid = int((folder / "postgres/cluster/postmaster.pid").read_text().split()[0])
            await measure(logins, superuser, folder, asked.events, asked.rounds, pid)

    with kept_in(asked.folder) as folder:
        asyncio.run(run(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
