"""Bad input: who wrote the bad part decides whether it is refused, or kept and flagged."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from tallystick.errors import Misconfigured, Refused, TooLarge
from tallystick.event import limits
from tallystick.event.decode import decode_strict
from tallystick.event.redact import Redaction

from .making import MADE_ID, ORDINARY, body, changed, flags_of, prepared, shown, without

LONG = "x" * 20_000


def refusal(event: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        prepared(event)
    return caught.value


@pytest.mark.parametrize(
    ("event", "path", "rule"),
    [
        (without(ORDINARY, "action"), "/action", "invalid_field"),
        (without(ORDINARY, "actor"), "/actor", "invalid_field"),
        (changed(action=None), "/action", "invalid_field"),
        (changed(action=""), "/action", "invalid_field"),
        (changed(action="-x"), "/action", "invalid_field"),
        (changed(action="prompt update"), "/action", "invalid_field"),
        (changed(action="prompt.update\n"), "/action", "invalid_field"),
        (changed(action="prömpt"), "/action", "invalid_field"),
        (changed(action="a\0b"), "/action", "invalid_field"),
        (changed(action="a" * 257), "/action", "invalid_field"),
        (changed(action=["a"]), "/action", "invalid_field"),
        (changed("/actor/type", "robot"), "/actor/type", "invalid_field"),
        (changed("/actor/type", None), "/actor/type", "invalid_field"),
        (changed("/actor/id", ""), "/actor/id", "invalid_field"),
        (changed("/actor/id", 7), "/actor/id", "invalid_field"),
        (changed("/actor/id", 10**30), "/actor/id", "invalid_field"),
        (changed("/actor/id", None), "/actor/id", "invalid_field"),
        (changed(actor={"type": "user"}), "/actor/id", "invalid_field"),
        (changed(actor={"type": "service", "credential_id": "k"}), "/actor/id", "invalid_field"),
        (changed(actor={"type": "api_key"}), "/actor", "invalid_field"),
        (changed(actor={"type": "api_key", "credential_id": ""}), "/actor", "invalid_field"),
        (changed("/actor/nickname", "A"), "/actor/nickname", "unknown_field"),
        (changed("/actor/credential_id", "k" * 513), "/actor/credential_id", "invalid_field"),
        (changed("/actor/roles", {"organization": "r" * 129}), "/actor/roles/organization", "invalid_field"),
        (changed("/actor/roles", {"team": "r"}), "/actor/roles/team", "unknown_field"),
        (changed("/actor/roles", "admin"), "/actor/roles", "invalid_field"),
        (changed("/actor/on_behalf_of", [{"type": "user"}]), "/actor/on_behalf_of/0/id", "invalid_field"),
        (changed("/actor/on_behalf_of", [{"type": "user", "id": "1"}] * 9), "/actor/on_behalf_of", "invalid_field"),
        (
            changed("/actor/on_behalf_of", [{"type": "user", "id": "1", "on_behalf_of": []}]),
            "/actor/on_behalf_of/0/on_behalf_of",
            "unknown_field",
        ),
        (changed("/targets/0/id", ""), "/targets/0/id", "invalid_field"),
        (changed("/targets/0/type", ""), "/targets/0/type", "invalid_field"),
        (changed("/targets/0/type", "t" * 129), "/targets/0/type", "invalid_field"),
        (changed("/targets/0/url", "x"), "/targets/0/url", "unknown_field"),
        (changed(targets=[{"type": "t"}]), "/targets/0/id", "invalid_field"),
        (changed(targets=[{"type": "t", "id": "i"}, 3]), "/targets/1", "invalid_field"),
        (changed(targets=[{"type": "t", "id": "i"}] * 101), "/targets", "too_many_targets"),
        (changed(workspace=""), "/workspace", "invalid_field"),
        (changed(workspace="w" * 513), "/workspace", "invalid_field"),
        (changed(workspace=5), "/workspace", "invalid_field"),
        (changed(stream="Gateway"), "/stream", "invalid_field"),
        (changed(stream="-x"), "/stream", "invalid_field"),
        (changed(stream="s" * 65), "/stream", "invalid_field"),
        (changed(stream=""), "/stream", "invalid_field"),
        (changed(outcome="ok"), "/outcome", "invalid_field"),
        (changed(outcome=""), "/outcome", "invalid_field"),
        (changed(error="boom"), "/error", "invalid_field"),
        (changed("/error/stack", "x"), "/error/stack", "unknown_field"),
        (changed(context=[]), "/context", "invalid_field"),
        (changed("/context/ip", 3), "/context/ip", "invalid_field"),
        (changed("/context/http", {"status": "200"}), "/context/http/status", "invalid_field"),
        (changed("/context/http", {"status": 200.5}), "/context/http/status", "invalid_field"),
        (changed("/context/http", {"status": 2**70}), "/context/http/status", "invalid_field"),
        (changed("/context/http", {"status": 1000}), "/context/http/status", "invalid_field"),
        (changed("/context/http", {"status": -1}), "/context/http/status", "invalid_field"),
        (changed("/context/http", {"status": True}), "/context/http/status", "invalid_field"),
        (changed("/context/http", {"body": ""}), "/context/http/body", "unknown_field"),
        (changed("/context/location", {"planet": "x"}), "/context/location/planet", "unknown_field"),
        (changed(metadata=[]), "/metadata", "invalid_field"),
        (changed(metadata="x"), "/metadata", "invalid_field"),
        (changed(id=""), "/id", "invalid_identifier"),
        (changed(id="0192f0c123457abc8def0123456789ab"), "/id", "invalid_identifier"),
        (changed(id="{192f0c1-2345-7abc-8def-0123456789a}"), "/id", "invalid_identifier"),
        (changed(id="0192f0c1-2345-7abc-8def-0123456789aé"), "/id", "invalid_identifier"),
        (changed(id="0192f0c1-2345-7abc-8def0-123456789ab"), "/id", "invalid_identifier"),
        (changed(id=5), "/id", "invalid_identifier"),
        (changed(occurred_at=""), "/occurred_at", "invalid_time"),
        (changed(occurred_at=1_700_000_000), "/occurred_at", "invalid_time"),
        (changed(occurred_at="2026-06-01T12:00:00"), "/occurred_at", "invalid_time"),
        (changed(received_at="2026-06-01T12:00:00Z"), "/received_at", "server_owned_field"),
        (changed(position=1), "/position", "server_owned_field"),
        (changed(flags=[]), "/flags", "server_owned_field"),
        (changed(redacted=[]), "/redacted", "server_owned_field"),
        (changed(organization="x"), "/organization", "server_owned_field"),
        (changed(source="x"), "/source", "server_owned_field"),
        (changed(actoin="x"), "/actoin", "unknown_field"),
        (changed(**{"a/b~c": 1}), "/a~1b~0c", "unknown_field"),
        (changed(**{"": 1}), "/", "unknown_field"),
        ([], "", "invalid_json"),
        (None, "", "invalid_json"),
        ("event", "", "invalid_json"),
    ],
)  # fmt: skip
def test_what_a_developer_writes_is_strict(event: Any, path: str, rule: str) -> None:
    """A mistake in the producer's code must come back with the place and the rule, and store nothing."""
    refused = refusal(event)
    assert (refused.path, refused.rule) == (path, rule), str(refused)
    assert len(str(refused)) > 10


