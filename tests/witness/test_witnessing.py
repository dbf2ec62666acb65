"""The server's promises about witnesses: it is cosigned by those that are well, and operators see when too few are."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg
import pytest

from postgres import Database
from services.appending import LOG, Clock, LogUnderTest, event
from tallystick.errors import NotFound
from tallystick.merkle.checkpoint import open_checkpoint
from tallystick.merkle.keys import Cosigner, SignerKey
from tallystick.merkle.note import parse_note
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.services.instance_log import InstanceLog
from tallystick.services.witnessing import FRESH_SECONDS, Witnessing
from tallystick.verify.policy import parse_policy
from witness.world import WitnessProcess, answering, policy_of, start_witness

LIAR = SignerKey("liar.example.org", b"i" * 32)


class World:
    """One instance with its instance log, and the witnesses that were started for it."""

    def __init__(self, log: LogUnderTest, clock: Clock, folder: Path, stack: ExitStack) -> None:
        self.log, self.clock, self.folder, self.stack = log, clock, folder, stack
        self.signer = log.new_signer()
        self.instance = InstanceLog(log.pool, log.pool, self.signer, now=clock)
        self.witnesses: list[tuple[str, str, str]] = []

    def witness(self, name: str) -> WitnessProcess:
        started = start_witness(self.folder / name, f"{name}.example.org", self.instance.verifier().format())
        self.stack.callback(started.kill)
        self.witnesses.append((name, started.key, started.url))
        return started

    def liar(self, url: str) -> None:
        self.witnesses.append(("liar", LIAR.cosigning.format(), url))

    def witnessing(self, needed: int) -> Witnessing:
        keys = self.instance.verifier_keys()
        policy = parse_policy(policy_of(keys[0], keys[1], self.witnesses, needed))
        return Witnessing(
            self.log.pool, self.log.pool, self.instance, policy,
            client=lambda: httpx2.AsyncClient(timeout=30.0), now=self.clock,
        )  # fmt: skip

    async def grow(self, witnessing: Witnessing | None = None) -> None:
        """Record one event, let the instance log grow, and ask the witnesses."""
        await self.log.append([event()])
        self.clock.move(seconds=11)
        assert await self.instance.round() == 1
        if witnessing:
            await witnessing.round()


@pytest.fixture
def world(log: LogUnderTest, clock: Clock, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(log, clock, tmp_path, stack)


async def test_two_of_three_are_enough(world: World) -> None:
    """With one witness away the policy must still be met; with two away operators must see that it is not."""
    one, two, _ = (world.witness(name) for name in ("north", "south", "east"))
    witnessing = world.witnessing(2)
    with pytest.raises(NotFound):
        await witnessing.witnessed()
    await world.grow(witnessing)
    note = await witnessing.newest()
    keys = [witness.key for witness in witnessing.asked]
    opened = open_checkpoint(note, [world.instance.verifier()], witnesses=keys)
    assert len(opened.cosigned_by) == 3
    one.stop()
    await world.grow(witnessing)
    standing = await witnessing.standing()
    assert standing.is_met
    assert standing.size == 2
    assert "cannot be reached" in standing.witnesses[0].failure
    two.stop()
    for _ in range(3):
        world.clock.move(seconds=FRESH_SECONDS)
        await world.grow(witnessing)
    standing = await witnessing.standing()
    assert not standing.is_met
    assert [witness.state for witness in standing.witnesses] == ["late", "late", "well"]
    assert open_checkpoint(await witnessing.witnessed(), [world.instance.verifier()]).checkpoint.size == 2
    assert open_checkpoint(await witnessing.newest(), [world.instance.verifier()]).checkpoint.size == 5


async def test_a_witness_that_lagged_catches_up(world: World) -> None:
    """A witness that was away for long must get a proof from where it stood, not be lost for ever."""
    north = world.witness("north")
    witnessing = world.witnessing(1)
    await world.grow(witnessing)
    for _ in range(3):
        await world.grow()
    async with httpx2.AsyncClient(timeout=30.0) as client:
        assert (await client.get(north.url)).json()["logs"][0]["size"] == 1
    await witnessing.round()
    assert (await witnessing.standing()).size == 4


async def test_a_new_server_asks_where_the_witness_stands(world: World, database: Database) -> None:
    """A server that forgot where a witness stands must learn it from its answer."""
    world.witness("north")
    witnessing = world.witnessing(1)
    await world.grow(witnessing)
    with psycopg.connect(database.superuser.url, autocommit=True) as edit:
        edit.execute("UPDATE witnesses SET said_size = 0, cosigned_size = -1, next_at = 'epoch'")
    await world.grow(witnessing)
    standing = await witnessing.standing()
    assert (standing.size, standing.witnesses[0].failure) == (2, "")


async def test_a_server_set_back_is_refused(world: World, database: Database) -> None:
    """The very thing witnesses are for: a database and signer set back must not be cosigned, and operators must see it."""
    world.witness("north")
    witnessing = world.witnessing(1)
    for _ in range(2):
        await world.grow(witnessing)
    shutil.copytree(world.log.data / "signer", world.folder / "signer-before")
    with psycopg.connect(database.superuser.url, autocommit=True) as edit:
        before = edit.execute("SELECT * FROM instance_log_head").fetchone()
        await world.grow(witnessing)
        assert before is not None
        # The whole installation goes back to a backup, the signer's memory included.
        edit.execute("SET session_replication_role = replica")
        edit.execute(
            "UPDATE instance_log_head SET size = %s, frontier = %s, note = %s, note_at = %s, grown_at = %s",
            before[1:],
        )
        edit.execute("DELETE FROM instance_log_leaves WHERE position >= 2")
    for path in (world.folder / "signer-before").iterdir():
        shutil.copy(path, world.log.data / "signer" / path.name)
    world.clock.move(seconds=300)
    await witnessing.round()
    standing = await witnessing.standing()
    assert not standing.is_met
    assert standing.witnesses[0].state == "alarm"
    assert "set back" in standing.witnesses[0].failure
    # It grows again, into another history than the one that was cosigned.
    again = InstanceLog(world.log.pool, world.log.pool, world.log.new_signer(), now=world.clock)
    await world.log.append([event()])  # or the same checkpoint would become the same leaf again
    await again.round()
    for _ in range(2):
        await world.log.append([event()])
        world.clock.move(seconds=700)
        await again.round()
        await witnessing.round()
    standing = await witnessing.standing()
    assert standing.witnesses[0].state == "alarm"
    assert (
        "does not continue" in standing.witnesses[0].failure
        or "another history" in standing.witnesses[0].failure
    )


GARBAGE = {
    "nothing": (200, "text/plain", b""),
    "noise": (200, "text/plain", b"\xff\x00 noise"),
    "a text": (200, "text/html", b"<h1>It works!</h1>"),
    "another key": (200, "text/plain", b"\xe2\x80\x94 other.example.org AAAAAAAAAAAAAAAA\n"),
    "too much": (200, "text/plain", b"x" * (1 << 20)),
    "an error": (500, "text/plain", b"oops\x1b[31m"),
    "a conflict without a size": (409, "text/plain", b"no"),
    "a redirect": (302, "text/plain", b""),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_no_cosignature(world: World, answer: tuple[int, str, bytes]) -> None:
    """What is no cosignature must neither count as one nor stop the other witnesses from being asked."""
    with answering(lambda _: answer) as url:
        world.liar(url)
        witnessing = world.witnessing(1)
        await world.grow(witnessing)
        standing = await witnessing.standing()
    assert not standing.is_met
    assert standing.witnesses[0].failure
    assert standing.size == -1
    assert "liar" not in await witnessing.newest()


def lies(kind: str) -> Callable[[bytes], tuple[int, str, bytes]]:
    """Return what answers like a witness that signs something else than it was asked to."""
    seconds = {"an old time": 1_000_000_000, "a time to come": 4_000_000_000}.get(kind)

    def answer(body: bytes) -> tuple[int, str, bytes]:
        text = parse_note(body.partition(b"\n\n")[2]).text
        if kind == "another text":
            text = text.replace("\n1\n", "\n2\n")
        note = parse_note(body.partition(b"\n\n")[2])
        signed = type(note)(text, ()).signed_by(Cosigner(LIAR, seconds or int(time.time())))
        return 200, "text/plain", "".join(one.line() for one in signed.signatures).encode()

    return answer


@pytest.mark.parametrize(("kind", "counts"), [
    ("an old time", False), ("a time to come", False), ("another text", False), ("the truth", True),
])  # fmt: skip
async def test_a_lie_is_no_cosignature(world: World, kind: str, counts: bool) -> None:
    """A signature over another checkpoint or another time must not be served as one over ours."""
    with answering(lies(kind)) as url:
        world.liar(url)
        witnessing = world.witnessing(1)
        await world.grow(witnessing)
        assert (await witnessing.standing()).is_met == counts


async def test_a_witness_that_names_ever_other_sizes(world: World) -> None:
    """A witness could keep the server asking for ever, or make it give up for ever."""
    sizes = iter(range(10_000))
    asked: list[bytes] = []

    def answer(body: bytes) -> tuple[int, str, bytes]:
        asked.append(body)
        return 409, "text/x.tlog.size", b"%d\n" % (next(sizes) % 2)

    with answering(answer) as url:
        world.liar(url)
        witnessing = world.witnessing(1)
        await world.grow()
        await world.grow(witnessing)
        assert len(asked) <= 4
        world.clock.move(seconds=11)
        await witnessing.round()
        assert 4 < len(asked) <= 8


async def test_two_servers_ask_once(world: World) -> None:
    """Two servers on one database must not send everything twice."""
    asked: list[bytes] = []

    def answer(body: bytes) -> tuple[int, str, bytes]:
        asked.append(body)
        return 500, "text/plain", b"no"

    with answering(answer) as url:
        world.liar(url)
        one, two = world.witnessing(1), world.witnessing(1)
        await world.grow()
        await one.round()
        await two.round()
    assert len(asked) == 1


async def test_anchor_is_under_a_witnessed_checkpoint(world: World) -> None:
    """An organization needs its checkpoint under one that outsiders signed, also when newer ones are not signed yet."""
    north = world.witness("north")
    witnessing = world.witnessing(1)
    await world.grow(witnessing)
    north.stop()
    await world.grow(witnessing)
    proof = parse_tlog_proof(await witnessing.anchor(LOG))
    opened = open_checkpoint(
        proof.checkpoint, [world.instance.verifier()], witnesses=[one.key for one in witnessing.asked]
    )
    assert (opened.checkpoint.size, len(opened.cosigned_by)) == (1, 1)
