"""The trigger pack: whatever changes a watched table, by whatever statement, is told once and in its transaction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from postgres import Database
from tallystick.client.trigger_pack import SETTING, capture_table, mark, release_table
from tallystick.errors import Misconfigured
from tallystick.outbox import Outbox

Ledger = dict[tuple[str, str], Any]


@pytest.fixture
def connection(empty_database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database.superuser.url, autocommit=True) as made:
        made.execute(Outbox().create())
        made.execute("CREATE TABLE team (id int PRIMARY KEY, label text)")
        made.execute(
            "CREATE TABLE budget (id int PRIMARY KEY, label text, amount numeric, note text, "
            "team int REFERENCES team ON DELETE CASCADE, owner int REFERENCES team ON DELETE SET NULL)"
        )
        made.execute(
            'CREATE TABLE "Member" ("Team" text, "user" text, role text, PRIMARY KEY ("Team", "user"))'
        )
        for statement in (
            *capture_table("budget", exclude=["note"]), *capture_table("team"),
            *capture_table("Member", key=["Team", "user"], type="membership"),
        ):  # fmt: skip
            made.execute(statement)
        yield made


def told(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return the events that wait, and take them."""
    rows = connection.execute("DELETE FROM audit_outbox RETURNING seq, event").fetchall()
    return [json.loads(event) for _, event in sorted(rows)]


