"""Sealing: what the log holds is bound to what lies beside it, and nothing can be changed unseen."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Tampered
from tallystick.event.leaf import read_opening
from tallystick.event.limits import LEAF_BYTES_MAX, TARGETS_MAX
from tallystick.event.projection import projection
from tallystick.event.render import render
from tallystick.event.seal import Sealed, seal
from tallystick.event.unseal import erase, same_content, unseal

from .making import NOW, ORDINARY, ORIGIN, SEED, SOURCE, changed, prepared, refs_for, sealed, without
from .strategies import odd_events

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "leaf"


def reference_leaf_digest(opening: bytes, seed: bytes) -> str:
    """Return the sealed digest as LOG.md writes it, in the plainest Python there is."""
    commits = b""
    for path, value in sorted(json.loads(opening).items(), key=lambda item: item[0].encode()):
        salt = hashlib.sha256(b"tallystick/salt/1\0" + seed + path.encode()).digest()[:16]
        framed = len(path.encode()).to_bytes(2, "big") + path.encode()
        commits += hashlib.sha256(b"tallystick/field/1\0" + salt + framed + rfc8785.dumps(value)).digest()
    digest = hashlib.sha256(b"tallystick/sealed/1\0" + commits).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@given(odd_events, st.binary(min_size=16, max_size=16))
@settings(max_examples=150)
def test_the_digest_is_the_documented_one(event: dict[str, Any], seed: bytes) -> None:
    """A verifier written from the documentation alone must reach the same leaf."""
    row = sealed(prepared(event), seed=seed)
    leaf = json.loads(row.leaf)
    assert leaf["sealed"] == reference_leaf_digest(row.opening, seed)
    assert row.leaf == rfc8785.dumps(leaf)
    assert row.opening == rfc8785.dumps(json.loads(row.opening))
    assert row.leaf_hash == hashlib.sha256(b"\0" + row.leaf).digest()
    unseal(row.leaf, row.opening, row.seed)


def test_nothing_personal_in_the_leaf() -> None:
    """What must be erasable later may not lie in the log, where nothing can be erased."""
    event = changed(
        "/actor/on_behalf_of", [{"type": "user", "id": "boss_7", "name": "Bea", "email": "bea@example.org"}]
    )
    event["context"] |= {"location": {"city": "Lyon"}, "trace_id": "trace-9", "http": {"path": "/private"}}
    leaf = sealed(prepared(event)).leaf.decode()
    hidden = [
        "u_1",
        "Ann",
        "ann@",
        "boss_7",
        "Bea",
        "192.0.2.10",
        "curl",
        "s-1",
        "greeting",
        "Lyon",
        "trace-9",
        "/private",
    ]
    assert [text for text in [*hidden, "E403", "PermissionError"] if text in leaf] == []
    assert json.loads(leaf).keys() == {
        "v", "origin", "id", "occurred_at", "received_at", "action", "outcome", "stream", "workspace", "actor",
        "targets", "request_id", "source", "sealed",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["leaf", "opening", "seed"])
@given(data=st.data())
@settings(max_examples=120)
def test_any_changed_byte_is_seen(part: str, data: st.DataObject) -> None:
    """An administrator who edits one byte of a stored row must be found out."""
    event = data.draw(odd_events)
    row = {"leaf": b"", "opening": b"", "seed": b""} | msgspec.structs.asdict(sealed(prepared(event)))
    original = row[part]
    at = data.draw(st.integers(0, len(original) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != original[at]))
    row[part] = original[:at] + bytes([other]) + original[at + 1 :]
    _rejects(row, leaf_itself=part == "leaf")


@pytest.mark.parametrize("part", ["leaf", "opening", "seed"])
@pytest.mark.parametrize("how", ["cut", "longer", "space in front", "space behind", "empty"])
def test_any_changed_length_is_seen(part: str, how: str) -> None:
    """Bytes added or removed, even white space JSON does not mind, must be found out."""
    row = msgspec.structs.asdict(sealed(prepared(ORDINARY)))
    whole = row[part]
    row[part] = {
        "cut": whole[:-1], "longer": whole + b"x", "space in front": b" " + whole,
        "space behind": whole + b" ", "empty": b"",
    }[how]  # fmt: skip
    _rejects(row, leaf_itself=part == "leaf")


def _rejects(row: dict[str, Any], *, leaf_itself: bool) -> None:
    """Assert that a row is refused: by `unseal`, or, for the leaf's clear parts, by its hash in the tree."""
    try:
        unseal(row["leaf"], row["opening"], row["seed"])
    except Tampered:
        return
    assert leaf_itself, "a changed opening or seed passed"
    assert hashlib.sha256(b"\0" + row["leaf"]).digest() != row["leaf_hash"]


