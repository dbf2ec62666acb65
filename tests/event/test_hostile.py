"""The shared hostile requests, as far as the event room decides about them, and more of the same kind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import hostile
from hostile_more import more_cases
from tallystick.errors import Refused, TooLarge
from tallystick.event.batch import split
from tallystick.event.redact import MARK

from .making import NOW, prepared, sealed, shown

GROUPS = ("text", "json", "schema", "size", "time", "ip", "secret", "pii", "idem", "display")
SAMPLE = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "hostile-sample.jsonl"

# Where the sample and the event's contract differ, the contract wins. Case → why, and what holds instead.
DIFFERENT: dict[str, tuple[str, str]] = {
    "H112": ("integers beyond ±(2^53−1) are kept as text and flagged, so that every reader sees the digits", "flagged:number_as_string"),
    "H114": ("a number of any length is kept as text and flagged, not refused", "flagged:number_as_string"),
    "H141": ("ids end at 512 characters: the rest is cut, flagged, and told apart by a digest", "flagged:truncated"),
    "H180": ("tenant_id is no name of ours, yet close enough to be called server-owned", "refused:server_owned_field"),
    "H181": ("`id` is the idempotency key here; evt_forged is simply no UUID", "refused:invalid_identifier"),
}  # fmt: skip


def cases() -> list[hostile.Case]:
    if not SAMPLE.exists():
        return []
    now = datetime.now(UTC)
    return [
        case
        for case in hostile.read_cases(SAMPLE, now)
        if case.surface == "ingest" and case.group.split(".")[0] in GROUPS
    ]


def test_the_sample_is_there(shared: Path) -> None:
    """An empty list of cases must not look like a pass."""
    assert len(cases()) > 70, "the sample must hold the cases this room decides"
    assert {case.id for case in cases()} >= DIFFERENT.keys()


def our_cases() -> list[hostile.Case]:
    return more_cases(datetime.now(UTC))


def test_our_own_cases_are_many() -> None:
    """The sample is a sample: what it does not show must be tried too."""
    assert len(our_cases()) >= 60
    assert len({case.title for case in our_cases()}) == len(our_cases()), "each case has its own title"


@pytest.mark.parametrize("case", cases() + our_cases(), ids=lambda case: f"{case.id}-{case.group}")
def test_hostile_request(case: hostile.Case) -> None:
    """A hostile event must neither break the server nor hide its author, nor leak a secret."""
    assert case.body is not None
    now = datetime.now(UTC)
    if case.id in DIFFERENT:
        kind, _, what = DIFFERENT[case.id][1].partition(":")
        if kind == "refused":
            assert _refusal(case.body).rule == what
        else:
            assert what in _flag_kinds(shown(case.body, received_at=now))
    elif not case.accepted:
        refused = _refusal(case.body)
        assert case.code in ("", refused.rule), f"{case.title}: {refused}"
        assert isinstance(refused, TooLarge) == (413 in case.statuses)
        if "error_names_field" in case.then:
            assert refused.path, f"{case.title}: the refusal names no field"
    else:
        event = shown(case.body, received_at=now)
        json.dumps(event, allow_nan=False).encode()
        for promise in case.then:
            _check(promise, case, event)


def _refusal(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        prepared(body)
    return caught.value


def _flag_kinds(event: dict[str, Any]) -> set[str]:
    return {flag["kind"] for flag in event.get("flags", [])}


def _check(promise: str, case: hostile.Case, event: dict[str, Any]) -> None:
    """Check one expectation of the sample that is decided in this room; the others belong to other tests."""
    name, _, what = promise.partition(":")
    sent = json.loads(case.body or b"null")
    match name:
        case "flag" if what == "redacted":
            assert event["redacted"]
        case "flag":
            assert what in _flag_kinds(event), f"{case.title}: {event.get('flags')}"
        case "stored":
            pointer, _, value = what.partition("=")
            assert _at(event, pointer) == value
        case "stored_equal":
            for field in sent:
                expected = _without_nulls(field, sent[field])
                if field != "occurred_at" and expected is not ...:
                    assert event.get(field, {}) == expected, f"{case.title}: {field}"
        case "canary_absent_everywhere":
            row = sealed(prepared(case.body or b""))
            for secret in (*hostile.SECRETS.values(), "CANARY"):
                assert secret.encode() not in row.leaf + row.opening
        case "hmac_fingerprint_kept":
            assert MARK in json.dumps(event) or "[redacted:" in json.dumps(event)
        case "stored_as_utc_same_instant":
            read = datetime.fromisoformat
            assert read(event["occurred_at"]) == read(sent["occurred_at"])
            assert event["occurred_at"].endswith("Z")
        case _:
            pass


def _without_nulls(field: str, value: Any) -> Any:
    """Return what is stored of a field; `...` for null where it means absent."""
    if field in ("before", "after"):
        return value
    if value is None:
        return ...
    return {k: v for k, v in value.items() if v is not None} if field in ("actor", "context") else value


def _at(event: Any, pointer: str) -> Any:
    for step in pointer.strip("/").split("/"):
        event = event[int(step)] if isinstance(event, list) else event[step]
    return event


def test_batches_of_the_sample(shared: Path) -> None:
    """One bad event in a batch must not cost the good ones their place."""
    outcomes = {}
    for case in hostile.read_cases(SAMPLE, NOW):
        if case.surface == "batch":
            events = split(case.body or b"", ndjson="ndjson" in str(case.headers))
            outcomes[case.id] = sum(_is_good(event) for event in events), len(events)
    assert outcomes == {"H270": (0, 1), "H274": (1, 1000), "H276": (4, 5), "H278": (3, 3)}


def _is_good(event: bytes) -> bool:
    try:
        prepared(event)
    except Refused:
        return False
    return True
