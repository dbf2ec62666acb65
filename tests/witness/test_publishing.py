"""Publishing's promises: what is copied verifies without the server, and a rewritten log cannot replace what was copied."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from services.appending import LOG, OTHER_LOG, Clock, LogUnderTest, events
from tallystick.errors import Misconfigured, Tampered, TryLater
from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.note import parse_note
from tallystick.services.instance_log import InstanceLog
from tallystick.services.published_s3 import Bucket
from tallystick.services.publishing import Folder, Publishing, Target, target_of
from tallystick.services.witnessing import Witnessing
from tallystick.verify.known import Kept
from tallystick.verify.report import Report
from tallystick.verify.static import Files, verify_static

NOW = datetime.now(UTC)
GOCODE = Path("/usr/share/gocode")  # where Debian keeps golang-golang-x-mod-dev


class World:
    """An instance with two organizations, and what publishes it."""

    def __init__(self, log: LogUnderTest, clock: Clock) -> None:
        self.log, self.clock = log, clock
        self.signer = log.new_signer()
        self.instance = InstanceLog(log.pool, log.pool, self.signer, now=clock)
        witnessing = Witnessing(log.pool, log.pool, self.instance, None, client=lambda: None, now=clock)  # type: ignore[arg-type, return-value]
        self.publishing = Publishing(log.pool, self.signer, log.log, self.instance, witnessing)
        self.keys = (self.instance.verifier(), self.signer.clock())

    async def grow(self, count: int, organization: Any = LOG) -> None:
        while count > 0:
            await self.log.appender.append(organization, events(min(count, 500)), source="test")
            count -= 500
        self.clock.move(seconds=11)
        await self.instance.round()

    def verify(self, folder: Path, **more: Any) -> Report:
        return verify_static(files_of(folder), keys=self.keys, **more)


def files_of(folder: Path) -> Files:
    paths = frozenset(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return Files(paths, lambda path: (folder / path).read_bytes())


@pytest.fixture
def world(log: LogUnderTest, clock: Clock) -> World:
    return World(log, clock)


async def test_what_is_published_verifies(world: World, tmp_path: Path) -> None:
    """A copy that does not verify without the server is worth nothing to whoever holds it."""
    folder = tmp_path / "out"
    for size in (3, 300, 60):
        await world.grow(size)
        await world.grow(size // 3, OTHER_LOG)
        done = await world.publishing.publish(Folder(folder))
        assert done.grown == 3
        report = world.verify(folder)
        assert report.verdict == "proven", report
    assert not report.not_proven or all("reset" not in line for line in report.not_proven)
    assert any("passes through 3 of its checkpoints" in line for line in report.proven)
    assert any("its entries are those of its hashes" in line for line in report.proven)
    assert (await world.publishing.publish(Folder(folder))).files == 0
    assert not list(folder.rglob("*.new"))


async def test_one_log_alone_verifies(world: World, tmp_path: Path) -> None:
    """Whoever is given one organization's folder must be able to check it alone, against what they kept."""
    folder = tmp_path / "out"
    await world.grow(30)
    kept = Kept("kept", await world.log.log.checkpoint(LOG))
    await world.grow(300)
    await world.publishing.publish(Folder(folder))
    report = world.verify(folder / "o" / str(LOG), kept=[kept])
    assert report.verdict == "proven"
    assert report.continued == ["checkpoint", "kept"]
    assert verify_static(files_of(folder)).verdict == "unchecked"
    assert verify_static(Files(frozenset(), lambda path: b"")).verdict == "unchecked"
    elsewhere = Kept("elsewhere", kept.text.replace(str(LOG), str(OTHER_LOG)))
    assert world.verify(folder, kept=[elsewhere]).verdict == "violated"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


EDITS: dict[str, Callable[[Path], None]] = {
    "a byte of a lowest tile": lambda log: flip(log / "tile/0/000"),
    "a byte of a partial tile": lambda log: flip(log / "tile/0/001.p/77"),
    "a byte of an old partial tile": lambda log: flip(log / "tile/0/000.p/33"),
    "a byte of an upper tile": lambda log: flip(log / "tile/1/000.p/1"),
    "a byte too many": lambda log: (log / "tile/0/000").write_bytes((log / "tile/0/000").read_bytes() + b"x"),
    "a hash too many": lambda log: (log / "tile/1/000.p/1").write_bytes(bytes(64)),
    "a byte too few": lambda log: (log / "tile/0/001.p/77").write_bytes((log / "tile/0/001.p/77").read_bytes()[:-1]),
    "another file": lambda log: (log / "tile/0/x").write_text("x"),
    "the checkpoint's size": lambda log: (log / "checkpoint").write_text((log / "checkpoint").read_text().replace("\n333\n", "\n332\n")),
    "the checkpoint's signature": lambda log: (log / "checkpoint").write_text((log / "checkpoint").read_text()[:-9] + "AAAAAAA=\n"),
}  # fmt: skip