@pytest.mark.parametrize(
    "opening",
    [
        lambda o: o.replace(b'"after":{"v":2},', b""),
        lambda o: o.replace(b'"after":{"v":2},', b'"after":{"v":2},"after":{"v":2},'),
        lambda o: o.replace(b'"after":{"v":2},"before":{"v":1}', b'"before":{"v":1},"after":{"v":2}'),
        lambda o: o.replace(b'"after":{"v":2}', b'"after":{"v": 2}'),
        lambda o: o.replace(b'"after"', b'"\\u0061fter"'),
        lambda o: o.replace(b'"after":{"v":2}', b'"after":{"v":2.0}'),
        lambda o: o[:-1] + b',"zzz":1}',
        lambda o: o[:-1] + b',"$erased":{}}',
        lambda _: b"[]",
        lambda _: b'{"a":',
    ],
)
def test_an_edited_opening_is_seen(opening: Any) -> None:
    """Values added, dropped, doubled, moved or only written differently must be found out."""
    row = sealed(prepared(ORDINARY))
    edited = opening(row.opening)
    assert edited != row.opening
    with pytest.raises(Tampered):
        unseal(row.leaf, edited, row.seed)


def test_a_leaf_written_differently_is_seen() -> None:
    """The same JSON in other bytes is another leaf."""
    row = sealed(prepared(ORDINARY))
    for leaf in (
        json.dumps(json.loads(row.leaf)).encode(),
        row.leaf.replace(b'"v":1', b'"v":1,"x":1'),
        row.leaf.replace(b'"v":1', b'"v":2'),
        row.leaf.replace(b'"action"', b'"\\u0061ction"'),
    ):
        with pytest.raises(Tampered):
            unseal(leaf, row.opening, row.seed)


@given(odd_events)
@settings(max_examples=100)
def test_a_retry_is_recognised(event: dict[str, Any]) -> None:
    """The same event again must be a duplicate whatever the clock says now; another one must not."""
    ready = prepared(event)
    row = sealed(ready, received_at=NOW + timedelta(days=3))
    parts = {"leaf": row.leaf, "opening": row.opening, "seed": row.seed}
    assert same_content(prepared(event), **parts)
    assert not same_content(prepared(event | {"metadata": {"another": "event"}}), **parts)
    assert not same_content(prepared(event | {"action": "quite.another"}), **parts)


def test_a_retry_with_other_delegators_is_another_event() -> None:
    """Who acted is content too, even where only the number of subjects differs."""
    row = sealed(prepared(ORDINARY))
    other = changed("/actor/on_behalf_of", [{"type": "user", "id": "u_9"}])
    assert not same_content(prepared(other), leaf=row.leaf, opening=row.opening, seed=row.seed)


@given(odd_events, st.data())
@settings(max_examples=120)
def test_erased_values_leave_every_proof(event: dict[str, Any], data: st.DataObject) -> None:
    """Erasure must remove value and salt, keep the leaf provable, and still notice a fake value."""
    row = sealed(prepared(event))
    paths = sorted(read_opening(row.opening))
    chosen = set(data.draw(st.lists(st.sampled_from(paths), max_size=4)) if paths else [])
    opening, seed = erase(row.opening, row.seed, chosen)
    unseal(row.leaf, opening, seed)
    left = read_opening(opening)
    assert set(left.pop("$erased", {})) == chosen
    assert left.keys() == set(paths) - chosen
    if chosen:
        assert row.seed not in seed
        assert same_content(prepared(event), leaf=row.leaf, opening=opening, seed=seed)
        assert set(render(row.leaf, opening, 0)["erased"]) == {"/" + path for path in chosen}
        again = erase(opening, seed, set(paths))
        unseal(row.leaf, *again)
        _fakes_are_seen(row, opening, seed, chosen)