def short(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((event["action"], event["targets"][0]["id"]) for event in events)


def replay(events: list[dict[str, Any]], ledger: Ledger) -> None:
    """Keep the ledger from events; those of one statement say nothing of each other's order."""
    for event in events:
        place = (event["targets"][0]["type"], event["targets"][0]["id"])
        assert ledger.get(place) == event.get("before"), event
    for event in events:
        place = (event["targets"][0]["type"], event["targets"][0]["id"])
        if "after" in event:
            ledger[place] = event["after"]
        else:
            del ledger[place]


def held(connection: psycopg.Connection) -> Ledger:
    rows = connection.execute(
        "SELECT 'budget', id::text, to_jsonb(budget) - 'note' FROM budget UNION ALL SELECT 'team', id::text, to_jsonb(team) "
        """FROM team UNION ALL SELECT 'membership', "Team" || ',' || "user", to_jsonb("Member") FROM "Member" """
    ).fetchall()
    return {(kind, id): row for kind, id, row in rows}


STATEMENTS = (
    ("INSERT INTO team SELECT n, 't' || n FROM generate_series(1, 5) n", 5),
    ("INSERT INTO budget (id, label, amount, team, owner) SELECT n, 'b' || n, n, 1 + n % 4, 5 FROM generate_series(1, 20) n", 20),
    ("UPDATE budget SET amount = amount * 2 WHERE id > 10", 10),
    ("UPDATE budget SET amount = amount", 0),
    ("UPDATE budget SET note = 'x'", 0),
    ("UPDATE budget SET amount = 0 WHERE false", 0),
    ("INSERT INTO budget (id, label) VALUES (1, 'up'), (21, 'new') ON CONFLICT (id) DO UPDATE SET label = excluded.label", 2),
    ("INSERT INTO budget (id, label) VALUES (1, 'no'), (22, 'new') ON CONFLICT DO NOTHING", 1),
    ("UPDATE budget SET id = id + 100 WHERE id = 22", 2),
    ("UPDATE budget SET id = -id WHERE id IN (1, 2)", 4),
    ("DELETE FROM budget WHERE id IN (3, 4, 5)", 3),
    ("DELETE FROM team WHERE id = 2", 5),  # and the four left of its budgets
    ("MERGE INTO team USING (VALUES (1, 'm'), (9, 'n')) AS s (id, label) ON team.id = s.id "
     "WHEN MATCHED THEN UPDATE SET label = s.label WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.label)", 2),
    ("WITH gone AS (DELETE FROM budget WHERE id > 19 RETURNING *) INSERT INTO team SELECT id + 1000, label FROM gone", 6),
    ("""INSERT INTO "Member" VALUES ('a', 'u', 'x'), ('b', 'v', 'y')""", 2),
    ("""UPDATE "Member" SET role = 'z' WHERE "user" = 'v'""", 1),
    ("ALTER TABLE team ADD COLUMN colour text", 0),
    ("UPDATE team SET colour = 'red' WHERE id = 1", 1),
)  # fmt: skip


def test_every_kind_of_statement(connection: Any) -> None:
    """The ledger that the events keep must be the tables after each statement, with one event a changed row."""
    ledger: Ledger = {}
    for sql, number in STATEMENTS:
        connection.execute(sql)
        events = told(connection)
        assert len(events) == number, sql
        replay(events, ledger)
        if sql.startswith("ALTER"):
            ledger |= {place: {**row, "colour": None} for place, row in ledger.items() if place[0] == "team"}
        assert ledger == held(connection), sql
    with connection.cursor() as cursor, cursor.copy("COPY team (id, label) FROM STDIN") as copy:
        for n in range(500, 520):
            copy.write_row((n, f"c{n}"))
    replay(told(connection), ledger)
    connection.execute("UPDATE budget SET owner = 500 WHERE id < 10")
    replay(told(connection), ledger)
    connection.execute("DELETE FROM team WHERE id = 500")  # sets the owners to null
    events = told(connection)
    assert {event["action"] for event in events} == {"team.delete", "budget.update"}
    replay(events, ledger)
    connection.execute("TRUNCATE team CASCADE")
    replay(told(connection), ledger)
    assert ledger == held(connection)
    assert {kind for kind, _ in ledger} == {"membership"}


def test_rolled_back_is_not_told(connection: Any) -> None:
    """What was undone, whole or to a savepoint, must not be told."""
    with connection.transaction():
        connection.execute("INSERT INTO team VALUES (1, 'a')")
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute("INSERT INTO team VALUES (2, 'b'), (1, 'c')")
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO team VALUES (3, 'd')")
    assert short(told(connection)) == [("team.create", "1")]


def test_who_and_within_what(connection: Any) -> None:
    """The context of the transaction must be in its events, cascades included, and in nobody else's."""
    said = {"actor": {"type": "user", "id": "ada"}, "workspace": "w", "context": {"request_id": "r1"}}
    with connection.transaction():
        connection.execute("SELECT set_config(%s, %s, true)", (SETTING, json.dumps(said)))
        connection.execute("INSERT INTO team VALUES (1, 'a')")
        connection.execute("INSERT INTO budget (id, team) VALUES (1, 1)")
        connection.execute("DELETE FROM team")
    connection.execute("INSERT INTO team VALUES (2, 'b')")
    *mine, other = told(connection)
    assert len(mine) == 4
    for event in mine:
        assert (event["actor"], event["workspace"], event["context"]) == (
            said["actor"],
            "w",
            {"request_id": "r1"},
        )
    assert other["actor"] == {"type": "service", "id": "postgresql:postgres"}
    assert "workspace" not in other


def test_the_mark_of_an_orm(connection: Any) -> None:
    """A marked statement is somebody else's to tell; what it causes elsewhere, and what comes after it, is not."""
    connection.execute("INSERT INTO team VALUES (1, 'a'), (2, 'b')")
    connection.execute("INSERT INTO budget (id, team) VALUES (1, 1)")
    told(connection)
    with connection.transaction():
        connection.execute(f"{mark('team')}UPDATE team SET label = 'x'")
        connection.execute("UPDATE team SET label = 'y' WHERE id = 2")
        connection.execute(f"{mark('team')}UPDATE budget SET label = 'x'")  # another table's mark
        connection.execute(
            f"{mark('team')}DELETE FROM team WHERE id = 1"
        )  # and its budget, which nobody else tells
    assert short(told(connection)) == [("budget.delete", "1"), ("budget.update", "1"), ("team.update", "2")]
    connection.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE team SET label = now()::text; UPDATE budget SET label = ''x''; RETURN NULL; END'"
    )
    connection.execute("CREATE TRIGGER touch AFTER INSERT ON budget FOR EACH ROW EXECUTE FUNCTION touch()")
    connection.execute(f"{mark('budget')}INSERT INTO budget (id) VALUES (7)")
    assert short(told(connection)) == [("budget.update", "7"), ("team.update", "2")]


