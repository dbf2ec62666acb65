"""The fault harness: two servers on one database under load, one fault after another, and then the judge.

Each fault waits until both servers have acknowledged something after the one before it, so that every fault meets
a system at work. How long that takes is the time to recover.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import server as servers
from reliability.database import Database
from reliability.load import Ledger, LiveReader, Reader, Writer
from reliability.verdict import Verdict, judge
from tallystick.store.connect import Logins

WRITERS = 10
READERS = 2
LIVE_READERS = 1
RECOVERY_SECONDS_MAX = 60.0
FAULTS = (
    "kill server A",
    "kill server B",
    "end a database connection",
    "kill a database backend",
    "kill the postmaster",
    "cut the power",
)


@dataclass
class Outcome:
    """How often each fault was made and how long it took until both servers acknowledged again."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    ledger: Ledger = field(default_factory=Ledger)
    lasted_seconds: float = 0.0

    @property
    def faults(self) -> int:
        """How many faults were made."""
        return sum(len(times) for times in self.seconds.values())

    @property
    def holds(self) -> bool:
        """Whether everything held and the servers came back after every fault."""
        return self.verdict.holds

    def table(self) -> str:
        """Return the table for people, in Markdown."""
        lines = [
            "| fault | times | until both servers acknowledge again, median / worst |",
            "|---|---:|---:|",
        ]
        for name, times in sorted(self.seconds.items()):
            ordered = sorted(times)
            lines.append(
                f"| {name} | {len(times)} | {ordered[len(ordered) // 2]:.1f} s / {ordered[-1]:.1f} s |"
            )
        verdict, ledger = self.verdict, self.ledger
        lines += [
            f"| **together** | **{self.faults}** | {self.lasted_seconds:.0f} s of load |",
            "",
            "| after all of them | |",
            "|---|---:|",
            f"| events acknowledged | {verdict.acknowledged:,} |",
            f"| sent again because an answer was lost or was a 503 | {ledger.repeats:,} calls |",
            f"| acknowledged events lost | {verdict.lost} |",
            f"| duplicates | {verdict.duplicates} |",
            f"| gaps | {verdict.gaps} |",
            f"| receipts that do not verify against the final log | {verdict.bad_receipts} |",
            f"| readers that missed or repeated a position | {verdict.reader_errors} |",
            f"| the whole log verifies | {'yes' if verdict.holds else 'NO'} |",
        ]
        return "\n".join(lines) + "\n"


@dataclass
class _Slot:
    """One of the two servers: its port never changes, whoever serves there."""

    port: int
    running: servers.Server | None = None
    restarts: int = 0


