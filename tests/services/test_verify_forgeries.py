"""A live database and its dump, edited by a superuser: every edit is found both ways."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable

import pytest

from services.appending import LOG, OTHER_LOG
from services.verifying import EVENTS, Scene
from services.verifying import scene as scene

REPETITIONS = int(
    os.environ.get("FORGERY_REPETITIONS", "1")
)  # of each edit; dumps are edited 40 times as text in test_verify_dump

Forgery = Callable[[Scene, random.Random], Awaitable[None]]


def at_random(statement: str) -> Forgery:
    """Return the forgery that runs `statement`, with $1 = our log and $2 = a position."""

    async def run(scene: Scene, rng: random.Random) -> None:
        arguments = [LOG, rng.randrange(EVENTS)] if "$2" in statement else [LOG]
        await scene.superuser.execute(statement, *arguments)

    return run


def change_column(column: str, value: str) -> Forgery:
    return at_random(f"UPDATE audit_logs SET {column} = {value} WHERE organization_id = $1 AND position = $2")


async def swap_rows(scene: Scene, rng: random.Random) -> None:
    first, second = rng.sample(range(EVENTS), 2)
    await scene.superuser.execute(
        """UPDATE audit_logs SET position = CASE position WHEN $2 THEN $3::bigint ELSE $2::bigint END
           WHERE organization_id = $1 AND position IN ($2, $3)""",
        LOG, first, second,
    )  # fmt: skip


async def delete_and_renumber(scene: Scene, rng: random.Random) -> None:
    position = rng.randrange(EVENTS)
    for table in ("audit_logs", "idempotency"):
        await scene.superuser.execute(
            f"DELETE FROM {table} WHERE organization_id = $1 AND position = $2", LOG, position
        )
        await scene.superuser.execute(
            f"UPDATE {table} SET position = position - 1 WHERE organization_id = $1 AND position > $2",
            LOG,
            position,
        )
    await scene.superuser.execute("UPDATE log_head SET size = size - 1 WHERE organization_id = $1", LOG)


ROW = "WHERE organization_id = $1 AND position = $2"
FORGERIES: dict[str, Forgery] = {
    "flip a byte of a leaf": change_column("leaf", "set_byte(leaf, (position % 100)::int, get_byte(leaf, (position % 100)::int) # 1)"),
    "flip a byte of an opening": change_column("opening", "set_byte(opening, (position % 60)::int, get_byte(opening, (position % 60)::int) # 1)"),
    "flip a byte of a leaf and hash it again": at_random(
        f"UPDATE audit_logs SET leaf = set_byte(leaf, 20, get_byte(leaf, 20) # 1), leaf_hash = sha256('\\x00'::bytea || set_byte(leaf, 20, get_byte(leaf, 20) # 1)) {ROW}"
    ),
    "change the hash": change_column("leaf_hash", "set_byte(leaf_hash, 3, get_byte(leaf_hash, 3) # 4)"),
    "change the seed": change_column("seed", "set_byte(seed, 3, get_byte(seed, 3) # 4)"),
    "change a sealed value": change_column("opening", "replace(convert_from(opening, 'UTF8'), 'Person ', 'Persona')::bytea"),
    "take another row's opening": change_column(
        "opening", "(SELECT o.opening FROM audit_logs o WHERE o.organization_id = $1 AND o.position = ($2 + 1) % 600)"
    ),
    "back-date": change_column("occurred_at", "occurred_at - interval '1 year'"),
    "change received_at": change_column("received_at", "received_at + interval '1 second'"),
    "change the id": change_column("id", "gen_random_uuid()"),
    "change the actor": change_column("actor_ref", "gen_random_uuid()"),
    "change the actor's type": change_column("actor_type", "'service'"),
    "change the action": change_column("action", "'harmless.read'"),
    "change the verb": change_column("verb", "'delete'"),
    "change the outcome": change_column("outcome", "'unknown'"),
    "change the stream": change_column("stream", "'elsewhere'"),
    "change the workspace": change_column("workspace", "'elsewhere'"),
    "change the target's type": change_column("target_type", "'elsewhere'"),
    "change the target's id": change_column("target_id", "'elsewhere'"),
    "change other targets": change_column("more_targets", "'{}'"),
    "change the ip": change_column("ip", "''"),
    "change the request id": change_column("request_id", "''"),
    "delete a row": at_random(f"DELETE FROM audit_logs {ROW}"),
    "delete a row and its id": at_random(
        "WITH gone AS (DELETE FROM idempotency WHERE organization_id = $1 AND position = $2) "
        "DELETE FROM audit_logs WHERE organization_id = $1 AND position = $2"
    ),
    "delete and renumber": delete_and_renumber,
    "insert a copy at the end": at_random(
        "INSERT INTO audit_logs SELECT organization_id, received_at, occurred_at, 600, gen_random_uuid(), actor_ref, actor_type, "
        "action, verb, outcome, stream, workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, leaf, "
        f"opening FROM audit_logs {ROW}"
    ),
    "insert a second row at a position": at_random(
        "INSERT INTO audit_logs SELECT organization_id, received_at + interval '1 microsecond', occurred_at, position, id, actor_ref, "
        "actor_type, action, verb, outcome, stream, workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, "
        f"leaf, opening FROM audit_logs {ROW}"
    ),
    "move a row into another log": at_random(
        f"UPDATE audit_logs SET organization_id = '{OTHER_LOG}', position = 3 {ROW}"
    ),
    "swap two rows": swap_rows,
    "shrink the head": at_random("UPDATE log_head SET size = size - 1 WHERE organization_id = $1"),
    "put back an older head": at_random(
        "UPDATE log_head SET size = 1, frontier = (SELECT leaf_hash FROM audit_logs WHERE organization_id = $1 AND position = 0) "
        "WHERE organization_id = $1"
    ),
    "change the frontier": at_random(
        "UPDATE log_head SET frontier = set_byte(frontier, 9, get_byte(frontier, 9) # 1) WHERE organization_id = $1"
    ),
    "change the note": at_random("UPDATE log_head SET note = replace(note, E'\\n600\\n', E'\\n601\\n') WHERE organization_id = $1"),
    "empty the note": at_random("UPDATE log_head SET note = '' WHERE organization_id = $1"),
    "change the last stamp": at_random(
        "UPDATE log_head SET last_received_at = last_received_at + interval '1 hour' WHERE organization_id = $1"
    ),
    "delete the head": at_random("DELETE FROM log_head WHERE organization_id = $1"),
    "edit a tile": at_random("UPDATE log_tiles SET hashes = set_byte(hashes, 4000, get_byte(hashes, 4000) # 1) WHERE organization_id = $1 AND index = 1"),
    "append bytes to a tile": at_random("UPDATE log_tiles SET hashes = hashes || '\\x00' WHERE organization_id = $1 AND index = 0"),
    "delete a tile": at_random("DELETE FROM log_tiles WHERE organization_id = $1 AND index = 1"),
    "add a tile": at_random("INSERT INTO log_tiles SELECT organization_id, 0, 2, hashes FROM log_tiles WHERE organization_id = $1 AND index = 1"),
    "delete an id": at_random("DELETE FROM idempotency WHERE organization_id = $1 AND position = $2"),
    "change an id": at_random("UPDATE idempotency SET id = gen_random_uuid() WHERE organization_id = $1 AND position = $2"),
    "point an id elsewhere": at_random("UPDATE idempotency SET position = ($2 + 7) % 600 WHERE organization_id = $1 AND position = $2"),
    "add an id": at_random("INSERT INTO idempotency VALUES ($1, gen_random_uuid(), $2, now())"),
    "add an id beyond the log": at_random("INSERT INTO idempotency VALUES ($1, gen_random_uuid(), 600 + $2, now())"),
    "change a retained checkpoint": at_random(
        "UPDATE log_checkpoints SET note = replace(note, E'\\n1', E'\\n2'), size = size + 100 WHERE organization_id = $1 AND size = 100"
    ),
    "take another checkpoint's note": at_random(
        "UPDATE log_checkpoints SET note = (SELECT note FROM log_checkpoints WHERE organization_id = $1 AND size = 300) "
        "WHERE organization_id = $1 AND size = 100"
    ),
    "change a month": at_random("UPDATE log_months SET first_position = first_position + 1 WHERE organization_id = $1"),
    "delete a month": at_random("DELETE FROM log_months WHERE organization_id = $1 AND first_position > 0"),
    "delete a term": at_random("DELETE FROM terms WHERE organization_id = $1 AND kind = 'action' AND value = 'login'"),
    "change a count": at_random("UPDATE terms SET events = events - 1 WHERE organization_id = $1 AND kind = 'outcome' AND value = 'denied'"),
    "change an hour": at_random("UPDATE event_counts SET denied = denied - 1 WHERE organization_id = $1 AND denied > 0"),
    "change who someone is": at_random("UPDATE subjects SET id = 'somebody else' WHERE organization_id = $1 AND id = 'user-3'"),
    "delete a subject": at_random("DELETE FROM subjects WHERE organization_id = $1 AND id = 'user-3'"),
    "delete a label": at_random("DELETE FROM subject_labels WHERE organization_id = $1 AND label = 'person 4'"),
    "change a label": at_random("UPDATE subject_labels SET label = 'nobody' WHERE organization_id = $1 AND label LIKE 'person5@%'"),
}  # fmt: skip


TABLES = (
    "audit_logs", "idempotency", "log_head", "log_tiles", "log_checkpoints", "log_months", "terms", "event_counts",
    "subjects", "subject_labels",
)  # fmt: skip


async def back_up(scene: Scene) -> None:
    for table in TABLES:
        await scene.superuser.execute(f"CREATE TABLE backup.{table} AS TABLE public.{table}")


async def restore(scene: Scene) -> None:
    for table in TABLES:
        await scene.superuser.execute(
            f"TRUNCATE public.{table}; INSERT INTO public.{table} TABLE backup.{table}"
        )


@pytest.mark.parametrize("part", range(4))
async def test_every_edit_by_a_superuser_is_found(part: int, scene: Scene) -> None:
    """Whatever a superuser changes in the rows, the tree, the head, the ids or the dictionaries is found both ways."""
    await scene.allow_edits()
    await scene.superuser.execute("CREATE SCHEMA backup")
    await back_up(scene)
    missed = []
    for name in list(FORGERIES)[part::4]:
        for repetition in range(REPETITIONS):
            await FORGERIES[name](scene, random.Random(f"{name} {repetition}"))
            if (codes := (scene_live := await scene.live()).exit_code, scene.dumped().exit_code) != (1, 1):
                missed.append((name, repetition, codes, scene_live))
            await restore(scene)
    assert missed == []
    assert ((await scene.live()).exit_code, scene.dumped().exit_code) == (0, 0)
