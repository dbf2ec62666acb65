"""Random lives of a log: recording, ageing, policies, holds, purges and erasures, in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from postgres import Cluster, Pools, fresh_database
from services.appending import Clock, LogUnderTest, event, events
from services.keeping import Office, boss, office_of
from tallystick.errors import Conflict, NotFound, Refused
from tallystick.query.model import Clause
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish
from tallystick.store.connect import open_pool


def person(number: int) -> dict[str, str]:
    return {
        "type": "user",
        "id": f"usr_{number}_x",
        "name": f"Somebody {number}",
        "email": f"p{number}@people.example",
    }


class Life:
    """One log in a database of its own, driven from outside an event loop."""

    def __init__(self, cluster: Cluster, template: str, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self._database = contextmanager(fresh_database)(cluster, template)
        database = self._database.__enter__()
        self.office: Office = self.run(self._open(database, folder))

    async def _open(self, database: Any, folder: Path) -> Office:
        logins = database.logins
        self.pools = Pools(
            **{
                role: await open_pool(getattr(logins, role), role=role, size_min=0)
                for role in ("owner", "writer", "reader", "keeper")
            }  # type: ignore[arg-type]
        )
        clock = Clock()
        self.log = LogUnderTest(self.pools.writer, folder, clock)
        return await office_of(self.log, self.pools, clock)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.log.stop())
        for pool in (self.pools.owner, self.pools.writer, self.pools.reader, self.pools.keeper):
            self.run(pool.close())
        self.runner.close()
        self._database.__exit__(None, None, None)


@pytest.mark.parametrize("number", range(3))
def test_any_life_of_a_log(
    postgres_cluster: Cluster, template_database: str, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    """Whatever happened to a log, the oracle agrees with it, its verifiers prove it, and so do its exports."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.life = Life(postgres_cluster, template_database, tmp_path_factory.mktemp("life"))
            self.holds: list[str] = []
            self.kept: list[bytes] = []

        @rule(number=st.integers(1, 400))
        def record(self, number: int) -> None:
            self.life.run(self.life.log.append(events(number)))

        @rule(who=st.integers(0, 2), number=st.integers(1, 20))
        def act(self, who: int, number: int) -> None:
            given = [
                one
                for at in range(number)
                for one in (
                    event(actor=person(who), workspace=f"w-{at % 2}", stream="gateway"),
                    event(after={"said of": person(who)["email"]}),
                    event(actor={"type": "agent", "id": "a1", "on_behalf_of": [person(who)]}),
                )
            ]
            self.life.run(self.life.log.append(given))

        @rule(days=st.integers(1, 200))
        def age(self, days: int) -> None:
            self.life.run(self.life.office.age(0, days=days))

        @rule(
            where=st.sampled_from([{}, {"stream": "gateway"}, {"workspace": "w-1"}]),
            wish=st.sampled_from(
                [{"class_": "thirty_days"}, {"class_": "one_year"}, {"class_": "forever"}, {"class_": "custom", "days": 90}, {"ended": True}]
            ),
        )  # fmt: skip
        def change_policy(self, where: dict[str, str], wish: dict[str, Any]) -> None:
            office = self.life.office
            try:
                self.life.run(office.policies.change(office.boss, Wish(**where, **wish)))
            except Refused:
                assert wish.get("ended")

        @rule()
        def purge(self) -> None:
            self.life.run(self.life.office.purge.run(self.life.log.organization_id))

        @rule(
            wish=st.sampled_from(
                [
                    {"actor": "usr_1_x"},
                    {"workspace": "w-1"},
                    {"target": "nothing"},
                    {"actor": "p2@people.example", "workspace": "w-0"},
                ]
            )
        )
        def hold(self, wish: dict[str, str]) -> None:
            office = self.life.office
            self.holds.append(
                self.life.run(office.holds.set(office.boss, HoldWish(reason="a case", **wish))).id
            )

        @rule()
        def release(self) -> None:
            if self.holds:
                office = self.life.office
                self.life.run(office.holds.release(office.boss, self.holds.pop()))

        @rule(who=st.integers(0, 2), whole=st.booleans())
        def erase(self, who: int, whole: bool) -> None:
            office = self.life.office
            wish = ErasureWish(email=person(who)["email"], remove_whole=whole)
            with suppress(Conflict, NotFound):
                self.life.run(office.erasures.erase(boss(office.log.organization_id, "dpo"), wish))

        @rule(kind=st.sampled_from([{}, {"only": (Clause("stream", ("gateway",)),)}]))
        def export(self, kind: dict[str, Any]) -> None:
            self._exported(kind)

        def _exported(self, kind: dict[str, Any]) -> None:
            office = self.life.office
            try:
                export = self.life.run(office.exported(**kind))
            except NotFound:
                return
            self.kept.append(export)
            report = office.check(export)
            assert report.violated == []

        def teardown(self) -> None:
            try:
                self.life.run(self.life.log.check())
                report = self.life.run(self.life.office.verify.log(self.life.log.organization_id))
                assert report.violated == []
                self._exported({})
                self._exported({"only": (Clause("stream", ("gateway",)),)})
                for export in self.kept:
                    assert self.life.office.check(export).violated == []
            finally:
                self.life.close()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=4, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck), database=None
        ),
    )  # fmt: skip
