"""The crash harness in short form, and proof that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from postgres import Database
from server import Server, Servers

from .crashes import crash


@pytest.fixture
def own_server(servers: Servers, database: Database) -> Server:
    """A server whose log holds nothing else."""
    return servers.start(database=database.logins.owner)


def test_nothing_is_lost_by_kills_and_a_bad_network(own_server: Server, tmp_path: Path) -> None:
    """Every event that record() has returned for must be in the log once, whenever the application died."""
    outcome = crash(8, own_server.url, own_server.write_key, own_server.admin_key, tmp_path, seed=7)
    assert outcome.violations() == []
    assert outcome.kills >= 3
    assert len(outcome.acknowledged) > 50
    assert outcome.answers_lost > 0
    assert sum(one.events for one in outcome.numbers.values()) >= len(outcome.stored)
    assert own_server.check_whole_log() > 0


@pytest.mark.parametrize("mutant", ["send_before_spool", "no_id"])
def test_the_harness_notices(own_server: Server, tmp_path: Path, mutant: str) -> None:
    """A harness that a broken SDK passes would prove nothing."""
    outcome = crash(
        5,
        own_server.url,
        own_server.write_key,
        own_server.admin_key,
        tmp_path,
        seed=3,
        mutant=mutant,
        trouble=0.7,
    )
    print(outcome.table())
    assert outcome.violations()
