"""SQLAlchemy: every change of a watched row is in the log if and only if it was committed, with before and after."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

import tallystick
from postgres import Database
from tallystick.errors import Misconfigured
from tallystick.outbox import Lag
from tallystick.sqlalchemy import (
    capture_table,
    instrument,
    relay,
    relay_soon,
    tell_triggers,
)

from .fake import Fake
from .sqlalchemy_models import OUTBOX, Base, Budget, Guest, Member, Office, Seat, Team, Unwatched

ADA = tallystick.User("usr_1")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/app.db")
    else:
        database: Database = request.getfixturevalue("empty_database")
        made = create_engine(database.superuser.url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def audit(make_audit: Callable[..., tallystick.Audit], fake: Fake) -> tallystick.Audit:
    return make_audit(url=fake.url, profile="fast")


@pytest.fixture
def sessions(engine: Engine, audit: tallystick.Audit) -> sessionmaker[Session]:
    made = sessionmaker(engine)
    instrument(made, OUTBOX, audit)
    return made


@pytest.fixture
def told(engine: Engine, audit: tallystick.Audit, fake: Fake) -> Callable[[], list[dict[str, Any]]]:
    """Returns the events that were committed since it was asked last."""

    def take() -> list[dict[str, Any]]:
        while relay(engine, OUTBOX, audit):
            pass
        assert audit.flush(10)
        found = list(fake.stored.values())
        fake.stored.clear()
        return found

    return take


def test_the_unit_of_work(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """A change of an object must be told with what was there before and what is there now."""
    with audit.context(actor=ADA):
        with sessions() as session:
            budget = Budget(label="GPU", note="private", password="hunter2hunter2")
            session.add(budget)
            session.commit()
            budget.amount = 5
            session.commit()
            budget.label = "GPU"  # no change
            budget.note = "only what is excluded"
            session.commit()
            session.delete(budget)
            session.commit()
        with sessions() as session:
            session.add(Unwatched())
            session.commit()
    created, updated, deleted = told()
    assert [event["action"] for event in (created, updated, deleted)] == [
        "budget.create", "budget.update", "budget.delete",
    ]  # fmt: skip
    assert created["targets"] == [{"type": "budget", "id": "1", "name": "GPU"}]
    assert "before" not in created
    assert created["after"]["amount"] == 0
    assert "$redacted" in created["after"]["password"]
    assert (updated["before"]["amount"], updated["after"]["amount"]) == (0, 5)
    assert deleted["before"]["amount"] == 5
    assert "after" not in deleted
    assert "private" not in str([created, updated, deleted])


def test_rolled_back_is_not_told(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """What never happened must not be in the log."""
    with audit.context(actor=ADA), sessions() as session:
        session.add(Budget(label="a"))
        session.flush()
        OUTBOX.record(session, audit, "budget.approve", target=tallystick.Target("budget", "1"))
        session.rollback()
        session.add(Budget(label="b"))
        with session.begin_nested() as savepoint:
            session.add(Budget(label="c"))
            session.flush()
            savepoint.rollback()
        session.commit()
    assert [event["after"]["label"] for event in told()] == ["b"]


def test_old_values_that_were_never_loaded(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """An object changed right after a commit has no old values in memory; they must come from the database."""
    with audit.context(actor=ADA), sessions() as session:
        budget = Budget(label="a", amount=1)
        session.add(budget)
        session.commit()  # expires everything
        budget.amount = 2
        session.commit()
    _, updated = told()
    assert updated["before"] == {"id": 1, "label": "a", "amount": 1, "password": None}
    assert updated["after"] == {"id": 1, "label": "a", "amount": 2, "password": None}


def test_bulk_statements(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """A bulk statement must not be the way around the log: every row it touches is told."""
    with audit.context(actor=ADA), sessions() as session:
        session.execute(insert(Budget), [{"label": f"b{n}", "amount": n} for n in range(5)])
        session.execute(update(Budget).where(Budget.amount >= 3).values(amount=Budget.amount + 10))
        session.execute(update(Budget), [{"id": 1, "amount": 7}, {"id": 2, "amount": 1}])
        session.query(Budget).filter(Budget.label == "b2").update({"amount": 99})
        session.execute(delete(Budget).where(Budget.amount > 10))
        session.execute(update(Budget).where(Budget.amount > 10_000).values(amount=0))
        session.add(Member(team="t", user="u", role="viewer"))
        session.execute(update(Member).values(role="admin"))
        session.commit()
        left = {row.id: row.amount for row in session.execute(select(Budget.id, Budget.amount))}
    events = told()
    short = [
        (
            e["action"],
            e["targets"][0]["id"],
            e.get("before", {}).get("amount"),
            e.get("after", {}).get("amount"),
        )
        for e in events[:-2]
    ]
    assert short[:5] == [("budget.create", str(n + 1), None, n) for n in range(5)]
    assert set(short[5:7]) == {("budget.update", "4", 3, 13), ("budget.update", "5", 4, 14)}
    assert short[7:9] == [("budget.update", "1", 0, 7), ("budget.update", "3", 2, 99)]
    assert {event[:3] for event in short[9:]} == {
        ("budget.delete", i, a) for i, a in (("3", 99), ("4", 13), ("5", 14))
    }
    assert left == {1: 7, 2: 1}
    assert [e["action"] for e in events[-2:]] == ["membership.create", "membership.update"]
    assert events[-1]["targets"] == [{"type": "membership", "id": "t,u"}]
    assert (events[-1]["before"]["role"], events[-1]["after"]["role"]) == ("viewer", "admin")


def test_bulk_statements_can_be_refused(engine: Engine, audit: tallystick.Audit) -> None:
    """Where every change is to go through objects, a statement that does not must fail loudly."""
    strict = sessionmaker(engine)
    instrument(strict, OUTBOX, audit, bulk="raise")
    with strict() as session, pytest.raises(Misconfigured):
        session.execute(update(Budget).values(amount=0))


def test_cascades_of_the_unit_of_work(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """Children that the flush itself deletes or lets go of must be told like any others."""
    with audit.context(actor=ADA), sessions() as session:
        team = Team(label="t", seats=[Seat(), Seat()], guests=[Guest()])
        session.add(team)
        session.commit()
        team.seats.pop()  # an orphan
        session.commit()
        session.delete(team)
        session.commit()
    events = told()
    assert sorted(e["action"] for e in events) == [
        "guest.create", "guest.update", "seat.create", "seat.create", "seat.delete", "seat.delete", "team.create",
        "team.delete",
    ]  # fmt: skip
    freed = next(e for e in events if e["action"] == "guest.update")
    assert (freed["before"]["team_id"], freed["after"]["team_id"]) == (1, None)


def test_inheritance_over_tables(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """An object in two tables is told as one, by the unit of work and in bulk."""
    with audit.context(actor=ADA), sessions() as session:
        office = Office(city="Bern", desks=1)
        session.add(office)
        session.commit()
        office.city, office.desks = "Basel", 2
        session.commit()
        session.execute(update(Office).values(desks=3))
        session.delete(office)
        session.commit()
    found = [(e["action"], e.get("after", {}).get("city"), e.get("after", {}).get("desks")) for e in told()]
    assert found == [
        ("office.create", "Bern", 1), ("office.update", "Basel", 2), ("office.update", "Basel", 3),
        ("office.delete", None, None),
    ]  # fmt: skip


def test_values_and_upserts(engine: Engine, sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """insert().values([…]) and ON CONFLICT must be told by what they did: made, changed or left a row."""
    upsert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    with audit.context(actor=ADA), sessions() as session:
        session.execute(insert(Team).values([{"label": f"t{n}"} for n in range(3)]))
        session.execute(insert(Team).values(label="t3", count=3))
        session.execute(upsert(Team).values([{"label": "t0"}, {"label": "t4"}]).on_conflict_do_nothing())
        statement = upsert(Team)
        statement = statement.on_conflict_do_update(
            index_elements=["label"], set_={"count": statement.excluded.count}
        )
        session.execute(statement, [{"label": "t1", "count": 7}, {"label": "t5", "count": 8}])
        session.execute(statement.values(label="t2", count=9))
        session.commit()
    found = [
        (e["action"], e["after"]["label"], e.get("before", {}).get("count"), e["after"]["count"])
        for e in told()
    ]
    assert found[:5] == [("team.create", f"t{n}", None, 3 if n == 3 else 0) for n in range(5)]
    assert set(found[5:]) == {
        ("team.update", "t1", 0, 7), ("team.create", "t5", None, 8), ("team.update", "t2", 0, 9),
    }  # fmt: skip


def test_the_older_bulk_methods(sessions: Any, audit: tallystick.Audit, told: Any) -> None:
    """bulk_save_objects, bulk_insert_mappings and bulk_update_mappings must not be a way around the log."""
    with audit.context(actor=ADA), sessions() as session:
        session.bulk_insert_mappings(Team, [{"label": f"m{n}"} for n in range(3)])
        session.bulk_save_objects([Team(label="o0"), Team(label="o1")])
        session.bulk_update_mappings(Team, [{"id": 1, "count": 5}, {"id": 2, "count": 6}])
        session.commit()
        teams = session.scalars(select(Team).order_by(Team.id)).all()
        for team in teams:
            team.count += 1
        session.bulk_save_objects(teams[:2])
        session.rollback()
        session.bulk_insert_mappings(Unwatched, [{"id": 1}])
        session.commit()
    events = told()
    assert [(e["action"], e["after"]["label"]) for e in events[:5]] == [
        ("team.create", label) for label in ("m0", "m1", "m2", "o0", "o1")
    ]
    assert [(e["action"], e["before"]["count"], e["after"]["count"]) for e in events[5:]] == [
        ("team.update", 0, 5), ("team.update", 0, 6),
    ]  # fmt: skip


def test_strict_sessions_refuse_the_older_methods_too(engine: Engine, audit: tallystick.Audit) -> None:
    """A session that refuses bulk statements must refuse each kind of them."""
    strict = sessionmaker(engine)
    instrument(strict, OUTBOX, audit, bulk="raise")
    with strict() as session:
        for change in (
            lambda: session.execute(insert(Team).values(label="x")), lambda: session.execute(delete(Team)),
            lambda: session.bulk_insert_mappings(Team, [{"label": "x"}]),
            lambda: session.bulk_save_objects([Team(label="x")]), lambda: session.query(Team).update({"count": 1}),
        ):  # fmt: skip
            with pytest.raises(Misconfigured):
                change()


def test_a_bulk_change_that_cannot_be_told_is_undone(
    sessions: Any, engine: Engine, audit: Any, told: Any
) -> None:
    """Without an actor, or with a key that changes, the statement must be taken back even if the error is caught."""
    with audit.context(actor=ADA), sessions() as session:
        session.execute(insert(Team).values(label="a"))
        session.commit()
        with pytest.raises(Misconfigured):
            session.execute(update(Team).values(id=99))
        session.commit()
    with sessions() as session:
        with pytest.raises(tallystick.ValidationError):
            session.execute(update(Team).values(count=9))
        session.commit()
        assert session.execute(select(Team.id, Team.count)).all() == [(1, 0)]
    assert [e["action"] for e in told()] == ["team.create"]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_async_sessions(driver: str, request: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """Sessions of asyncio must be told the same, and their outbox relayed over their engine."""
    database: Database = request.getfixturevalue("empty_database")
    sync = create_engine(database.superuser.url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.create_all(sync)
    sync.dispose()
    address = make_url(database.superuser.url).set(drivername=f"postgresql+{driver}")
    engine = create_async_engine(address)
    made = async_sessionmaker(engine)
    instrument(made, OUTBOX, audit)
    with audit.context(actor=ADA):
        async with made() as session:
            team = Team(label="a")
            session.add(team)
            await session.commit()
            await session.execute(insert(Team).values([{"label": "b"}, {"label": "c"}]))
            await session.execute(update(Team).values(count=5))
            await session.commit()
            await session.execute(delete(Team))
            await session.rollback()
    assert await relay_soon(engine, OUTBOX, audit) == 6
    await engine.dispose()
    found = [(e["action"], e["after"]["label"]) for e in fake.stored.values()]
    assert found[:3] == [("team.create", label) for label in "abc"]
    assert sorted(found[3:]) == [("team.update", label) for label in "abc"]


def test_with_triggers_each_change_is_told_once(request: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """What the session tells must not be told by triggers again, and what passes it by must be."""
    database: Database = request.getfixturevalue("empty_database")
    engine = create_engine(database.superuser.url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for table in ("team", "seat", "place", "office"):
            for statement in capture_table(table):
                connection.exec_driver_sql(statement)
    made = sessionmaker(engine)
    instrument(made, OUTBOX, audit)
    tell_triggers(made)
    with audit.context(actor=ADA), made() as session:
        session.add(Team(label="a", seats=[Seat(), Seat()]))
        session.add(Office(city="Bern"))
        session.flush()
        session.execute(insert(Team), [{"label": "b"}, {"label": "c"}])
        session.execute(update(Team).values(count=1))
        session.bulk_insert_mappings(Team, [{"label": "d"}])
        session.commit()
        by_session = 3 + 1 + 2 + 3 + 1
        session.execute(text("UPDATE team SET count = 2"))
        session.connection().execute(update(Team.__table__).values(count=3))
        session.connection().execute(Seat.__table__.delete())
        session.commit()
        by_triggers = 4 + 4 + 2
    while relay(engine, OUTBOX, audit):
        pass
    engine.dispose()
    events = list(fake.stored.values())
    marked = [e for e in events if e.get("metadata", {}).get("captured_by") == "trigger"]
    assert (len(events) - len(marked), len(marked)) == (by_session, by_triggers)
    assert {e["actor"]["id"] for e in events} == {"usr_1"}


def test_without_an_actor_nothing_is_committed(sessions: Any, engine: Engine) -> None:
    """A change that cannot be told must not be made."""
    with sessions() as session:
        session.add(Budget(label="a"))
        with pytest.raises(tallystick.ValidationError):
            session.commit()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM budget")).scalar() == 0


def test_lag(sessions: Any, engine: Engine, audit: tallystick.Audit, told: Any) -> None:
    """An outbox nobody empties must be visible before it is a problem."""
    with audit.context(actor=ADA), sessions() as session:
        session.add(Budget(label="a"))
        session.commit()
    with engine.connect() as connection:
        lag = OUTBOX.lag(connection)
        assert (lag.waiting, lag.refused) == (1, 0)
        assert 0 <= lag.oldest_age_seconds < 600
    told()
    with engine.connect() as connection:
        assert OUTBOX.lag(connection) == Lag(waiting=0, oldest_age_seconds=0.0, refused=0)


def test_several_relays_move_each_event_once(
    engine: Engine, sessions: Any, audit: tallystick.Audit, fake: Fake
) -> None:
    """Relays of many processes must neither wait for each other nor send anything twice."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    with audit.context(actor=ADA), sessions() as session:
        session.add_all([Budget(label=f"b{n}") for n in range(400)])
        session.commit()
    moved: list[int] = []

    def work() -> None:
        while True:
            number = relay(engine, OUTBOX, audit, rows_max=20)
            moved.append(number)
            if not number:
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while relay(engine, OUTBOX, audit):
        pass
    assert audit.flush(20)
    sent = [event["id"] for _, events in fake.calls for event in events]
    assert (sum(moved), len(sent), len(set(sent))) == (400, 400, 400)