async def test_every_edit_is_found(world: World, tmp_path: Path) -> None:
    """An edited copy that verifies would let whoever holds it pretend anything."""
    folder = tmp_path / "out"
    await world.grow(33)
    await world.publishing.publish(Folder(folder))
    await world.grow(300)
    await world.publishing.publish(Folder(folder))
    for name, edit in EDITS.items():
        copy = tmp_path / "edited"
        shutil.copytree(folder, copy)
        edit(copy / "o" / str(LOG))
        report = world.verify(copy)
        assert report.verdict == "violated" or (report.verdict == "unchecked" and "few" in name), (
            name,
            report,
        )
        shutil.rmtree(copy)
    shutil.copytree(folder, copy)
    flip(copy / "instance/tile/entries/000.p/2")
    assert world.verify(copy).verdict == "violated"
    (copy / "o" / str(LOG) / "tile/0/000").unlink()
    (copy / "instance/tile/entries/000.p/2").unlink()
    assert world.verify(copy).verdict == "unchecked"


async def test_a_copy_made_meanwhile_is_honest(world: World, tmp_path: Path) -> None:
    """Tiles are written before their checkpoint: a copy made in between must be no violation, nor be taken for more."""
    folder = tmp_path / "out"
    await world.grow(300)
    await world.publishing.publish(Folder(folder))
    before = {path: path.read_bytes() for path in folder.rglob("checkpoint")}
    await world.grow(300)
    await world.publishing.publish(Folder(folder))
    for path, content in before.items():
        path.write_bytes(content)
    report = world.verify(folder)
    assert (report.verdict, report.violated) == ("proven", [])
    assert any("beyond the checkpoint" in line for line in report.not_proven)


async def test_an_older_copy_of_a_log_is_found(world: World, tmp_path: Path) -> None:
    """Putting an organization's older state beside a newer instance log must not pass as the whole of it."""
    folder, old = tmp_path / "out", tmp_path / "old"
    await world.grow(10)
    await world.publishing.publish(Folder(folder))
    shutil.copytree(folder / "o", old)
    await world.grow(10)
    await world.publishing.publish(Folder(folder))
    shutil.rmtree(folder / "o")
    shutil.copytree(old, folder / "o")
    report = world.verify(folder)
    assert [one.kind for one in report.violated] == ["rollback"]


async def test_a_second_history_replaces_nothing(world: World, tmp_path: Path) -> None:
    """A log set back or rewritten must not be published over the old one, and must not stop the others."""
    folder = tmp_path / "out"
    await world.grow(20)
    await world.grow(5, OTHER_LOG)
    await world.publishing.publish(Folder(folder))
    path = folder / "o" / str(LOG) / "checkpoint"
    before = path.read_bytes()
    origin = world.signer.origin(LOG)
    ahead = Checkpoint(origin, 25, b"x" * 32).sign(world.signer._key(origin)).format()
    path.write_text(ahead)
    await world.grow(1, OTHER_LOG)
    with pytest.raises(Tampered, match="set back"):
        await world.publishing.publish(Folder(folder))
    assert path.read_text() == ahead
    other = (folder / "o" / str(OTHER_LOG) / "checkpoint").read_text()
    assert parse_checkpoint(parse_note(other).text).size == 6
    path.write_text(Checkpoint(origin, 20, b"x" * 32).sign(world.signer._key(origin)).format())
    with pytest.raises(Tampered):
        await world.publishing.publish(Folder(folder))
    path.write_text("somebody else's")
    with pytest.raises(Tampered, match="not one that this server signed"):
        await world.publishing.publish(Folder(folder))
    path.write_bytes(before)
    await world.grow(1)
    (folder / "o" / str(LOG) / "tile/0/000.p/21").write_bytes(b"planted")
    with pytest.raises(Tampered, match="other bytes"):
        await world.publishing.publish(Folder(folder))
    assert path.read_bytes() == before


