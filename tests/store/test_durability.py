"""What a database must promise before we start on it; each setting is really set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from postgres import Cluster, own_server, ready_logins
from tallystick.errors import Misconfigured
from tallystick.store import cluster
from tallystick.store.connect import Dsn, connect, open_pool, transaction
from tallystick.store.durability import Finding, check, enforce, judge
from tallystick.store.programs import major_version


async def findings_at(address: Dsn) -> list[Finding]:
    connection = await connect(address)
    found = await check(connection)
    await connection.close()
    return found


def shown(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.level, finding.setting, finding.value) for finding in found]


async def test_the_embedded_server_is_safe(data: Path) -> None:
    """Our own default would endanger what we promise."""
    async with own_server(data) as (_, superuser):
        assert await findings_at(superuser) == []


@pytest.mark.parametrize(
    ("setting", "level"),
    [("fsync", "refuse"), ("full_page_writes", "refuse"), ("synchronous_commit", "warn")],
)
async def test_each_unsafe_setting_is_found(data: Path, setting: str, level: str) -> None:
    """A crash of the machine would lose acknowledged events and nobody had been told."""
    async with own_server(data, settings={setting: "off"}) as (_, superuser):
        assert shown(await findings_at(superuser)) == [(level, setting, "off")]


async def test_commits_are_waited_for_even_where_the_server_would_not(data: Path) -> None:
    """With synchronous_commit off for a database, our own transactions would be acknowledged too early."""
    async with own_server(data) as (_, superuser):
        connection = await connect(superuser)
        await connection.execute("ALTER DATABASE postgres SET synchronous_commit = off")
        await connection.close()
        assert shown(await findings_at(superuser)) == [("warn", "synchronous_commit", "off")]
        for pooler in (False, True):
            pool = await open_pool(superuser, role="writer", pooler=pooler)
            async with transaction(pool) as writing:
                assert await writing.fetchval("SHOW synchronous_commit") == "on"
            await pool.close()


async def test_missing_checksums_are_found(data: Path) -> None:
    """Damage done by a disk would go unnoticed."""
    done = subprocess.run(
        [cluster.programs_of_wheel() / "pg_checksums", "--disable", "-D", data / "postgres" / "cluster"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    async with own_server(data) as (_, superuser):
        assert shown(await findings_at(superuser)) == [("warn", "data_checksums", "off")]


async def test_a_database_of_another_encoding_is_found(postgres_cluster: Cluster) -> None:
    """Names in other scripts could not be stored."""
    admin = postgres_cluster.admin
    admin.execute("DROP DATABASE IF EXISTS ascii")
    admin.execute(
        "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
    )
    try:
        found = await findings_at(postgres_cluster.superuser.with_database("ascii"))
    finally:
        admin.execute("DROP DATABASE ascii WITH (FORCE)")
    assert ("refuse", "server_encoding", "SQL_ASCII") in shown(found)
    with pytest.raises(Misconfigured, match="ENCODING 'UTF8'"):
        enforce(found, allow_unsafe=True, warn=print)


def test_an_old_version_is_refused_whatever_is_allowed() -> None:
    """The schema would fail on it half way."""
    found = judge({"server_version_num": "140011"})
    assert shown(found) == [("refuse", "server_version_num", "140011")]
    with pytest.raises(Misconfigured, match="PostgreSQL 15 or newer") as caught:
        enforce(found, allow_unsafe=True, warn=print)
    assert "ALLOW_UNSAFE" not in str(caught.value)
    assert judge({"server_version_num": "150000"}) == []


def test_unsafe_is_refused_unless_allowed_and_then_said_aloud() -> None:
    """A server would refuse for ever in a test, or start in silence in production."""
    found = judge({"fsync": "off", "synchronous_commit": "off"})
    said: list[str] = []
    with pytest.raises(Misconfigured, match=r"fsync = off.*TALLYSTICK_ALLOW_UNSAFE_DATABASE=1"):
        enforce(found, allow_unsafe=False, warn=said.append)
    assert [sentence.split(":")[1].split()[0] for sentence in said] == ["synchronous_commit"]
    enforce(found, allow_unsafe=True, warn=said.append)
    assert len(said) == 3


async def test_it_runs_on_an_older_version_too(tmp_path: Path) -> None:
    """PostgreSQL 15 is promised, but only 18 would have been tried."""
    programs = next(
        (
            folder
            for major in ("15", "16", "17")
            for folder in (Path(f"/usr/lib/postgresql/{major}/bin"), Path(f"/usr/pgsql-{major}/bin"))
            if (folder / "initdb").exists()
        ),
        None,
    )
    if programs is None:
        pytest.skip("no older PostgreSQL is installed on this machine")
    async with own_server(tmp_path, programs=programs) as (server, superuser):
        assert await findings_at(superuser) == []
        logins = await ready_logins(server, superuser)
        connection = await connect(logins.reader)
        assert await connection.fetchval("SELECT count(*) FROM audit_events") == 0
        await connection.close()
    assert (tmp_path / "postgres" / "cluster" / "PG_VERSION").read_text() == f"{major_version(programs)}\n"
