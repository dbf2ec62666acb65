"""The statements of a search leave PostgreSQL one good plan, whatever it believes about the data."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from postgres import Database
from tallystick.store.rows import PROBE_SETTINGS, SCAN_SETTINGS, SETTINGS, statement_for

LOG = UUID("019b4ef2-0000-7000-8000-000000000001")
ASKED = frozenset({"fits_actions", "fits_outcomes", "fits_persons", "of_ref_persons"})
ONE_SLOT, THREE_SLOTS = frozenset({"hit_slot1"}), frozenset({"hit_slot1", "hit_slot2", "hit_slot3"})


@pytest.fixture(params=["empty", "small", "filled"])
def months(request: pytest.FixtureRequest, database: Database) -> Database:
    """A database with two months, with no row, a few rows or many, analyzed."""
    rows = {"empty": 0, "small": 50, "filled": 5_000}[request.param]
    with psycopg.connect(database.superuser.url, autocommit=True) as connection:
        for month in (10, 11):
            start = datetime(2026, month, 1, tzinfo=UTC)
            connection.execute("SELECT ensure_audit_logs_month(%s)", [start])
            connection.execute(
                """INSERT INTO audit_logs (organization_id, received_at, occurred_at, position, id, actor_ref, actor_type,
                    action, verb, outcome, stream, workspace, target_type, target_id, ip, request_id, leaf_hash, seed,
                    leaf, opening)
                SELECT %(log)s, %(start)s + n * interval '1 minute', %(start)s + n * interval '1 minute',
                    n + %(month)s * 100000, gen_random_uuid(), md5((n %% 50)::text)::uuid, 'user', 'a' || n %% 30, 'read',
                    'success', 'platform', '', 't', 'x' || n, '', 'r' || n, sha256('\\x0000'::bytea), 's', '\\x00', '{}'
                FROM generate_series(1, %(rows)s) n""",
                {"start": start, "month": month, "rows": rows, "log": LOG},
            )
        connection.execute("ANALYZE audit_logs")
    return database


def plan(
    database: Database, name: str, asked: frozenset[str], settings: str, long: frozenset[str] = frozenset()
) -> str:
    """Return the generic plan of a statement under its settings."""
    # As the role that searches: a superuser has no policies, which are what decides about indexes.
    with psycopg.connect(database.logins.reader.url, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(f"SET LOCAL tallystick.organization = '{LOG}'; {SETTINGS}; {settings}")
        text = statement_for(name, asked, long).text
        return "\n".join(
            row[0] for row in connection.execute(f"EXPLAIN (GENERIC_PLAN) {text}", prepare=False)
        )


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_scan_walks_the_time_index_in_order(months: Database, order: str) -> None:
    """A page of the newest events that sorts the whole log, or reads a table from end to end."""
    found = plan(months, f"scan_{order}", ASKED, SCAN_SETTINGS)
    assert found.count("occurred_at_position_idx") == 2
    assert "Merge Append" in found
    assert "Sort  (" not in found
    assert "Seq Scan" not in found.replace("Function Scan", "")


@pytest.mark.parametrize("slots", [ONE_SLOT, THREE_SLOTS])
@pytest.mark.parametrize(
    "name", ["probe_newest", "probe_oldest", "count_probed", "histogram_probed", "facets_probed"]
)
def test_a_probe_reads_the_facet_index_and_no_other(
    months: Database, name: str, slots: frozenset[str]
) -> None:
    """A probe that also reads every entry of the primary key or the time index, which took seconds at ten million."""
    found = plan(months, name, ASKED | slots, PROBE_SETTINGS)
    # What is found is fetched row by row along one of the other two, which is all they may be used for.
    fetched = 2 if name.startswith("probe") else 0
    assert found.count("Bitmap Index Scan on audit_logs_2026_") == 2 + fetched
    assert found.count("audit_facets_idx") == 2
    whole = (
        "Index Cond: ((organization_id = $1)",
        '"position" = audit_logs."position"',
        "ed_at = audit_logs.",
    )
    one_row = [line for line in found.splitlines() if all(part in line for part in whole)]
    assert len(one_row) == fetched == found.count("pkey") + found.count("occurred_at_position_idx")
    assert "BitmapAnd" not in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize(
    ("name", "settings"),
    [("scan_newest", SCAN_SETTINGS), ("probe_newest", PROBE_SETTINGS), ("count_probed", PROBE_SETTINGS)],
)
def test_long_lists_are_looked_up_by_hash(months: Database, name: str, settings: str) -> None:
    """Each row of thousands is compared with each of hundreds of persons, or the list is joined in another order."""
    long = frozenset({"actions", "persons_refs", "not_refs"})
    asked = ASKED | ONE_SLOT | {"fits_not_refs"}
    found = plan(months, name, asked, settings, long)
    assert found.count("hashed SubPlan") >= 3
    assert "Join" not in found.replace("Nested Loop", "")
    assert (
        "audit_facets_idx"
        if name.endswith("probed") or name.startswith("probe")
        else "occurred_at_position_idx"
    ) in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize("name", ["count_scanned", "histogram_scanned", "facets_scanned"])
def test_counting_by_time_walks_the_time_index(months: Database, name: str) -> None:
    """A count of one hour that reads the whole month."""
    found = plan(months, name, ASKED, SCAN_SETTINGS)
    assert found.count("occurred_at_position_idx") == 2
    assert "Sort  (" not in found
    assert "Seq Scan" not in found
