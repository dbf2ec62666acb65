"""A forger with a text editor and patience: edits an export and puts counts and SHA-256 right again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import msgspec

from tallystick.event.render import render
from tallystick.formats.jsonl import ExportRow
from tallystick.verify.layout import bare_line

from .peer import PeerLog, digest_of, make_event, url64

Lines = list[Any]


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def forged(export: bytes, edit: Callable[[Lines], None], *, careful: bool = True) -> bytes:
    """Decode an export, let `edit` change its lines (header first, trailer last), and write it again.

    A careful forger recounts and hashes anew; a careless one leaves the trailer as it was.
    """
    raw = export.split(b"\n")[:-1]
    lines = [msgspec.json.decode(line) for line in raw]
    before = [encoded(line) for line in lines]
    assert before[0] == raw[0]
    if is_proof := lines[0]["format"] == "tallystick-proof":
        show(lines)
    edit(lines)
    if is_proof:
        for line in lines:
            line.pop("event", None)
    if careful:
        body = lines[1:-1]
        lines[-1]["events"] = sum("leaf" in line for line in body)
        lines[-1]["bare"] = sum(line.get("count", 0) for line in body)
        lines[-1]["header_sha256"] = hashlib.sha256(encoded(lines[0]) + b"\n").hexdigest()
    return b"".join(encoded(line) + b"\n" for line in lines)


def show(lines: Lines) -> None:
    """Give each event of a proof the readable form that an export has, for edits of both."""
    for line in lines:
        if "leaf" in line:
            event = render(
                encoded(line["leaf"]), encoded(line["opening"]), line["position"], with_changes=False
            )
            line["event"] = event


def renumber(lines: Lines, *, shrink: bool = True) -> None:
    """Number the events again from the header's start on, and let the header end where they end."""
    position = lines[0]["start"]
    for line in lines[1:-1]:
        line["position"] = position
        if "event" in line:
            line["event"]["position"] = position
        position += line.get("count", 1)
    if shrink:
        lines[0]["end"] = position


def pick(lines: Lines, rng: random.Random, key: str = "leaf") -> Any:
    """Choose one of the events in full."""
    return rng.choice([line for line in lines[1:-1] if key in line])


def other_value(value: Any, rng: random.Random) -> Any:
    """Return a value like `value` that is not it."""
    if isinstance(value, str):
        return value[:-1] + ("x" if not value.endswith("x") else "y") if value else "x"
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "x"] if rng.random() < 0.5 or not value else value[:-1]
    return {**value, "x": 1} if rng.random() < 0.5 or not value else dict(list(value.items())[1:])


def change_readable(lines: Lines, rng: random.Random) -> None:
    event = pick(lines, rng)["event"]
    key = rng.choice(list(event))
    event[key] = other_value(event[key], rng)


def drop_readable(lines: Lines, rng: random.Random) -> None:
    event = pick(lines, rng)["event"]
    del event[rng.choice(list(event))]


def add_readable(lines: Lines, rng: random.Random) -> None:
    pick(lines, rng)["event"][rng.choice(["note", "metadata2", "proof"])] = rng.choice([None, "x", {}])


def change_leaf(lines: Lines, rng: random.Random) -> None:
    leaf = pick(lines, rng)["leaf"]
    key = rng.choice(list(leaf))
    leaf[key] = other_value(leaf[key], rng)


