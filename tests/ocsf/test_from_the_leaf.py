"""From the bytes a producer sends, through the sealed leaf, to OCSF: the rooms fit together."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tallystick.errors import Refused
from tallystick.event.prepare import prepare
from tallystick.event.redact import Redaction
from tallystick.event.render import render as render_event
from tallystick.event.seal import Sealed, seal
from tallystick.ocsf import VIEWS, agrees, langsmith_item, leaf_hash_of, render

from .operations import LOG_NAME, OPERATIONS
from .validity import blanks, errors

RECEIVED_AT = datetime(2026, 11, 20, 10, 31, 1, 134_000, tzinfo=UTC)
SERVER_FIELDS = ("organization", "position", "received_at", "source")


def sealed_from(raw: bytes) -> Sealed:
    """Return the sealed leaf of an event as a producer sent it."""
    prepared = prepare(
        raw, redaction=Redaction(key=b"k" * 32), new_id=lambda: UUID("0192f0c4-0000-7000-8000-000000000001")
    )
    return seal(
        prepared,
        origin=LOG_NAME,
        source="key:tst",
        received_at=RECEIVED_AT,
        refs=[UUID(int=index) for index in range(len(prepared.subjects))],
        seed=b"s" * 16,
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_through_the_log(name: str) -> None:
    """What comes back from leaf and opening is the neutral event these tests use, and its OCSF event is tied."""
    neutral = OPERATIONS[name]
    sent = {key: value for key, value in neutral.items() if key not in SERVER_FIELDS}
    sealed = sealed_from(json.dumps(sent).encode())
    event = render_event(sealed.leaf, sealed.opening, neutral["position"], with_changes=False)
    assert event == neutral
    for version in ("1.7.0", "1.1.0"):
        for view in VIEWS:
            rendered = render(
                event,
                version=version,
                view=view,
                leaf_hash=sealed.leaf_hash,
                log_name=LOG_NAME,
                product_version="0",
            )
            assert errors(rendered) == []
            position, leaf_hash = leaf_hash_of(rendered)
            assert position == neutral["position"]
            assert leaf_hash == hashlib.sha256(b"\0" + sealed.leaf).digest()
            assert agrees(rendered, event, leaf_hash)


def requests(shared: Path) -> list[tuple[str, bytes]]:
    """Return the hostile requests that are single events in JSON, by id."""
    found: list[tuple[str, bytes]] = []
    for line in (shared / "hostile-sample.jsonl").read_text().splitlines():
        case = json.loads(line)
        request = case["request"]
        text = request.get("body_text") or (json.dumps(request["body"]) if "body" in request else None)
        if case["surface"] == "ingest" and text is not None:
            found.append(
                (case["id"], text.replace("{now-5s}", "2026-11-20T10:30:56Z").encode("utf-8", "replace"))
            )
    return found


def test_what_hostile_producers_get_recorded_is_valid(shared: Path) -> None:
    """Everything a hostile producer gets into the log renders as valid OCSF in both versions and all views."""
    recorded = 0
    for case, raw in requests(shared):
        try:
            sealed = sealed_from(raw)
        except Refused:
            continue
        recorded += 1
        event: dict[str, Any] = render_event(sealed.leaf, sealed.opening, 7)
        for version in ("1.7.0", "1.1.0"):
            for view in VIEWS:
                rendered = render(
                    event,
                    version=version,
                    view=view,
                    leaf_hash=sealed.leaf_hash,
                    log_name="l",
                    product_version="0",
                )
                rendered = msgspec.json.decode(msgspec.json.encode(rendered))
                assert errors(rendered) == [], case
                assert list(blanks(rendered)) == [], case
        msgspec.json.encode(langsmith_item(event, leaf_hash=None, log_name="l", product_version="0"))
    assert recorded > 20