@pytest.mark.parametrize(
    ("raw", "path", "rule"),
    [
        (b"", "", "invalid_json"),
        (b"{", "", "invalid_json"),
        (b"nul", "", "invalid_json"),
        (b'{"action":"a.b"}{}', "", "invalid_json"),
        (b'{"action":"a.b",}', "", "invalid_json"),
        (b'{"a":NaN}', "", "invalid_json"),
        (b'{"a":-Infinity}', "", "invalid_json"),
        (b'{"a":01}', "", "invalid_json"),
        (b'{"a":+1}', "", "invalid_json"),
        (b'{"a":"\t"}', "", "invalid_json"),
        (b'{"a":"\\x41"}', "", "invalid_json"),
        (b"\xef\xbb\xbf{}", "", "invalid_json"),
        (b'{"a":"\xff"}', "", "invalid_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "", "invalid_utf8"),
        ('{"action":"a.b"}'.encode("utf-16"), "", "invalid_utf8"),
        (b'{"action":"a.b","actor":{"type":"system","type":"user"}}', "/actor/type", "duplicate_key"),
        (b'{"action":"a.b","actor":{"type":"system"},"metadata":{"k":1,"\\u006b":2}}', "/metadata/k", "duplicate_key"),
        (b'{"action":"a.b","actor":{"type":"system"},"after":[{"k":1},{"/":1,"/":2}]}', "/after/1/~1", "duplicate_key"),
        (b'{"action":"a.b","action" :"c.d","actor":{"type":"system"}}', "/action", "duplicate_key"),
        (b'{"action":"a.b","actor":{"type":"system"},"before":' + b"[" * 200 + b"]" * 200 + b"}", "", "too_deep"),
        (b"[" * 100_000, "", "too_deep"),
        (b'{"a":' * 50_000, "", "too_deep"),
    ],
)  # fmt: skip
def test_broken_documents(raw: bytes, path: str, rule: str) -> None:
    """Bytes that are not exactly one JSON object must be refused by name, and never reach the log."""
    refused = refusal(raw)
    assert (refused.path, refused.rule) == (path, rule), str(refused)


def test_size_of_an_event() -> None:
    """An event of exactly the limit is taken, one byte more is too large: the SDK must know where to cut."""
    event = changed("/metadata/pad", "")
    event["metadata"]["pad"] = "x" * (limits.EVENT_BYTES_MAX - len(body(event)))
    assert prepared(event).size_bytes == limits.EVENT_BYTES_MAX
    event["metadata"]["pad"] += "x"
    refused = refusal(event)
    assert isinstance(refused, TooLarge)
    assert refused.rule == "event_too_large"


FOREIGN_PLACES = [
    (place, limit)
    for place, limit in limits.FOREIGN.items()
    if place != "context.ip"  # cut as well, and flagged as no address besides
]


@pytest.mark.parametrize(("place", "limit"), FOREIGN_PLACES)
def test_what_an_attacker_can_write_is_cut(place: str, limit: int) -> None:
    """A name of a megabyte must not make the record of its owner's act disappear, nor hide who it was."""
    pointer = "/" + place.replace("targets.", "targets/0/").replace(".", "/")
    whole = "é" * limit + "tail"
    event = shown(changed(pointer, whole))
    kept: Any = event
    for step in pointer.strip("/").split("/"):
        kept = kept[int(step)] if isinstance(kept, list) else kept[step]
    (flag,) = event["flags"]
    digest = sha256(whole.encode()).hexdigest()
    assert flag == {"path": pointer, "kind": "truncated", "length": len(whole), "sha256": digest}
    assert len(kept) == limit
    assert kept == whole[:limit] or (place in limits.IDENTIFIERS and kept.endswith(digest))
    assert "flags" not in shown(changed(pointer, "é" * limit))


def test_long_ids_stay_apart() -> None:
    """Two users whose ids share their first 512 characters must not become one subject."""
    one, two = (prepared(changed("/actor/id", LONG + end)).subjects[0].id for end in "ab")
    assert one != two
    assert len(one) == limits.FOREIGN["actor.id"]


def test_cutting_counts_characters() -> None:
    """An emoji must not be cut into a lone half, which no reader could decode."""
    event = shown(changed("/actor/name", "\U0001f600" * 1025))
    assert event["actor"]["name"] == "\U0001f600" * 1024


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udfff\ud800", "x\ud83d"])
@pytest.mark.parametrize(
    "pointer",
    [
        "/actor/name",
        "/actor/id",
        "/targets/0/id",
        "/context/user_agent",
        "/metadata/k",
        "/before/v",
        "/error/message",
    ],
)
def test_text_no_database_can_hold(pointer: str, text: str) -> None:
    """NUL and lone surrogates must neither refuse the record nor poison the row."""
    kind = "nul" if "\0" in text else "surrogate"
    assert flags_of(changed(pointer, text)) == {(kind, pointer)}
    event = json.dumps(shown(changed(pointer, text)), ensure_ascii=False)
    assert "\ufffd" in event
    assert "\\u0000" not in event


def test_keys_no_database_can_hold() -> None:
    """Two keys that become equal once cleaned must both survive."""
    event = changed("/metadata", {"a\0": 1, "a\ufffd": 2, "a" + chr(0xDFFF): 3})
    result = shown(event)
    assert sorted(result["metadata"].values()) == [1, 2, 3]
    assert result["metadata"]["a\ufffd"] == 2, "the key that needed no cleaning keeps its name"
    assert {flag["kind"] for flag in result["flags"]} == {"nul", "surrogate"}


@pytest.mark.parametrize(
    ("written", "stored", "kind"),
    [
        ("9007199254740991", 2**53 - 1, ""),
        ("-9007199254740991", -(2**53 - 1), ""),
        ("9007199254740992", "9007199254740992", "number_as_string"),
        ("-9007199254740992", "-9007199254740992", "number_as_string"),
        ("1" * 5000, "1" * 5000, "number_as_string"),
        ("1e400", "1e400", "number_as_string"),
        ("1e-400", "1e-400", "number_as_string"),
        ("1E30", "1E30", "number_as_string"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827", "float_precision"),
        ("0.30000000000000004", 0.30000000000000004, ""),
        ("0.1", 0.1, ""),
        ("1.10", 1.1, ""),
        ("1.0", 1, ""),
        ("1e2", 100, ""),
        ("-0", 0, ""),
        ("-0.0", 0, ""),
        ("0.000", 0, ""),
        ("5e-324", 5e-324, ""),
        ("123456789.123456789123", "123456789.123456789123", "float_precision"),
        ("1e15", 10**15, ""),
        ("1e16", "1e16", "number_as_string"),
    ],
)
def test_numbers(written: str, stored: Any, kind: str) -> None:
    """A number that some JSON reader would change is kept digit by digit, and flagged."""
    raw = body(changed("/metadata/n", "@")).replace(b'"@"', written.encode())
    event = shown(raw)
    assert event["metadata"]["n"] == stored
    assert type(event["metadata"]["n"]) is not bool
    assert [flag["kind"] for flag in event.get("flags", [])] == ([kind] if kind else [])


@pytest.mark.parametrize("field", ["before", "after"])
def test_deep_values(field: str) -> None:
    """Nesting beyond 32 is kept as text in which nothing is lost, beyond 200 it is refused."""
    fits: Any = 1
    for _ in range(limits.VALUE_DEPTH_MAX):
        fits = [fits]
    assert shown(changed(**{field: fits}))[field] == fits
    assert flags_of(changed(**{field: fits})) == set()
    deep: Any = {"password": "hunter2", "k": [1, {"z": None}]}
    for _ in range(100):
        deep = {"d": deep}
    event = shown(changed(**{field: deep}))
    (flag,) = event["flags"]
    assert flag == {"path": f"/{field}" + "/d" * 32, "kind": "too_deep"}
    inner: Any = event[field]
    for _ in range(32):
        inner = inner["d"]
    assert isinstance(inner, str)
    assert '"k":[1,{"z":null}]' in inner
    assert "hunter2" not in inner, "a secret must not hide behind depth"


@pytest.mark.parametrize(
    "name", ["workspace", "stream", "outcome", "error", "context", "targets", "metadata", "id", "occurred_at"]
)
def test_null_means_absent(name: str) -> None:
    """Languages that write null for what they do not have must not be refused."""
    assert shown(changed(**{name: None})) == shown(without(ORDINARY, name))


def test_null_inside_means_absent() -> None:
    """null for an optional field of a part is absence too."""
    actor = {
        "type": "system",
        "id": None,
        "name": None,
        "email": None,
        "credential_id": None,
        "roles": None,
        "on_behalf_of": None,
    }
    context = dict.fromkeys(("ip", "user_agent", "request_id", "session_id", "trace_id", "http", "location"))
    event = shown(
        {
            "action": "a.b",
            "actor": actor,
            "context": context,
            "targets": [{"type": "t", "id": "i", "name": None}],
        }
    )
    assert event["actor"] == {"type": "system"}
    assert event["targets"] == [{"type": "t", "id": "i"}]
    assert "context" not in event


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_nothing_is_a_value_in_before_and_after(value: Any) -> None:
    """'Changed from nothing' must stay different from 'not told'."""
    event = shown(changed(before=value, after=1))
    assert event["before"] == value
    assert type(event["before"]) is type(value)
    assert "before" not in shown(without(changed(after=1), "before"))


def test_actors_without_an_id() -> None:
    """The system and strangers have no id; a key is named by its credential."""
    for actor in ({"type": "system"}, {"type": "anonymous"}, {"type": "api_key", "credential_id": "k"}):
        ready = prepared(changed(actor=actor))
        assert ready.subjects[0].id == ""


def test_ids() -> None:
    """An id is compared as a UUID whatever its case, and made where there is none."""
    upper = prepared(changed(id=ORDINARY["id"].upper()))
    assert (upper.id, upper.id_given) == (UUID(ORDINARY["id"]), True)
    assert upper.id_text == ORDINARY["id"]
    made = prepared(without(ORDINARY, "id"))
    assert (made.id, made.id_given, made.id_text) == (MADE_ID, False, str(MADE_ID))


def test_subjects_come_actor_first() -> None:
    """Refs are given in this order; a mix-up would blame the wrong person."""
    chain = [
        {"type": "agent", "id": "a_1"},
        {"type": "user", "id": "u_9", "name": "Bea", "email": "b@example.org"},
    ]
    subjects = prepared(changed("/actor/on_behalf_of", chain)).subjects
    assert [(s.type, s.id, s.name, s.email) for s in subjects] == [
        ("user", "u_1", "Ann Example", "ann@example.org"),
        ("agent", "a_1", None, None),
        ("user", "u_9", "Bea", "b@example.org"),
    ]


def test_many_flags_are_counted() -> None:
    """An event made of oddities must not grow without bound, and must say how many there were."""
    event = changed("/metadata", {f"k{index}": "\0" for index in range(limits.FLAGS_MAX + 50)})
    flags = shown(event)["flags"]
    assert len(flags) == limits.FLAGS_MAX + 1
    assert flags[-1] == {"path": "", "kind": "more_flags", "length": 50}


def test_text_is_stored_exactly() -> None:
    """HTML, formulas, terminal escapes and bidi marks are evidence: outputs make them harmless, not the log."""
    text = "<script>\u202e=1+1\x1b[2K\r\n'\"&#x0;\u200b\ufeffZ͑͑"
    event = shown(changed("/actor/name", text))
    assert event["actor"]["name"] == text
    assert "flags" not in event


def test_refusals_do_not_repeat_secrets() -> None:
    """A refusal is logged and shown: the secret a producer put into the wrong place must not be in it."""
    secret = "sk-proj-abcdefghij0123456789"
    for event in (changed(**{secret: 1}), changed("/actor", {"type": "user", "id": "x", secret: 2})):
        refused = refusal(event)
        assert secret not in f"{refused} {refused.path}"


def test_a_short_redaction_key_is_refused() -> None:
    """Fingerprints under a guessable key would give secrets away."""
    with pytest.raises(Misconfigured):
        Redaction(key=b"short")


def test_the_strict_decoder_gives_plain_trees() -> None:
    """Ordinary values must come back as ordinary Python values."""
    assert decode_strict(b'{"a": [1, 2.5, null, true, "x"], "b": {}}') == {
        "a": [1, 2.5, None, True, "x"],
        "b": {},
    }