def _fakes_are_seen(row: Sealed, opening: bytes, seed: bytes, chosen: set[str]) -> None:
    path = sorted(chosen)[0]
    faked = json.loads(opening)
    del faked["$erased"][path]
    faked[path] = "somebody else"
    salts = json.loads(seed) | {path: base64.urlsafe_b64encode(bytes(16)).decode().rstrip("=")}
    with pytest.raises(Tampered):
        unseal(row.leaf, rfc8785.dumps(faked), rfc8785.dumps(salts))
    with pytest.raises(Tampered):
        unseal(row.leaf, rfc8785.dumps(faked), seed)


@pytest.mark.parametrize(
    "part", ["both erased and present", "nothing erased", "seed still whole", "no seed at all"]
)
def test_false_claims_of_erasure_are_seen(part: str) -> None:
    """Whoever only says that something was erased must not be believed."""
    row = sealed(prepared(ORDINARY))
    opening, seed = erase(row.opening, row.seed, {"actor/email"})
    values, salts = json.loads(opening), json.loads(seed)
    match part:
        case "both erased and present":
            values["$erased"]["after"] = values["$erased"]["actor/email"]
        case "nothing erased":
            values, salts = json.loads(row.opening) | {"$erased": {}}, {}
            salts = {path: _salt(path) for path in values if path != "$erased"}
        case "seed still whole":
            seed = row.seed
        case _:
            values = json.loads(row.opening)
            salts = {path: _salt(path) for path in values}
    changed_seed = seed if part == "seed still whole" else rfc8785.dumps(salts)
    with pytest.raises(Tampered):
        unseal(row.leaf, rfc8785.dumps(values), changed_seed)


def _salt(path: str) -> str:
    salt = hashlib.sha256(b"tallystick/salt/1\0" + SEED + path.encode()).digest()[:16]
    return base64.urlsafe_b64encode(salt).decode().rstrip("=")


def test_erasing_nothing_changes_nothing() -> None:
    """Asking to erase what is not there must not turn the seed into salts."""
    row = sealed(prepared(ORDINARY))
    assert erase(row.opening, row.seed, {"context/location"}) == (row.opening, row.seed)


@pytest.mark.parametrize("seconds", [-86_401, -86_400, -300, 0, 300, 301])
def test_two_clocks(seconds: int) -> None:
    """A wrong clock or a back-dated event is kept as claimed and flagged, exactly beyond the documented bounds."""
    claimed = NOW + timedelta(seconds=seconds)
    ready = prepared(changed("/occurred_at", claimed.isoformat()))
    row = sealed(ready)
    kinds = [flag["kind"] for flag in render(row.leaf, row.opening, 0).get("flags", [])]
    assert kinds == (["backdated"] if seconds < -86_400 else ["clock_skew"] if seconds > 300 else [])
    assert row.occurred_at == claimed


def test_without_a_time_the_receipt_counts() -> None:
    """An event that claims no time happened when it was received."""
    row = sealed(prepared(without(ORDINARY, "occurred_at")))
    assert row.occurred_at == NOW
    assert (
        json.loads(row.leaf)["occurred_at"]
        == json.loads(row.leaf)["received_at"]
        == "2026-06-01T12:00:00.654321Z"
    )


def test_targets_beyond_the_leaf() -> None:
    """A hundred long targets must neither break the leaf's limit nor be lost."""
    targets = [{"type": "t" * 128, "id": f"{index:03}" + "i" * 509} for index in range(TARGETS_MAX)]
    row = sealed(prepared(changed("/targets", targets)))
    assert len(row.leaf) <= LEAF_BYTES_MAX
    unseal(row.leaf, row.opening, row.seed)
    assert render(row.leaf, row.opening, 0)["targets"] == targets
    columns = projection(row.leaf, row.opening)
    assert columns.target_id == targets[0]["id"]
    assert len(columns.more_targets) == 2 * (TARGETS_MAX - 1)