def test_targets_are_told_apart(tmp_path: Path) -> None:
    """A mistyped address must not become a folder of that name."""
    assert isinstance(target_of(str(tmp_path), now=lambda: NOW), Folder)
    for text in ("gs://bucket/x", "s3:///x", "http://x"):
        with pytest.raises(Misconfigured):
            target_of(text, now=lambda: NOW)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    names = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **names)
    client.create_bucket(Bucket="open")
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    yield client
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "folder":
        return Folder(tmp_path / "target")
    s3 = request.getfixturevalue("s3")
    return Bucket(s3, "open", f"{tmp_path.name}/", now=lambda: NOW)


def test_every_target_keeps_its_promises(target: Target) -> None:
    """A target that overwrites a tile, or says that it wrote what it did not, would break every copy."""
    assert target.read("a/b") is None
    assert target.write("a/b", b"one", immutable=True)
    assert not target.write("a/b", b"one", immutable=True)
    with pytest.raises(Tampered, match="other bytes"):
        target.write("a/b", b"two", immutable=True)
    assert target.read("a/b") == b"one"
    assert target.write("a/c", b"one", immutable=False)
    assert target.write("a/c", b"two", immutable=False)
    assert target.read("a/c") == b"two"


async def test_published_to_a_locked_bucket(world: World, s3: Any, tmp_path: Path) -> None:
    """Object Lock that is not on the objects protects nothing."""
    await world.grow(300)
    bucket = Bucket(s3, "locked", "here/", now=lambda: NOW, lock_days=30)
    await world.publishing.publish(bucket)
    await world.grow(5)
    await world.publishing.publish(bucket)
    listed = s3.list_objects_v2(Bucket="locked")["Contents"]
    for one in listed:
        head = s3.head_object(Bucket="locked", Key=one["Key"])
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert (head["ObjectLockRetainUntilDate"] - NOW).days in (29, 30)
        path = tmp_path / "copy" / one["Key"].removeprefix("here/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get_object(Bucket="locked", Key=one["Key"])["Body"].read())
    assert world.verify(tmp_path / "copy").verdict == "proven"


def test_a_bucket_that_is_not_there(s3: Any) -> None:
    """An operator must be told what to do, without a stack trace and without a secret."""
    with pytest.raises((Misconfigured, TryLater), match="S3"):
        Bucket(s3, "nowhere", "", now=lambda: NOW).write("a", b"b", immutable=True)


def test_strangers_directory(shared: Path, tmp_path: Path) -> None:
    """A directory that another program wrote must verify too: the published one of the vectors, of 300 entries."""
    vector = json.loads((shared / "vectors" / "cosignature_mirror.json").read_text())
    files = {name: base64.b64decode(content) for name, content in vector["mirror_files_b64"].items()}
    files = {name: content for name, content in files.items() if "entries" not in name}
    files["checkpoint"] = vector["mirror_checkpoint"].encode()
    report = verify_static(Files(frozenset(files), files.__getitem__), keys=(VerifierKey("x", bytes(32)),))  # type: ignore[arg-type]
    assert any("tiles lead to the signed root of 300" in line for line in report.proven), report


@pytest.mark.slow
async def test_go_reads_the_published_directory(world: World, tmp_path: Path) -> None:
    """Tools that others wrote for tiled logs must be able to read what is published, tile by tile against the signed root."""
    go = shutil.which("go")
    if go is None or not (GOCODE / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go or its package golang-golang-x-mod-dev is not installed")
    built = tmp_path / "directory"
    settings = {
        "GO111MODULE": "off",
        "GOPATH": str(GOCODE),
        "GOFLAGS": "",
        "GOCACHE": str(tmp_path / "cache"),
    }
    source = str(Path(__file__).parent / "strangers" / "directory.go")
    made = await asyncio.to_thread(
        subprocess.run, [go, "build", "-o", str(built), source], env={**os.environ, **settings}, capture_output=True, text=True
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "out"
    for count in (300, 33):
        await world.grow(count)
        await world.publishing.publish(Folder(folder))
    for prefix, origin, size in (
        (f"o/{LOG}", world.signer.origin(LOG), "333"), ("instance", world.instance.origin, "2"),
    ):  # fmt: skip
        key = world.signer.verifier(origin).format()
        command = [str(built), str(folder / prefix), key]
        told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert (told.returncode, told.stdout.strip()) == (0, size), told.stderr
    flip(folder / "o" / str(LOG) / "tile/0/000")
    told = await asyncio.to_thread(
        subprocess.run, [str(built), str(folder / "o" / str(LOG)), world.signer.verifier(world.signer.origin(LOG)).format()],
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 1
