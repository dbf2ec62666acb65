"""What is done beside the log: in its time, once, never silently; and a stamp that is not the authority's is not kept."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from services.appending import LOG, Clock, LogUnderTest, event
from tallystick.errors import NotFound, Refused
from tallystick.services.instance_log import InstanceLog
from tallystick.services.outside_health import START_SECONDS, OutsideHealth
from tallystick.services.outside_tasks import LEASE_SECONDS, OutsideTasks, Task
from tallystick.services.time_stamps import TimeStamps
from tallystick.services.witnessing import Witnessing
from tallystick.verify.policy import parse_policy
from tallystick.verify.stamp import Stamp, parse_stamp
from witness.authority import Authority
from witness.world import answering


class Died(BaseException):
    """The server was killed here."""


def task(done: list[str], *, every: float = 100.0, failing: Callable[[], bool] = lambda: False) -> Task:
    async def do() -> str:
        if failing():
            raise Refused("it does not work")
        done.append("x")
        return f"done {len(done)} times"

    return Task("a task", "a task", every, do)


async def test_a_task_is_done_in_its_time_and_once(log: LogUnderTest, clock: Clock) -> None:
    """Two servers must not do the same thing twice, and a task must come again when its time has come."""
    done: list[str] = []
    servers = [OutsideTasks(log.pool, [task(done)], now=clock) for _ in range(2)]
    for expected in (1, 1, 2):
        await asyncio.gather(*(one.round() for one in servers))
        assert len(done) == expected
        clock.move(seconds=60)
    (standing,) = await servers[0].standings()
    assert (standing.done, standing.failure) == ("done 2 times", "")


async def test_a_failing_task_is_seen_and_tried_again(log: LogUnderTest, clock: Clock) -> None:
    """A task that fails silently is found out when its result is needed; one that fails in a loop is a burden."""
    done: list[str] = []
    broken = [True]
    tasks = OutsideTasks(log.pool, [task(done, every=10_000.0, failing=lambda: broken[0])], now=clock)
    await tasks.round()
    (standing,) = await tasks.standings()
    assert standing.failure == "it does not work"
    await tasks.round()
    assert done == []
    broken[0] = False
    clock.move(seconds=31)
    await tasks.round()
    (standing,) = await tasks.standings()
    assert (done, standing.failure) == (["x"], "")


async def test_a_task_whose_server_died_is_taken_over(log: LogUnderTest, clock: Clock) -> None:
    """A server that dies in the middle must not keep the others from the task for ever."""
    done: list[str] = []

    async def die() -> str:
        raise Died

    with pytest.raises(Died):
        await OutsideTasks(log.pool, [Task("a task", "a task", 10.0, die)], now=clock)._turn(
            Task("a task", "a task", 10.0, die)
        )
    tasks = OutsideTasks(log.pool, [task(done)], now=clock)
    await tasks.round()
    assert done == []
    clock.move(seconds=LEASE_SECONDS + 1)
    await tasks.round()
    assert done == ["x"]


class Stamping:
    """An instance with something in its log, and one authority of its policy."""

    def __init__(self, log: LogUnderTest, clock: Clock, certificate: bytes, url: str) -> None:
        lines = f"authority tsa {base64.b64encode(certificate).decode()} {url}\nquorum none\n"
        self.policy = parse_policy(lines)
        self.instance = InstanceLog(log.pool, log.pool, log.new_signer(), now=clock)
        client = lambda: httpx2.AsyncClient(timeout=30.0)  # noqa: E731
        witnessing = Witnessing(log.pool, log.pool, self.instance, self.policy, client=client, now=clock)
        self.stamps = TimeStamps(
            log.pool, log.pool, self.instance, witnessing, self.policy, client=client, now=clock
        )
        self.tasks = OutsideTasks(log.pool, self.stamps.tasks(3600.0), now=clock)
        self.health = OutsideHealth(self.instance, witnessing, self.stamps, self.tasks, now=clock)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "tsa")


async def test_a_stamp_is_kept_and_handed_out(log: LogUnderTest, clock: Clock, authority: Authority) -> None:
    """A stamp that nobody gets to see proves nothing to anybody."""
    with answering(authority.answer) as url:
        made = Stamping(log, clock, authority.certificate, url)
        with pytest.raises(NotFound):
            await made.stamps.of_log(LOG)
        await log.append([event()])
        await made.instance.round()
        await made.tasks.round()
        clock.move(seconds=3700)
        await made.tasks.round()  # nothing new to stamp
    text = await made.stamps.of_log(LOG)
    assert parse_stamp(text).authority == "tsa"
    (newest,) = await made.stamps.newest()
    assert newest.size == 1
    assert all(one.ok for one in await made.health.findings() if one.name != "instance log")
    await made.stamps.stop()


def replaying(authority: Authority) -> Callable[[bytes], tuple[int, str, bytes]]:
    """Return an authority that gives everybody the answer it gave the first."""
    first: list[tuple[int, str, bytes]] = []

    def answer(query: bytes) -> tuple[int, str, bytes]:
        if not first:
            first.append(authority.answer(query))
        return first[0]

    return answer


@pytest.mark.parametrize("answer", [
    (200, "text/html", b"<h1>It works!</h1>"), (200, "application/timestamp-reply", b""), (500, "text/plain", b"no"),
    (200, "application/timestamp-reply", b"x" * (1 << 17)), (302, "text/plain", b""),
])  # fmt: skip
async def test_nonsense_is_no_stamp(
    log: LogUnderTest, clock: Clock, authority: Authority, answer: tuple[int, str, bytes]
) -> None:
    """An answer that is no stamp must be seen as a failure and never be handed out."""
    with answering(lambda _: answer) as url:
        made = Stamping(log, clock, authority.certificate, url)
        await log.append([event()])
        await made.instance.round()
        await made.tasks.round()
    assert await made.stamps.newest() == []
    (standing,) = await made.tasks.standings()
    assert standing.failure
    assert [one.name for one in await made.health.findings() if not one.ok] == ["asking tsa for a time stamp"]
    await made.stamps.stop()


async def test_an_old_stamp_or_a_strangers_is_none(
    log: LogUnderTest, clock: Clock, authority: Authority, tmp_path: Path
) -> None:
    """Whoever stands between us and the authority must not be able to give us an old answer, or one of their own."""
    stranger = Authority(tmp_path / "stranger")
    with answering(stranger.answer) as url:
        made = Stamping(log, clock, authority.certificate, url)
        await log.append([event()])
        await made.instance.round()
        await made.tasks.round()
        assert await made.stamps.newest() == []
        await made.stamps.stop()
    with answering(replaying(authority)) as url:
        made = Stamping(log, clock, authority.certificate, url)
        for _ in range(2):
            await log.append([event()])
            clock.move(seconds=40)
            await made.instance.round()
            await made.stamps.stop()
            made.stamps._client = None
            clock.move(seconds=1500)
            await made.tasks.round()
            clock.move(seconds=1500 - 40)
        assert len(await made.stamps.newest()) == 1
        await made.stamps.stop()


async def test_health_says_what_is_wrong(log: LogUnderTest, clock: Clock, authority: Authority) -> None:
    """An instance log that stands still must not look well."""
    made = Stamping(log, clock, authority.certificate, "http://127.0.0.1:9")
    await made.instance.round()
    assert (await made.health.findings())[0].ok
    clock.move(seconds=START_SECONDS + 200)
    assert not (await made.health.findings())[0].ok
    await made.health.look()
    assert made.health.figures["instance_log_size"] == 0


def test_kept_stamps_read_as_written() -> None:
    """A stamp that reads otherwise than it was written is over something else."""
    made = Stamp("tsa", b"answer", "below\n\nmore\n")
    assert parse_stamp(made.format()) == made
    for text in (
        "",
        "tallystick/time-stamp@v1",
        made.format().replace("answer ", ""),
        made.format().replace("YW", "Y!"),
    ):
        with pytest.raises(Refused):
            parse_stamp(text)