def test_a_marked_statement_that_cascades_into_its_own_table(connection: Any) -> None:
    """Rows of the same table that only the database takes along are told by nobody but the triggers."""
    connection.execute("CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node ON DELETE CASCADE)")
    for statement in capture_table("node"):
        connection.execute(statement)
    connection.execute("INSERT INTO node VALUES (1, null), (2, 1), (3, 2)")
    told(connection)
    connection.execute(f"{mark('node')}DELETE FROM node WHERE id = 1")
    assert short(told(connection)) == [
        ("node.delete", n) for n in "123"
    ]  # the first one twice, for an ORM tells it


def test_roles_that_may_not_write_the_outbox(connection: Any, empty_database: Database) -> None:
    """A role without rights on the outbox must be told all the same, or not be able to change anything."""
    connection.execute("CREATE ROLE plain_clerk LOGIN")
    try:
        connection.execute("GRANT ALL ON team, budget TO plain_clerk")
        for statement in capture_table("public.team", outbox="public.audit_outbox", definer=True):
            connection.execute(statement)
        connection.execute("SET ROLE plain_clerk")
        connection.execute("INSERT INTO team VALUES (1, 'a')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO budget (id) VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO audit_outbox (id, event) VALUES ('x', '')")
        connection.execute("RESET ROLE")
        assert short(told(connection)) == [("team.create", "1")]
        assert connection.execute("SELECT count(*) FROM budget").fetchone() == (0,)
    finally:
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY plain_clerk")
        connection.execute("DROP ROLE plain_clerk")


def test_again_and_away(connection: Any) -> None:
    """A migration may be repeated, and undone."""
    for statement in capture_table("team", type="crew"):
        connection.execute(statement)
    connection.execute("INSERT INTO team VALUES (1, 'a')")
    assert short(told(connection)) == [("crew.create", "1")]
    for statement in release_table("team"):
        connection.execute(statement)
    connection.execute("INSERT INTO team VALUES (2, 'b')")
    assert told(connection) == []


def test_long_names(connection: Any) -> None:
    """Two tables whose long names begin alike must not share a function."""
    names = ["x" * 62 + end for end in "ab"]
    for name in names:
        connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
        for statement in capture_table(name, type=name[-3:]):
            connection.execute(statement)
    for name in names:
        connection.execute(f"INSERT INTO {name} VALUES (1)")
    assert short(told(connection)) == [("xxa.create", "1"), ("xxb.create", "1")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"table": "budget; DROP TABLE x"}, {"table": "b", "key": ["id'"]}, {"table": "b", "type": "a'b"},
        {"table": "b", "key": []}, {"table": "b", "exclude": ['x"']}, {"table": "b", "outbox": "a b"},
        {"table": "b", "definer": True},
    ],
)  # fmt: skip
def test_names_that_are_none(wrong: dict[str, Any]) -> None:
    """A migration must never hold SQL that somebody wrote into a name."""
    with pytest.raises(Misconfigured):
        capture_table(**wrong)


def test_the_command(connection: Any) -> None:
    """What the command prints must be SQL that works as it stands, there and back."""
    words = [
        sys.executable,
        "-c",
        "from tallystick.cli import main; main()",
        "outbox",
        "triggers",
        "--table",
        "team",
        "--type",
        "squad",
    ]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    for more, found in (([], [("squad.create", "1")]), (["--remove"], [])):
        printed = subprocess.run([*words, *more], capture_output=True, text=True, timeout=60, env=clean)
        assert printed.returncode == 0, printed.stderr
        connection.execute(printed.stdout)
        connection.execute("DELETE FROM team")
        connection.execute("DELETE FROM audit_outbox")
        connection.execute("INSERT INTO team VALUES (1, 'a')")
        assert short(told(connection)) == found
