"""The outbox: an event is in the log if and only if its transaction was committed, whoever relays and whoever dies."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

import tallystick
from postgres import Database
from server import Server
from tallystick.errors import Misconfigured, TryLater
from tallystick.outbox import Lag, Outbox, Relay, shipping_of
from tallystick.outbox.relay import Pace, relay_until, settled
from tallystick.outbox.shipping import Outcome

from .fake import Fake, problem

ADA = tallystick.User("usr_1")
OUTBOX = Outbox()
TARGET = tallystick.Target("budget", "1")


@pytest.fixture
def dsn(empty_database: Database) -> str:
    with psycopg.connect(empty_database.superuser.url, autocommit=True) as connection:
        connection.execute(OUTBOX.create())
        connection.execute("CREATE TABLE budget (id int PRIMARY KEY, amount int)")
    return empty_database.superuser.url


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        yield made


@pytest.fixture
def audit(make_audit: Callable[..., tallystick.Audit], fake: Fake) -> tallystick.Audit:
    return make_audit(url=fake.url, profile="memory")


def write(connection: psycopg.Connection, audit: tallystick.Audit, n: int) -> str:
    connection.execute("INSERT INTO budget VALUES (%s, 0)", (n,))
    return OUTBOX.record(
        connection, audit, "budget.create", actor=ADA, target=tallystick.Target("budget", str(n)), after={"n": n}
    )  # fmt: skip


def fill(connection: psycopg.Connection, audit: tallystick.Audit, number: int) -> list[str]:
    with connection.transaction():
        return [write(connection, audit, n) for n in range(number)]


def drain(connection: psycopg.Connection, audit: tallystick.Audit) -> None:
    while settled(OUTBOX.round(connection, shipping_of(audit))):
        pass


def numbers(fake: Fake) -> list[int]:
    return [event["after"]["n"] for event in fake.stored.values()]


def test_psycopg(connection: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """Events must share the fate of their rows: committed, rolled back, rolled back to a savepoint."""
    with connection.transaction():
        write(connection, audit, 1)
        with connection.transaction():
            write(connection, audit, 2)
        with pytest.raises(ZeroDivisionError), connection.transaction():  # noqa: PT012
            write(connection, audit, 3)
            raise ZeroDivisionError
        with connection.cursor() as cursor:
            OUTBOX.record(cursor, audit, "budget.note", actor=ADA, target=TARGET, after={"n": 4})
    with pytest.raises(ZeroDivisionError), connection.transaction():  # noqa: PT012
        write(connection, audit, 5)
        raise ZeroDivisionError
    drain(connection, audit)
    assert numbers(fake) == [1, 2, 4]
    assert [row[0] for row in connection.execute("SELECT id FROM budget ORDER BY id")] == [1, 2]


def test_psycopg_without_autocommit(dsn: str, connection: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """Where the driver begins transactions by itself, its commit and its rollback must decide."""
    with psycopg.connect(dsn) as implicit:
        write(implicit, audit, 1)
        implicit.rollback()
        write(implicit, audit, 2)
        implicit.commit()
    drain(connection, audit)
    assert numbers(fake) == [2]


def test_an_event_on_its_own_is_refused(dsn: str, connection: Any, audit: tallystick.Audit) -> None:
    """In autocommit the event would be committed apart from its row; that must be said, and not done."""
    with pytest.raises(Misconfigured, match="no transaction"):
        OUTBOX.record(connection, audit, "budget.create", actor=ADA, target=TARGET)

    async def alone() -> None:
        bare = await asyncpg.connect(dsn)
        with pytest.raises(Misconfigured, match="no transaction"):
            await OUTBOX.record_soon(bare, audit, "budget.create", actor=ADA, target=TARGET)
        await bare.close()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
            with pytest.raises(Misconfigured, match="no transaction"):
                await OUTBOX.record_soon(other, audit, "budget.create", actor=ADA, target=TARGET)

    asyncio.run(alone())
    assert OUTBOX.lag(connection).waiting == 0


async def test_asyncpg(dsn: str, audit: tallystick.Audit, fake: Fake) -> None:
    """The same must hold for asyncpg: transaction, savepoint, pool, relay and lag."""

    async def put(connection: Any, n: int) -> None:
        await OUTBOX.record_soon(connection, audit, "budget.create", actor=ADA, target=TARGET, after={"n": n})

    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool, pool.acquire() as connection:
        async with connection.transaction():
            await put(connection, 1)
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                async with connection.transaction():
                    await put(connection, 2)
                    raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with connection.transaction():
                await put(connection, 3)
                raise ZeroDivisionError
        assert (await OUTBOX.lag_soon(connection)).waiting == 1
        stop = asyncio.Event()
        stop.set()
        pace = await relay_until(stop, lambda: OUTBOX.round_soon(connection, shipping_of(audit)))
        assert (await OUTBOX.lag_soon(connection)) == Lag(waiting=0, oldest_age_seconds=0.0, refused=0)
    assert (numbers(fake), pace.sent) == ([1], 1)


async def test_psycopg_async(dsn: str, audit: tallystick.Audit, fake: Fake) -> None:
    """The same must hold for psycopg's connections of an event loop."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        async with connection.transaction():
            await OUTBOX.record_soon(
                connection, audit, "budget.create", actor=ADA, target=TARGET, after={"n": 1}
            )
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with connection.transaction():
                await OUTBOX.record_soon(
                    connection, audit, "budget.create", actor=ADA, target=TARGET, after={"n": 2}
                )
                raise ZeroDivisionError
        assert (await OUTBOX.lag_soon(connection)).waiting == 1
        assert (await OUTBOX.round_soon(connection, shipping_of(audit))).moved == 1
        assert (await OUTBOX.lag_soon(connection)).waiting == 0
    assert numbers(fake) == [1]


