"""The one oracle: reads a whole log out of the database and checks all that must always hold.

It shares no SQL and no caches with what it checks, only the pure rooms. Call it after every step of a test that
touches a log; it fails with the first thing that is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any
from uuid import UUID

from tallystick.catalogue.describe import verb_of
from tallystick.event.model import OUTCOMES
from tallystick.event.projection import projection
from tallystick.event.unseal import unseal
from tallystick.merkle.checkpoint import open_checkpoint
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.proof import consistency_proof, verify_consistency
from tallystick.merkle.tile import reader_over, tiles_of_size
from tallystick.merkle.tree import Frontier, root_of
from tallystick.store.connect import EVERY, Pool, transaction

COUNTED = ("action", "workspace", "target_type", "stream", "outcome", "verb", "actor_type", "actor_ref")
PROJECTED = [
    "occurred_at",
    "received_at",
    "id",
    "actor_ref",
    "actor_type",
    "action",
    "outcome",
    "stream",
    "workspace",
    "target_type",
    "target_id",
    "more_targets",
    "ip",
    "request_id",
]


async def check_whole_log(pool: Pool, organization_id: UUID, verifier: VerifierKey) -> int:
    """Check everything about one log and return its size; an organization without a log has size 0."""
    tables = await _read(pool, organization_id)
    rows = tables["audit_logs"]
    removed = _check_removals(tables["removals"], rows)
    hashes = _hashes(rows, removed, tables["log_tiles"])
    _check_rows(rows, organization_id, verifier.name)
    _check_idempotency(tables["idempotency"], rows, removed)
    _check_head(tables["log_head"], rows, hashes, verifier)
    _check_tiles(tables["log_tiles"], hashes)
    _check_checkpoints(tables["log_checkpoints"], hashes, verifier)
    _check_months(tables["log_months"], rows)
    _check_counts(tables["terms"], tables["event_counts"], rows)
    _check_subjects(tables["subjects"], tables["subject_labels"], rows)
    _check_quarantine(tables["quarantine"], rows)
    return len(hashes)


async def check_tree(pool: Pool, organization_id: UUID, verifier: VerifierKey) -> int:
    """Check only the tree of a log too long to be sealed again in a test: positions, head, note and tiles."""
    tables = await _read(pool, organization_id, columns="position, received_at, leaf_hash")
    rows = tables["audit_logs"]
    assert [row["position"] for row in rows] == list(range(len(rows))), "positions are not dense"
    hashes = [row["leaf_hash"] for row in rows]
    _check_head(tables["log_head"], rows, hashes, verifier)
    _check_tiles(tables["log_tiles"], hashes)
    return len(rows)


async def _read(pool: Pool, organization_id: UUID, *, columns: str = "*") -> dict[str, list[Any]]:
    orders = {
        "audit_logs": "position, received_at",
        "idempotency": "position, id",
        "log_head": "organization_id",
        "log_tiles": "level, index",
        "log_checkpoints": "size, signed_at",
        "log_months": "month",
        "terms": "kind, value",
        "event_counts": "hour",
        "subjects": "ref",
        "subject_labels": "ref, label",
        "quarantine": "position",
        "removals": "position",
    }
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return {
            table: await connection.fetch(
                f"SELECT {columns if table == 'audit_logs' else '*'} FROM {table} "
                f"WHERE organization_id = $1 ORDER BY {order}",
                organization_id,
            )
            for table, order in orders.items()
        }


def _ranges(pairs: Any) -> set[int]:
    return {position for first, count in pairs for position in range(first, first + count)}


def _check_removals(removals: list[Any], rows: list[Any]) -> set[int]:
    """Each removal is told by its event, each erased value by one; return the positions that are gone."""
    by_position = {row["position"]: row for row in rows}
    removed: set[int] = set()
    told: set[tuple[int, str]] = set()
    seen: set[UUID] = set()
    for one in removals:
        record = by_position[one["position"]]
        stated = {at for part in one["positions"] for at in range(part.lower, part.upper)}
        metadata = json.loads(record["opening"])["metadata"]
        action = "retention.pruned" if one["kind"] == "retention" else "privacy.erased"
        assert (record["action"], record["stream"]) == (action, "tallystick"), "a removal without its event"
        if one["kind"] == "retention":
            assert record["id"] == one["id"]
            in_event = set().union(*(_ranges(part["positions"]) for part in metadata["parts"]))
        elif one["kind"] == "erasure":
            in_event = _ranges(metadata["removed"])
        else:
            in_event = set().union(*(_ranges(part["positions"]) for part in metadata["fields"]))
            told |= {
                (at, path)
                for part in metadata["fields"]
                for at in _ranges(part["positions"])
                for path in part["paths"]
            }
        assert stated == in_event, "a removal and its event name different positions"
        assert max(stated) < one["position"], "a removal of what comes after it"
        assert one["kind"] == "fields" or not removed & stated, "removed twice"
        removed |= stated if one["kind"] != "fields" else set()
        seen.add(one["id"])
    assert not removed & by_position.keys(), "an event is here that was removed"
    erased = {
        (row["position"], path) for row in rows for path in json.loads(row["opening"]).get("$erased", {})
    }
    assert erased == {(at, path) for at, path in told if at not in removed}, (
        "values are erased that no event tells of"
    )
    return removed


def _hashes(rows: list[Any], removed: set[int], tiles: list[Any]) -> list[bytes]:
    """Return every leaf hash: of rows their own, of removed ones what the tiles keep."""
    lowest = {row["index"]: row["hashes"] for row in tiles if row["level"] == 0}
    found = {row["position"]: row["leaf_hash"] for row in rows}
    found |= {at: lowest[at // 256][at % 256 * 32 :][:32] for at in removed}
    assert sorted(found) == list(range(len(found))), "positions are not dense"
    return [found[at] for at in range(len(found))]


def _check_rows(rows: list[Any], organization_id: UUID, origin: str) -> None:
    before = None
    for row in rows:
        where = f"position {row['position']}"
        leaf = row["leaf"]
        assert hashlib.sha256(b"\0" + leaf).digest() == row["leaf_hash"], (
            f"{where}: leaf and leaf_hash differ"
        )
        unseal(leaf, row["opening"], row["seed"])
        assert json.loads(leaf)["origin"] == origin, f"{where}: the leaf is of another log"
        found = projection(leaf, row["opening"])
        for column in PROJECTED:
            expected, stored = getattr(found, column), row[column]
            stored = tuple(stored) if column == "more_targets" else stored
            assert stored == expected, f"{where}: column {column} is {stored!r}, the leaf says {expected!r}"
        assert row["verb"] == verb_of(row["action"]), f"{where}: verb"
        assert before is None or row["received_at"] >= before, f"{where}: received_at goes backwards"
        before = row["received_at"]


def _check_idempotency(known: list[Any], rows: list[Any], removed: set[int]) -> None:
    stored = [(row["id"], row["position"], row["received_at"]) for row in rows]
    left = [one for one in known if one["position"] not in removed]
    assert [(one["id"], one["position"], one["received_at"]) for one in left] == stored, (
        "idempotency is not exact"
    )
    assert len({row["id"] for row in rows}) == len(rows), "an id stands twice in the log"


def _check_head(heads: list[Any], rows: list[Any], hashes: list[bytes], verifier: VerifierKey) -> None:
    if not heads:
        assert not rows, "rows without a head"
        return
    (head,) = heads
    expected = Frontier().extend(hashes)
    assert head["size"] == len(hashes), f"the head says {head['size']}, there are {len(hashes)} events"
    assert head["frontier"] == b"".join(expected.nodes), "the frontier is not that of the rows"
    if rows:
        assert head["last_received_at"] == rows[-1]["received_at"], (
            "the head's last stamp is not the last row's"
        )
    if head["note"] or rows:
        signed = open_checkpoint(head["note"], [verifier], origin=verifier.name).checkpoint
        assert (signed.size, signed.root) == (len(hashes), expected.root()), "the note is not of this log"


def _check_tiles(tiles: list[Any], hashes: list[bytes]) -> None:
    expected = {(tile.level, tile.index) for tile in tiles_of_size(len(hashes)) if tile.width == 256}
    stored = {(row["level"], row["index"]): row["hashes"] for row in tiles}
    assert stored.keys() == expected, f"tiles differ: {stored.keys() ^ expected}"
    for (level, index), found in stored.items():
        span = 256**level
        first = index * 256 * span
        nodes = [root_of(hashes[first + at * span : first + (at + 1) * span]) for at in range(256)]
        assert found == b"".join(nodes), f"tile {index} of level {level} is wrong"


def _check_checkpoints(kept: list[Any], hashes: list[bytes], verifier: VerifierKey) -> None:
    for row in kept:
        signed = open_checkpoint(row["note"], [verifier], origin=verifier.name).checkpoint
        assert signed.size == row["size"] <= len(hashes), "a retained checkpoint is beyond the log"
        assert signed.root == root_of(hashes[: signed.size]), (
            f"the checkpoint of {signed.size} is of another history"
        )


def _check_months(months: list[Any], rows: list[Any]) -> None:
    # Of removed events nothing says when they were received: each month's mark must only part those that are left.
    marks = sorted((row["month"], row["first_position"]) for row in months)
    assert marks == sorted(marks, key=lambda mark: mark[1]), "the months' marks go back"
    for row in rows:
        month = row["received_at"].replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        assert max(mark for mark in marks if mark[1] <= row["position"])[0] == month, "log_months is wrong"


def _check_counts(terms: list[Any], hours: list[Any], rows: list[Any]) -> None:
    counted = Counter((kind, str(row[kind])) for row in rows for kind in COUNTED)
    assert {(row["kind"], row["value"]): row["events"] for row in terms} == dict(counted), (
        "terms are not exact"
    )
    by_hour = Counter(
        (row["occurred_at"].replace(minute=0, second=0, microsecond=0), row["outcome"]) for row in rows
    )
    stored = {(row["hour"], outcome): row[outcome] for row in hours for outcome in OUTCOMES if row[outcome]}
    assert stored == dict(by_hour), "hours are not exact"
    assert len({hour for hour, _ in stored}) == len(hours), "an hour without any event"


def _check_subjects(subjects: list[Any], labels: list[Any], rows: list[Any]) -> None:
    known = {row["ref"]: row for row in subjects}
    label_set = {(row["ref"], row["label"]) for row in labels}
    assert len(label_set) == len(labels), "a label stands twice"
    assert {row["ref"] for row in labels} <= known.keys(), "a label of nobody"
    for row in rows:
        opening = json.loads(row["opening"])
        if "actor/id" in opening.get("$erased", {}):
            continue
        ref = row["actor_ref"]
        actor_id = opening.get("actor/id", "")
        assert known[ref]["type"] == row["actor_type"], (
            f"position {row['position']}: the directory has another type"
        )
        assert known[ref]["id"] == actor_id, f"position {row['position']}: the directory has another actor"
        for text in (actor_id, opening.get("actor/name"), opening.get("actor/email")):
            assert not text or (ref, text.lower()) in label_set, f"label {text!r} is not searchable"


def _check_quarantine(held: list[Any], rows: list[Any]) -> None:
    actions = {row["position"]: row["action"] for row in rows}
    for row in held:
        assert actions[row["position"]] == row["action"], "quarantine points at another event"


def check_consistent(hashes: list[bytes], old: int, old_root: bytes, new: int, new_root: bytes) -> None:
    """Fail unless a checkpoint handed out earlier is a prefix of a later one of the same log."""
    tiles = []
    for tile in tiles_of_size(new):
        span = 256**tile.level
        first = tile.index * 256 * span
        nodes = [root_of(hashes[first + at * span : first + (at + 1) * span]) for at in range(tile.width)]
        tiles.append((tile, b"".join(nodes)))
    verify_consistency(old, new, consistency_proof(old, new, reader_over(new, tiles)), old_root, new_root)