def change_leaf_and_readable(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    key = rng.choice(["action", "id", "source", "stream"])
    line["leaf"][key] = line["event"][key] = other_value(line["leaf"][key], rng)


def drop_from_leaf(lines: Lines, rng: random.Random) -> None:
    leaf = pick(lines, rng)["leaf"]
    del leaf[rng.choice(list(leaf))]


def add_to_leaf(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    leaf = {**line["leaf"], rng.choice(["extra", "aaa", "zzz"]): rng.choice([None, 1, "x"])}
    line["leaf"] = dict(sorted(leaf.items()))


def change_sealed_value(lines: Lines, rng: random.Random) -> None:
    opening = pick(lines, rng)["opening"]
    path = rng.choice(list(opening))
    opening[path] = other_value(opening[path], rng)


def change_actor_everywhere(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    line["opening"]["actor/id"] = line["event"]["actor"]["id"] = "somebody else"


def change_actor_and_seal(lines: Lines, rng: random.Random) -> None:
    """Reseal with the same seed: everything fits but the tree."""
    change_actor_everywhere(lines, rng)
    for line in lines[1:-1]:
        if line.get("opening", {}).get("actor/id") == "somebody else":
            seed = bytes.fromhex(line["seed"])
            line["leaf"]["sealed"] = digest_of(line["opening"], seed)


def drop_sealed_value(lines: Lines, rng: random.Random) -> None:
    opening = pick(lines, rng)["opening"]
    del opening[rng.choice(list(opening))]


def add_sealed_value(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    line["opening"] = dict(
        sorted({**line["opening"], rng.choice(["zzz", "context/trace_id2", "aaa"]): "x"}.items())
    )


def move_sealed_value(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    items = list(line["opening"].items())
    line["opening"] = dict([*items[1:], items[0]])


def change_seed(lines: Lines, rng: random.Random) -> None:
    pick(lines, rng)["seed"] = rng.randbytes(rng.choice([16, 16, 16, 15, 17, 0])).hex()


def delete_with_gap(lines: Lines, rng: random.Random) -> None:
    del lines[rng.randrange(1, len(lines) - 1)]


def delete_renumbered(lines: Lines, rng: random.Random) -> None:
    del lines[rng.randrange(1, len(lines) - 1)]
    renumber(lines, shrink=rng.random() < 0.5)


def insert_copy(lines: Lines, rng: random.Random) -> None:
    at = rng.randrange(1, len(lines) - 1)
    lines.insert(at, msgspec.json.decode(encoded(rng.choice(lines[1:-1]))))
    renumber(lines)


def insert_forged(lines: Lines, rng: random.Random) -> None:
    from datetime import UTC, datetime

    leaf, opening, seed = make_event(rng, 0, datetime(2026, 6, 1, tzinfo=UTC))
    export = PeerLog([ExportRow(0, hashlib.sha256(b"\0" + leaf).digest(), leaf, opening, seed)]).export()
    lines.insert(rng.randrange(1, len(lines)), msgspec.json.decode(export.split(b"\n")[1]))
    renumber(lines, shrink=rng.random() < 0.5)


def replace_forged(lines: Lines, rng: random.Random) -> None:
    insert_forged(lines, rng)
    del lines[rng.randrange(1, len(lines) - 1)]
    renumber(lines)


def swap(lines: Lines, rng: random.Random) -> None:
    first, second = rng.sample(range(1, len(lines) - 1), 2)
    lines[first], lines[second] = lines[second], lines[first]


def swap_renumbered(lines: Lines, rng: random.Random) -> None:
    swap(lines, rng)
    renumber(lines)


def swap_openings(lines: Lines, rng: random.Random) -> None:
    first, second = rng.sample([line for line in lines[1:-1] if "leaf" in line], 2)
    for key in ("opening", "seed"):
        first[key], second[key] = second[key], first[key]


def truncate_tail(lines: Lines, rng: random.Random) -> None:
    del lines[rng.randrange(1, len(lines) - 1) : -1]
    renumber(lines, shrink=rng.random() < 0.7)


def truncate_head(lines: Lines, rng: random.Random) -> None:
    del lines[1 : rng.randrange(2, len(lines) - 1)]
    lines[0]["start"] = rng.choice([0, lines[1]["position"]]) if len(lines) > 2 else 0


def back_date(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    for key in rng.choice([["occurred_at"], ["received_at"], ["occurred_at", "received_at"]]):
        line["leaf"][key] = line["event"][key] = "2020-01-01T00:00:00.000000Z"


def bare_without_record(lines: Lines, rng: random.Random) -> None:
    at = rng.choice([at for at, line in enumerate(lines) if "leaf" in line])
    leaf_hash = hashlib.sha256(b"\0" + encoded(lines[at]["leaf"])).digest()
    lines[at] = msgspec.json.decode(bare_line(lines[at]["position"], [leaf_hash]))


def erase_without_record(lines: Lines, rng: random.Random) -> None:
    erase(pick(lines, rng), rng)


def fake_after_erasure(lines: Lines, rng: random.Random) -> None:
    line = pick(lines, rng)
    path = erase(line, rng)
    line["opening"][path] = "fake"
    if rng.random() < 0.5:
        line["seed"][path] = url64(rng.randbytes(16))
    if rng.random() < 0.5:
        del line["opening"]["$erased"][path]
    line["opening"] = dict(sorted(line["opening"].items()))


def erase(line: Any, rng: random.Random) -> str:
    seed = bytes.fromhex(line["seed"])
    opening, path = line["opening"], rng.choice(list(line["opening"]))
    name = path.encode()
    salts = {
        one: hashlib.sha256(b"tallystick/salt/1\0" + seed + one.encode()).digest()[:16] for one in opening
    }
    commit = hashlib.sha256(
        b"tallystick/field/1\0"
        + salts.pop(path)
        + len(name).to_bytes(2, "big")
        + name
        + encoded(opening.pop(path))
    ).digest()
    line["opening"] = {"$erased": {path: url64(commit)}, **opening}
    line["seed"] = {one: url64(salt) for one, salt in salts.items()}
    return path


def change_header(lines: Lines, rng: random.Random) -> None:
    key = rng.choice(
        [
            "origin",
            "organization",
            "start",
            "end",
            "size",
            "keys",
            "checkpoint",
            "left",
            "right",
            "version",
            "format",
        ]
    )
    lines[0][key] = other_value(lines[0][key], rng)


FORGERIES: tuple[Callable[[Lines, random.Random], None], ...] = (
    change_readable, drop_readable, add_readable, change_leaf, change_leaf_and_readable, drop_from_leaf, add_to_leaf,
    change_sealed_value, change_actor_everywhere, change_actor_and_seal, drop_sealed_value, add_sealed_value,
    move_sealed_value, change_seed, delete_with_gap, delete_renumbered, insert_copy, insert_forged, replace_forged,
    swap, swap_renumbered, swap_openings, truncate_tail, truncate_head, back_date, bare_without_record,
    erase_without_record, fake_after_erasure, change_header,
)  # fmt: skip