def test_in_the_order_in_which_they_were_written(connection: Any, audit: Any, fake: Fake) -> None:
    """One relay must keep the order, over rounds, over large batches and over an outage in the middle."""
    fill(connection, audit, 1200)
    calls = iter([None, problem(503, "try_later"), None])
    fake.script = lambda events: next(calls, None)
    with pytest.raises(TryLater):
        drain(connection, audit)
    drain(connection, audit)
    assert numbers(fake) == list(range(1200))


class Faults:
    """A server and a database that fail at one place of a round, before or after they did what was asked."""

    def __init__(self, connection: Any, fake: Fake) -> None:
        self.pid = connection.info.backend_pid
        self.dsn = connection.info.dsn
        self.fake = fake

    def answer_is_lost(self, events: list[dict[str, Any]]) -> Any:
        for event in events:
            self.fake.stored.setdefault(event["id"], event)
        return 500, {}, b"gone"

    def refused_for_now(self, events: list[dict[str, Any]]) -> Any:
        return problem(503, "try_later")

    def database_dies(self, events: list[dict[str, Any]]) -> Any:
        self._kill()
        return None

    def both_die(self, events: list[dict[str, Any]]) -> Any:
        self._kill()
        return problem(503, "try_later")

    def _kill(self) -> None:
        password = self.fake.dsn  # type: ignore[attr-defined]
        with psycopg.connect(password, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (self.pid,))


@pytest.mark.parametrize("fault", ["answer_is_lost", "refused_for_now", "database_dies", "both_die"])
def test_faults_both_ways(fault: str, dsn: str, audit: tallystick.Audit, fake: Fake) -> None:
    """Whatever fails in a round, before it was done or after, every event must be in the log once."""
    fake.dsn = dsn  # type: ignore[attr-defined]
    with psycopg.connect(dsn, autocommit=True) as victim:
        ids = fill(victim, audit, 7)
        fake.script = getattr(Faults(victim, fake), fault)
        with pytest.raises((TryLater, psycopg.Error)):
            drain(victim, audit)
    fake.script = lambda events: None
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert OUTBOX.lag(connection).waiting == 7
        drain(connection, audit)
        assert OUTBOX.lag(connection).waiting == 0
    assert list(fake.stored) == ids


def test_a_commit_that_nobody_answered_for(dsn: str, audit: tallystick.Audit, fake: Fake) -> None:
    """When the deletion was committed and the answer lost, nothing must be sent twice or be left behind."""

    class Lossy:
        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def transaction(self) -> Any:
            real = self.real.transaction()

            class Lost:
                def __enter__(self) -> Any:
                    return real.__enter__()

                def __exit__(self, *raised: Any) -> None:
                    real.__exit__(*raised)
                    raise psycopg.OperationalError("the connection is gone")

            return Lost()

    with psycopg.connect(dsn, autocommit=True) as connection:
        fill(connection, audit, 3)
        with pytest.raises(psycopg.OperationalError):
            OUTBOX.round(Lossy(connection), shipping_of(audit))
        assert OUTBOX.lag(connection).waiting == 0
        drain(connection, audit)
    assert sum(len(events) for _, events in fake.calls) == 3


RELAY = """
import sys, psycopg
from tallystick.client.settings import settings
from tallystick.outbox import Outbox, shipping_of
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    print("ready", flush=True)
    Outbox().round(connection, shipping_of(settings(url=sys.argv[2], profile="memory")))
"""