def test_a_relay_without_a_server_is_refused(make_audit: Any, engine: Engine) -> None:
    """A relay that can never send must say so, and not look like one that has nothing to do."""
    with pytest.raises(Misconfigured):
        relay(engine, OUTBOX, make_audit(url=None, profile="memory"))


def test_triggers_see_what_passes_the_orm_by(request: Any, audit: tallystick.Audit, fake: Fake) -> None:
    """Raw SQL, a cascade and a human with psql must leave events too, with who it was and without secrets."""
    database: Database = request.getfixturevalue("empty_database")
    engine = create_engine(database.superuser.url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE child (id int PRIMARY KEY, budget_id int REFERENCES budget ON DELETE CASCADE)")
        )
        for statement in (
            *capture_table("budget", exclude=["note"]), *capture_table("child", type="line_item"),
            *capture_table("public.member", key=["team", "user"], type="membership"),
        ):  # fmt: skip
            connection.execute(text(statement.replace(":", "\\:")))
    made = sessionmaker(engine)
    tell_triggers(made)
    with audit.context(actor=ADA, workspace="w", request_id="r1"), made() as session:
        session.execute(
            text(
                "INSERT INTO budget (id, label, amount, note, password) VALUES (1, 'a', 1, 'n', 'hunter2hunter2'), (2, 'b', 2, 'n', null)"
            )
        )
        session.execute(text("INSERT INTO child VALUES (7, 1)"))
        session.execute(text("UPDATE budget SET amount = amount + 1 WHERE id = 2"))
        session.execute(text("UPDATE budget SET note = 'x'"))
        session.commit()
        session.execute(text("UPDATE budget SET amount = 99"))
        session.rollback()
    with engine.begin() as connection:  # nobody told who this is
        connection.execute(text("DELETE FROM budget WHERE id = 1"))
        connection.execute(text("INSERT INTO member VALUES ('t', 'u', 'admin')"))
    while relay(engine, OUTBOX, audit):
        pass
    engine.dispose()
    assert audit.flush(10)
    events = list(fake.stored.values())
    told = sorted((e["action"], e["targets"][0]["id"]) for e in events)
    assert told == [
        ("budget.create", "1"), ("budget.create", "2"), ("budget.delete", "1"), ("budget.update", "2"),
        ("line_item.create", "7"), ("line_item.delete", "7"), ("membership.create", "t,u"),
    ]  # fmt: skip
    by_action = {e["action"]: e for e in events}
    updated = by_action["budget.update"]
    assert (updated["before"]["amount"], updated["after"]["amount"]) == (2, 3)
    assert (updated["actor"], updated["workspace"]) == ({"type": "user", "id": "usr_1"}, "w")
    assert updated["context"]["request_id"] == "r1"
    assert by_action["budget.delete"]["actor"] == {"type": "service", "id": "postgresql:postgres"}
    assert "hunter2" not in str(events)
    assert "note" not in updated["after"]
