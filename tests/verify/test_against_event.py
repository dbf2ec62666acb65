"""What the verifier computes at speed is what the event room computes with care."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.event.leaf import ERASED
from tallystick.event.prepare import prepare
from tallystick.event.redact import Redaction
from tallystick.event.render import render
from tallystick.event.seal import Sealed, seal
from tallystick.event.unseal import erase, unseal
from tallystick.formats.jsonl import ExportRow
from tallystick.verify.export import verify_export
from tallystick.verify.layout import full_line
from tallystick.verify.reseal import read_opening, sealed_digest

from .peer import ORGANIZATION, ORIGIN, SIGNER, PeerLog

REDACTION = Redaction(key=bytes(32))
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOBODY = UUID(int=0)

text = st.text(max_size=12) | st.sampled_from(
    ["ä", "\u202e=1", '"\\', "\x7f", "😀", "a/b", "password=hunter2hunter2"]
)
name = st.none() | text
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
roles = st.none() | st.fixed_dictionaries(
    {}, optional={"organization": st.just("owner"), "workspace": st.just("editor")}
)
person = {"id": text.filter(bool), "name": name, "email": name, "credential_id": name, "roles": roles}
actors = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "agent", "service", "api_key"]), "id": text.filter(bool)},
    optional={
        **{key: person[key] for key in ("name", "email", "credential_id", "roles")},
        "on_behalf_of": st.lists(
            st.fixed_dictionaries(
                {"type": st.just("user"), "id": text.filter(bool)},
                optional={key: person[key] for key in ("name", "email", "credential_id", "roles")},
            ),
            max_size=8,
        ),
    },
)
events = st.fixed_dictionaries(
    {"action": st.sampled_from(["a.b", "prompt.updated"]), "actor": actors},
    optional={
        "targets": st.lists(
            st.fixed_dictionaries(
                {"type": st.just("prompt"), "id": text.filter(bool)}, optional={"name": name}
            ),
            max_size=12,
        ),
        "occurred_at": st.sampled_from(["2026-06-01T12:00:00Z", "2020-01-01T01:02:03.1234567+02:00"]),
        "workspace": st.sampled_from(["w", "default"]),
        "stream": st.sampled_from(["platform", "gateway"]),
        "outcome": st.sampled_from(["success", "failure", "denied", "unknown"]),
        "error": st.fixed_dictionaries({}, optional={"type": name, "code": name, "message": name}),
        "context": st.fixed_dictionaries(
            {},
            optional={
                "ip": st.sampled_from(["203.0.113.7", "2001:DB8::1", "nonsense"]),
                "user_agent": name,
                "request_id": name,
                "session_id": name,
                "trace_id": name,
                "http": st.fixed_dictionaries({}, optional={"method": name, "status": st.just(200)}),
                "location": st.fixed_dictionaries({}, optional={"country": name}),
            },
        ),
        "before": values,
        "after": values,
        "metadata": st.dictionaries(text, values, max_size=3),
        "producer": st.fixed_dictionaries(
            {"id": st.just("billing-api"), "epoch": st.just("e1"), "sequence": st.integers(1, 2**53 - 1)},
            optional={"unsent": st.just([{"first": 3, "last": 9}])},
        ),
    },
)


def sealed(event: dict[str, Any], seed: bytes, new_id: Callable[[], UUID] = lambda: NOBODY) -> Sealed:
    raw = json.dumps(event).encode()
    prepared = prepare(raw, redaction=REDACTION, new_id=new_id)
    refs = [UUID(int=number) for number, _ in enumerate(prepared.subjects)]
    return seal(prepared, origin=ORIGIN, source="key:k", received_at=AT, refs=refs, seed=seed)


def log_of(rows: list[tuple[Sealed, bytes, bytes]]) -> PeerLog:
    return PeerLog(
        [
            ExportRow(at, one.leaf_hash, one.leaf, opening, seed)
            for at, (one, opening, seed) in enumerate(rows)
        ]
    )


@given(batch=st.lists(events, min_size=1, max_size=5), seed=st.binary(min_size=16, max_size=16))
@settings(max_examples=150)
def test_an_export_shows_what_the_api_shows(batch: list[dict[str, Any]], seed: bytes) -> None:
    """Whatever was sealed is proven by the verifier, and its readable form is what the API renders."""
    rows = [sealed(event, seed) for event in batch]
    export = log_of([(one, one.opening, one.seed) for one in rows]).export()
    report = verify_export([export], keys=(SIGNER.verifier,))
    assert (report.verdict, report.violated) == ("proven", [])
    for at, line in enumerate(export.split(b"\n")[1:-2]):
        shown = json.loads(line)
        assert shown["event"] == render(rows[at].leaf, rows[at].opening, at, with_changes=False)
        assert list(shown["event"]) == list(render(rows[at].leaf, rows[at].opening, at, with_changes=False))
        assert shown["leaf"] == json.loads(rows[at].leaf)
        assert rfc8785.dumps(shown["leaf"]) == rows[at].leaf


@given(event=events, seed=st.binary(min_size=16, max_size=16))
@settings(max_examples=80)
def test_the_quick_digest_is_the_sealed_one(event: dict[str, Any], seed: bytes) -> None:
    """The digest computed for each line is the one that sealing put into the leaf."""
    one = sealed(event, seed)
    assert sealed_digest(read_opening(one.opening), seed) == json.loads(one.leaf)["sealed"]


@given(event=events, seed=st.binary(min_size=16, max_size=16), data=st.data())
@settings(max_examples=80)
def test_an_erased_event_still_belongs_to_its_leaf(
    event: dict[str, Any], seed: bytes, data: st.DataObject
) -> None:
    """After erasure the leaf is still proven; what is missing is named, because no record allows it yet."""
    one = sealed(event, seed)
    paths = data.draw(st.sets(st.sampled_from(sorted(json.loads(one.opening))), min_size=1))
    opening, salts = erase(one.opening, seed, paths)
    unseal(one.leaf, opening, salts)
    export = log_of([(one, opening, salts)]).export()
    report = verify_export([export], keys=(SIGNER.verifier,))
    assert {finding.kind for finding in report.violated} == {"erased"}
    shown = json.loads(export.split(b"\n")[1])
    assert shown["event"] == render(one.leaf, opening, 0, with_changes=False)
    assert shown["event"]["erased"] == ["/" + path for path in sorted(paths)]
    assert set(shown["opening"][ERASED]) == paths


def test_the_largest_event_fits_a_line() -> None:
    """An event at the limit of 256 KiB, all of it awkward to write, still makes a line the verifier takes."""
    event = {"action": "a", "actor": {"type": "user", "id": "x"}, "metadata": {"k": ["\x01" * 100] * 290}}
    event["targets"] = [
        {"type": "t" * 128, "id": str(at) + "\x02" * 500, "name": "n" * 900} for at in range(20)
    ]
    one = sealed(event, bytes(16))
    line = full_line(0, ORGANIZATION, one.leaf, one.opening, one.seed)
    assert len(line) > 400 * 1024
    assert verify_export([log_of([(one, one.opening, one.seed)]).export()]).verdict == "proven"
    assert msgspec.json.decode(line)["event"]["targets"][19]["id"].startswith("19")


def test_times_between_events_never_go_back() -> None:
    """An event received before the one in front of it is named, even if the log signed it so."""
    rows = []
    for seconds in (0, 10, 5):
        prepared = prepare(
            b'{"action":"a","actor":{"type":"system"}}', redaction=REDACTION, new_id=lambda: NOBODY
        )
        at = AT + timedelta(seconds=seconds)
        one = seal(prepared, origin=ORIGIN, source="s", received_at=at, refs=[NOBODY], seed=bytes(16))
        rows.append((one, one.opening, one.seed))
    report = verify_export([log_of(rows).export()])
    assert [finding.kind for finding in report.violated] == ["back_dated"]