def test_more_than_ten_names() -> None:
    """Paths are hashed in byte order, in which the tenth target comes before the second."""
    targets = [{"type": "t", "id": str(index), "name": f"name {index}"} for index in range(12)]
    row = sealed(prepared(changed("/targets", targets)))
    assert json.loads(row.leaf)["sealed"] == reference_leaf_digest(row.opening, SEED)
    assert row.opening == rfc8785.dumps(json.loads(row.opening))
    assert render(row.leaf, row.opening, 0)["targets"] == targets


def test_the_largest_leaf() -> None:
    """Whatever fills every clear field, the leaf stays below what a tile's entry can hold."""
    wide = "\x01"  # six bytes in JSON
    roles = {"organization": wide * 128, "workspace": wide * 128}
    link = {"type": "anonymous", "id": "x", "credential_id": wide * 512, "roles": roles}
    event = {
        "action": "a" * 256,
        "stream": "s" * 64,
        "workspace": wide * 512,
        "actor": {**link, "on_behalf_of": [link] * 8},
        "context": {"request_id": wide * 256},
        "targets": [{"type": wide * 128, "id": wide * 512}] * 50,
    }
    ready = prepared(event)
    row = seal(
        ready,
        origin="o" * 1024 + "/o/" + str(ready.id),
        source="s" * 1024,
        received_at=NOW,
        refs=refs_for(ready),
        seed=SEED,
    )
    assert len(row.leaf) <= LEAF_BYTES_MAX
    unseal(row.leaf, row.opening, row.seed)
    assert len(render(row.leaf, row.opening, 0)["targets"]) == 50


def test_wrong_refs_or_seed_are_a_mistake_of_ours() -> None:
    """A seed or ref too few must stop the append instead of weakening the log."""
    ready = prepared(ORDINARY)
    for refs, seed in (([], SEED), (refs_for(ready), b"short"), (refs_for(ready) * 2, SEED)):
        with pytest.raises(ValueError, match="16 bytes"):
            seal(ready, origin=ORIGIN, source=SOURCE, received_at=NOW, refs=refs, seed=seed)


@pytest.mark.parametrize("column", [b"not json", b"{}", b'{"v":1}', b'"x"', b"[" * 5000])
def test_broken_rows_are_called_tampered(column: bytes) -> None:
    """Garbage in the database must be an alarm, never an unexplained crash."""
    row = sealed(prepared(ORDINARY))
    for leaf, opening in ((column, row.opening), (row.leaf, column)):
        if opening.startswith(b"{"):
            continue  # an object, as an opening is; only `unseal` can tell that it is the wrong one
        for read in (
            lambda: projection(leaf, opening),
            lambda: render(leaf, opening, 0),
            lambda: unseal(leaf, opening, row.seed),
        ):
            with pytest.raises(Tampered):
                read()


def golden_cases() -> list[Path]:
    return sorted(GOLDEN.glob("*.json"))


@pytest.mark.parametrize("file", golden_cases(), ids=lambda file: file.stem)
def test_golden_leaf(file: Path) -> None:
    """The leaf format leaves us for ever: one changed byte and no old proof holds."""
    case = json.loads(file.read_text("utf-8"))
    ready = prepared(case["input"].encode())
    row = seal(
        ready,
        origin=case["origin"],
        source=case["source"],
        received_at=datetime.fromisoformat(case["received_at"]),
        refs=refs_for(ready),
        seed=bytes.fromhex(case["seed"]),
    )
    assert row.leaf.decode() == case["leaf"]
    assert row.leaf_hash.hex() == case["leaf_hash"]
    assert row.opening.decode() == case["opening"]
    assert refs_for(ready)[0].hex == case["refs"][0]


def test_there_are_golden_leaves() -> None:
    """No golden file, no test: an empty folder must not pass."""
    assert len(golden_cases()) >= 6
    assert NOW.tzinfo is UTC