class Harness:
    """Everything that runs: a database, two servers that share one data folder, and their clients."""

    def __init__(
        self, folder: Path, *, seed: int, program: Sequence[str] = servers.PROGRAM, say: Callable[[str], None]
    ) -> None:
        self.chance = random.Random(seed)
        self.data = folder / "data"
        self.database = Database(folder / "database", say=lambda sentence: None)
        self.slots = [_Slot(free_port()), _Slot(free_port())]
        self.stopping = asyncio.Event()
        self.outcome = Outcome()
        self._program = program
        self._say = say
        self._logins: Logins | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.readers: list[Reader] = []

    @property
    def ledger(self) -> Ledger:
        """What was sent and what was answered."""
        return self.outcome.ledger

    @property
    def urls(self) -> list[str]:
        """Where the two servers answer."""
        return [f"http://127.0.0.1:{slot.port}" for slot in self.slots]

    async def start(self) -> None:
        """Start the database and then the servers, one after the other: the first one makes the keys."""
        self._logins = await self.database.begin()
        for slot in self.slots:
            await self._start(slot)

    async def _start(self, slot: _Slot) -> None:
        assert self._logins is not None
        environment = {
            "TALLYSTICK_DATABASE_WRITER_URL": self._logins.writer.url,
            "TALLYSTICK_DATABASE_READER_URL": self._logins.reader.url,
            "TALLYSTICK_DATABASE_KEEPER_URL": self._logins.keeper.url,
            "TALLYSTICK_ALLOW_UNSAFE_DATABASE": "false",
        }
        slot.running = await asyncio.to_thread(
            servers.start,
            self.data,
            database=self._logins.owner,
            environment=environment,
            program=self._program,
            port=slot.port,
        )

    def load(self) -> None:
        """Set the writers and readers going."""
        running = self.slots[0].running
        assert running is not None
        for number in range(WRITERS):
            chance = random.Random(self.chance.random())
            writer = Writer(number, self.urls, running.write_key, self.ledger, chance, self.stopping)
            self._tasks.append(asyncio.create_task(writer.run()))
        kinds = [Reader] * READERS + [LiveReader] * LIVE_READERS
        for kind in kinds:
            chance = random.Random(self.chance.random())
            reader = kind(self.urls, running.admin_key, self.ledger, chance, self.stopping)
            self.readers.append(reader)
            self._tasks.append(asyncio.create_task(reader.run()))

    async def fault(self, name: str) -> None:
        """Make one fault and wait until both servers acknowledge again, or until something is found broken.

        Raises TimeoutError when they do not come back.
        """
        began = time.monotonic()
        match name:
            case "kill server A" | "kill server B":
                await self._kill_server(self.slots[name.endswith("B")])
                made = True
            case "end a database connection":
                made = await self.database.terminate_backend(self.chance)
            case "kill a database backend":
                made = await self.database.kill_backend(self.chance)
            case "kill the postmaster":
                made = await self.database.kill_postmaster()
            case "cut the power":
                made = await self.database.cut_power()
            case _:
                raise ValueError(f"there is no fault {name!r}")
        if not made:
            return
        recovered = asyncio.create_task(self._recovered())
        broken = asyncio.create_task(self.ledger.broken.wait())
        await asyncio.wait({recovered, broken}, return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not recovered.done():
            recovered.cancel()
            return
        await recovered
        took = time.monotonic() - began
        self.outcome.seconds.setdefault(name, []).append(took)
        self._say(
            f"{self.outcome.faults:3}  {name:28} {took:5.1f} s  {len(self.ledger.acknowledged):7,} acknowledged"
        )

    async def _recovered(self) -> None:
        async with asyncio.timeout(RECOVERY_SECONDS_MAX):
            await self.database.answers()
            await self._both_acknowledge()

    async def _kill_server(self, slot: _Slot) -> None:
        assert slot.running is not None
        slot.running.kill()
        slot.restarts += 1
        await self._start(slot)

    async def _both_acknowledge(self) -> None:
        """Wait until each server has acknowledged an event that was sent after this call."""
        running = self.slots[0].running
        assert running is not None
        for url in self.urls:
            await self._acknowledges(url, running.write_key)

    async def _acknowledges(self, url: str, key: str) -> None:
        one = Writer(WRITERS, [url], key, self.ledger, random.Random(self.chance.random()), self.stopping)
        async with one.client() as client:
            await one.write(client, 1)

    async def finish(self) -> None:
        """Stop the load once everything is acknowledged, let the readers catch up, and judge."""
        self.stopping.set()
        async with asyncio.timeout(RECOVERY_SECONDS_MAX):
            await asyncio.gather(*self._tasks)
            running = self.slots[0].running
            assert running is not None
            size = await asyncio.to_thread(running.size)
            for reader in self.readers:
                await reader.read_up_to(size)

    async def judge(self) -> Verdict:
        """Judge the log as it is now."""
        running = self.slots[0].running
        assert running is not None
        await self.database.answers()
        verdict = await judge(
            self.database.dsn, running.organization_id, running.verifier, self.ledger, self.readers
        )
        self.outcome.verdict = verdict
        return verdict

    async def stop(self) -> None:
        """Stop everything."""
        self.stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self.slots:
            if slot.running is not None:
                await asyncio.to_thread(slot.running.kill)
        await self.database.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program_of(mutant: str | None) -> Sequence[str]:
    """Return how to start a server: the product, or one of the mutants."""
    if mutant is None:
        return servers.PROGRAM
    return (sys.executable, str(Path(__file__).with_name("mutants.py")), mutant)


@asynccontextmanager
async def harness(
    *, seed: int, mutant: str | None = None, say: Callable[[str], None]
) -> AsyncIterator[Harness]:
    """Run a harness in a folder of its own, under load."""
    folder = servers.server_folder()
    made = Harness(folder, seed=seed, program=program_of(mutant), say=say)
    try:
        await made.start()
        made.load()
        yield made
    finally:
        await made.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def run(
    faults: int,
    *,
    seed: int,
    kinds: Sequence[str] = FAULTS,
    mutant: str | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Make so many faults, kinds in turn and in random order, and return the outcome with its verdict."""
    began = time.monotonic()
    async with harness(seed=seed, mutant=mutant, say=say) as made:
        outcome = made.outcome
        try:
            while outcome.faults < faults and not made.ledger.broken.is_set():
                for kind in made.chance.sample(kinds, len(kinds))[: faults - outcome.faults]:
                    await asyncio.sleep(made.chance.random() * 0.5)
                    if not made.ledger.broken.is_set():
                        await made.fault(kind)
            if not made.ledger.broken.is_set():
                await made.finish()
        except AssertionError as error:
            made.ledger.violate(f"a server did not start again: {error}")
        except TimeoutError:
            outcome.stuck = (
                f"no recovery within {RECOVERY_SECONDS_MAX:.0f} s after fault {outcome.faults + 1}"
            )
            made.ledger.violate(outcome.stuck)
        outcome.lasted_seconds = time.monotonic() - began
        await made.judge()
        return outcome