def test_killed_between_sending_and_deleting(
    dsn: str, connection: Any, audit: tallystick.Audit, fake: Fake
) -> None:
    """A relay that dies after the server has committed must leave nothing locked, lost or doubled."""
    ids = fill(connection, audit, 5)
    killed: list[int] = []

    def stored_then_killed(events: list[dict[str, Any]]) -> Any:
        for event in events:
            fake.stored.setdefault(event["id"], event)
        killed.append(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        return 200, {}, b""

    fake.script = stored_then_killed
    process = subprocess.Popen([sys.executable, "-c", RELAY, dsn, fake.url], stdout=subprocess.PIPE)
    assert process.wait(60) == -signal.SIGKILL
    assert (len(killed), list(fake.stored)) == (1, ids)
    fake.script = lambda events: None
    connection.execute("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")  # fmt: skip
    assert OUTBOX.lag(connection).waiting == 5
    outcome = OUTBOX.round(connection, shipping_of(audit))
    assert (len(outcome.done), outcome.duplicates, list(fake.stored)) == (5, 5, ids)
    assert OUTBOX.lag(connection).waiting == 0


def test_several_relays(dsn: str, connection: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """Relays of many processes must neither wait for each other nor send anything twice."""
    fill(connection, audit, 600)
    holding = threading.Barrier(3, timeout=60)
    calls = itertools.count()

    def slow(events: list[dict[str, Any]]) -> None:
        if next(calls) < 3:
            holding.wait()  # three rounds at once, or this test fails

    fake.script = slow
    moved: list[int] = []

    def work() -> None:
        with psycopg.connect(dsn, autocommit=True) as mine:
            while number := OUTBOX.round(mine, shipping_of(audit), rows_max=40).moved:
                moved.append(number)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    sent = [event["id"] for _, events in fake.calls for event in events]
    assert (sum(moved), len(sent), len(set(sent))) == (600, 600, 600)


def test_dead_letters(connection: Any, audit: tallystick.Audit, fake: Fake, caplog: Any) -> None:
    """What the server will never take must stay, with the reason, and hold up nothing."""
    ids = fill(connection, audit, 5)
    connection.execute(
        "INSERT INTO audit_outbox (id, event) VALUES ('x', '\\x00'), ('y', '[1]'), ('z', '{}')"
    )

    def picky(events: list[dict[str, Any]]) -> Any:
        if any(event["id"] == ids[2] for event in events):
            return problem(400, "invalid_field", "no such action", "/0/action")
        return None

    fake.script = picky
    drain(connection, audit)
    lag = OUTBOX.lag(connection)
    assert (lag.waiting, lag.refused) == (0, 4)
    assert numbers(fake) == [0, 1, 3, 4]
    refused = dict(connection.execute("SELECT id, refused FROM audit_outbox").fetchall())
    assert refused[ids[2]] == "invalid_field: no such action"
    assert set(refused) == {ids[2], "x", "y", "z"}
    assert "dead letter" in caplog.text
    assert "tallystick_outbox_refused 4" in lag.prometheus()


def test_numbers_that_no_float_holds(connection: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """What a trigger wrote as a number of the database must arrive with all of its digits."""
    before = '{"a": 12345678901234567890.123, "b": 10.5, "c": 0.30000000000000004, "d": 123456789012345678901234567890, "e": 7}'
    event = f'{{"action": "row.update", "actor": {{"type": "system"}}, "before": {before}}}'
    row = "01890000-0000-7000-8000-000000000001"
    connection.execute("INSERT INTO audit_outbox (id, event) VALUES (%s, %s)", (row, event.encode()))
    drain(connection, audit)
    assert fake.stored[row]["before"] == {
        "a": "12345678901234567890.123", "b": 10.5, "c": 0.30000000000000004,
        "d": "123456789012345678901234567890", "e": 7,
    }  # fmt: skip


def test_a_relay_in_the_application(dsn: str, connection: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """The thread must go on after the database threw it out and the server was away, and empty the outbox at its end."""
    with Relay(lambda: psycopg.connect(dsn), OUTBOX, audit, pause_seconds=0.01) as relay:
        fake.script = lambda events: problem(503, "try_later")
        fill(connection, audit, 3)
        wait_for(lambda: "try_later" in relay.pace.trouble or "because" in relay.pace.trouble)
        connection.execute("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")  # fmt: skip
        fake.script = lambda events: None
        wait_for(lambda: OUTBOX.lag(connection).waiting == 0)
        with connection.transaction():
            write(connection, audit, 99)
    assert numbers(fake) == [0, 1, 2, 99]


def wait_for(condition: Callable[[], bool]) -> None:
    ticks = threading.Event()
    for _ in range(6000):
        if condition():
            return
        ticks.wait(0.01)
    pytest.fail("nothing happened within a minute")


def test_trouble_makes_a_relay_slower() -> None:
    """A relay must not hammer a server or a database that is down, and be quick again afterwards."""
    pace = Pace(0.5, chance=lambda: 1.0)
    pauses = [pace.after_error(OSError()) for _ in range(12)]
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert pauses[-1] == 60.0
    assert pace.after(Outcome(done=[1])) == 0.0
    assert (pace.after(Outcome()), pace.trouble) == (0.5, "")


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return subprocess.run(
        [sys.executable, "-c", "from tallystick.cli import main; main()", "outbox", *words], capture_output=True, text=True, timeout=120,
        env=clean | environment,
    )  # fmt: skip


def test_the_command(dsn: str, connection: Any, audit: Any, server: Server, search: Any) -> None:
    """From a shell: how much waits, sending it to a real server, dead letters sent again or given up and counted."""
    ids = fill(connection, audit, 3)
    connection.execute("INSERT INTO audit_outbox (id, event) VALUES ('x', 'no event')")
    about = {
        "TALLYSTICK_OUTBOX_DSN": dsn,
        "TALLYSTICK_URL": server.url,
        "TALLYSTICK_API_KEY": server.write_key,
    }
    assert json.loads(command("status", "--json", **about).stdout) | {"oldest_seconds": 0} == {
        "waiting": 4, "oldest_seconds": 0, "refused": 0,
    }  # fmt: skip
    sent = command("relay", "--once", **about)
    assert "3 events sent; 1 were refused" in sent.stdout, sent.stderr
    with server.client() as client:
        assert [client.get(f"/v1/events/{id}").status_code for id in ids] == [200, 200, 200]
    assert "1 refused" in command("status", **about).stdout
    assert "invalid_json" in command("dead-letters", **about).stdout
    assert "1 wait again" in command("dead-letters", "--retry", "x", **about).stdout
    assert command("relay", "--once", **about).returncode == 0
    assert "1 given up" in command("dead-letters", "--discard", "all", **about).stdout
    gap = connection.execute("SELECT id FROM audit_outbox").fetchall()
    assert command("relay", "--once", **about).returncode == 0
    with server.client() as client:
        told = client.get(f"/v1/events/{gap[0][0]}").json()
    assert (told["action"], told["metadata"]["lost"], told["metadata"]["reason"]) == (
        "audit.gap",
        1,
        "discarded",
    )


def test_the_command_says_what_is_wrong(dsn: str, connection: Any) -> None:
    """A missing table, a database that is away and a server that is none must end in a sentence and a code."""
    connection.execute("DROP TABLE audit_outbox")
    missing = command("status", "--dsn", dsn)
    assert (missing.returncode, "tallystick outbox table" in missing.stderr) == (4, True)
    away = command("status", "--dsn", "postgresql://127.0.0.1:1/x")
    assert (away.returncode, "does not answer" in away.stderr) == (5, True)
    connection.execute(command("table").stdout)
    nowhere = command("relay", "--once", "--dsn", dsn)
    assert (nowhere.returncode, "TALLYSTICK_URL" in nowhere.stderr) == (2, True)


def test_the_command_runs_until_it_is_stopped(dsn: str, connection: Any, audit: Any, fake: Fake) -> None:
    """As a service the relay must send what comes, and end cleanly when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from tallystick.cli import main; main()", "outbox", "relay", "--dsn", dsn, "--url", fake.url, "--pause", "0.05"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    fill(connection, audit, 2)
    wait_for(lambda: len(fake.stored) == 2 and OUTBOX.lag(connection).waiting == 0)
    process.terminate()
    assert process.communicate(timeout=60)[0] == "2 events sent.\n"
    assert process.returncode == 0


BARE = """
import sys
for name in ("sqlalchemy", "django", "asgiref", "psycopg", "asyncpg"):
    sys.modules[name] = None
import asyncio, importlib
from tallystick.errors import Misconfigured
from tallystick.outbox import Outbox, Relay, Statements, capture_table
from tallystick.outbox.dsn import lag
for wanted, what in (
    ("SQLAlchemy", lambda: importlib.import_module("tallystick.sqlalchemy")),
    ("Django", lambda: importlib.import_module("tallystick.django").AuditedModel),
    ("asyncpg", lambda: asyncio.run(lag("postgresql:///x", "audit_outbox"))),
):
    try:
        what()
    except Misconfigured as error:
        assert f"needs {wanted}" in str(error) and "pip install" in str(error), error
    else:
        raise AssertionError(wanted)
"""


def test_without_drivers_and_frameworks() -> None:
    """The plain wheel must bring the outbox without any of them, and say what is missing where one is needed."""
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
