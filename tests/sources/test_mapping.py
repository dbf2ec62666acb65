"""Mappings of feeds that are not ours."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from tallystick.errors import Misconfigured, Refused
from tallystick.sources.mapping import parse_mapping, read_mapping, shipped
from tallystick.sources.records import records

MINIMAL = """
[event]
action = "$.do"
[event.actor]
type = "user"
id = "$.who"
"""


def _events(text: bytes, name: str) -> list[dict]:
    mapping = shipped(name)
    return [
        mapping.apply(record.value) for record in records(io.BytesIO(text), mapping.input) if record.value
    ]


def test_real_cloudtrail_maps_whole(shared: Path) -> None:
    """A real CloudTrail record would be lost, or come without who, what, when or from where."""
    mapping = shipped("cloudtrail")
    with (shared / "data/cloudtrail-2020-09-14.jsonl").open("rb") as stream:
        found = [(record.value, mapping.apply(record.value)) for record in records(stream, mapping.input)]
    assert len(found) == 103
    for record, event in found:
        service = record["eventSource"].removesuffix(".amazonaws.com")
        assert event["action"] == f"{service}:{record['eventName']}"
        assert event["id"] == record["eventID"]
        assert event["occurred_at"] == record["@timestamp"]
        assert event["context"]["ip"] == record["sourceIPAddress"]
        assert event["actor"]["id"]
        assert event["metadata"].get("request") == record["requestParameters"]
    roles = [event for _, event in found if event["action"] == "sts:AssumeRole"]
    assert {event["targets"][0]["type"] for event in roles} == {"AWS::IAM::Role"}
    assert all(
        len({(t["type"], t["id"]) for t in e.get("targets", [])}) == len(e.get("targets", []))
        for _, e in found
    )


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ({"errorCode": "AccessDenied"}, "denied"),
        ({"errorCode": "Client.UnauthorizedOperation"}, "denied"),
        ({"errorCode": "NoSuchBucket"}, "failure"),
        ({"responseElements": {"ConsoleLogin": "Failure"}}, "failure"),
        ({"responseElements": {"ConsoleLogin": "Success"}}, "success"),
        ({}, "success"),
    ],
)
def test_cloudtrail_outcomes(record: dict, outcome: str) -> None:
    """A refused AWS call would be shown as a success."""
    base = {
        "eventID": "1",
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "eventTime": "2026-01-01T00:00:00Z",
    }
    line = json.dumps({**base, "userIdentity": {"type": "Root", "accountId": "1"}, **record}).encode()
    assert _events(line, "cloudtrail")[0]["outcome"] == outcome


def test_cloudtrail_files_as_aws_writes_them() -> None:
    """A CloudTrail file as it lies in S3 (one gzipped document, `Records` within) could not be imported."""
    record = {"eventID": "1", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "eventTime": "t",
              "userIdentity": {"type": "IAMUser", "arn": "a", "userName": "ada"}}  # fmt: skip
    for text in (
        json.dumps({"Records": [record, record]}),
        json.dumps({"Records": [record, record]}, indent=1),
    ):
        assert len(_events(gzip.compress(text.encode()), "cloudtrail")) == 2
        assert len(_events(text.encode(), "cloudtrail")) == 2


def test_git_history_tells_author_and_committer_apart() -> None:
    """Whoever brought in somebody else's change would be shown as its author, or the other way round."""
    own = (
        "c1\x1fAda\x1fada@x\x1f2026-01-01T00:00:00Z\x1fAda\x1fada@x\x1f2026-01-01T00:00:00Z\x1f\x1f\x1ffirst"
    )
    merged = 'c2\x1fAda\x1fAda@x\x1f2026-01-02T00:00:00Z\x1fBob\x1fBob@x\x1f2026-01-03T00:00:00Z\x1fa b\x1f\x1fodd \x1f "one"'
    first, second = _events(f"{own}\n{merged}\n".encode(), "git")
    assert first["action"] == "git.commit"
    assert "on_behalf_of" not in first["actor"]
    assert second["action"] == "git.merge"
    assert second["actor"]["id"] == "bob@x"
    assert second["actor"]["on_behalf_of"] == [
        {"type": "user", "id": "ada@x", "name": "Ada", "email": "Ada@x"}
    ]
    assert second["occurred_at"] == "2026-01-03T00:00:00Z"
    assert second["metadata"]["subject"] == 'odd \x1f "one"'


def test_unreadable_lines_are_reported_not_skipped() -> None:
    """A broken line in a feed would vanish without a word."""
    mapping = parse_mapping(MINIMAL, "m")
    found = list(records(io.BytesIO(b'{"do": "a", "who": "b"}\nnonsense\n\n[1]\n'), mapping.input))
    assert [(record.line, bool(record.value), bool(record.error)) for record in found] == [
        (1, True, False),
        (2, False, True),
        (4, False, True),
    ]


def test_a_record_without_action_is_refused() -> None:
    """A record that does not say what was done would become an event about nothing."""
    with pytest.raises(Refused, match="no action"):
        parse_mapping(MINIMAL, "m").apply({"who": "b"})


@pytest.mark.parametrize(
    ("spec", "record", "value"),
    [
        ('{path = "$.t", time = "unix"}', {"t": 1767225600}, "2026-01-01T00:00:00+00:00"),
        ('{path = "$.t", time = "unix_ms"}', {"t": "1767225600500"}, "2026-01-01T00:00:00.500000+00:00"),
        (
            '{path = "$.t", time = "%d/%b/%Y:%H:%M:%S %z"}',
            {"t": "01/Jan/2026:01:00:00 +0100"},
            "2026-01-01T01:00:00+01:00",
        ),
        ('{first = ["$.a", "$.b"]}', {"b": "x"}, "x"),
        ('{path = "$.a", table = {x = "y"}, otherwise = "z"}', {"a": "q"}, "z"),
        ('{path = "$.a[1].b"}', {"a": [{}, {"b": "deep"}]}, "deep"),
        ('{path = "$.\\"odd name\\""}', {"odd name": "v"}, "v"),
        ('{path = "$.a", after = "/", before = ":"}', {"a": "x/y:z"}, "y"),
    ],
)
def test_expressions(spec: str, record: dict, value: str) -> None:
    """A rule of the mapping language would not do what its page says."""
    mapping = parse_mapping(MINIMAL + f"name = {spec}\n", "m")
    assert mapping.apply({"do": "a", "who": "b", **record})["actor"]["name"] == value


@pytest.mark.parametrize(
    "text",
    [
        "[event]\ncolour = 'red'",
        "[event]\naction = {path = '$.a', nonsense = 1}",
        "[event]\naction = '$..a'",
        "x = [",
    ],
)
def test_a_wrong_mapping_says_what_is_wrong(text: str) -> None:
    """A slip in a mapping file would be ignored, and a field silently missing from every event."""
    with pytest.raises(Misconfigured):
        parse_mapping(text, "m")


def test_a_time_that_does_not_fit_is_refused() -> None:
    """A time of another format would be taken for now."""
    mapping = parse_mapping(
        MINIMAL.replace('action = "$.do"', 'action = "$.do"\noccurred_at = {path = "$.t", time = "unix"}'),
        "m",
    )
    with pytest.raises(Refused):
        mapping.apply({"do": "a", "who": "b", "t": "yesterday"})


def test_unknown_mapping_names_the_shipped_ones() -> None:
    """Whoever mistypes a mapping's name would not learn which exist."""
    with pytest.raises(Misconfigured, match="git, cloudtrail"):
        read_mapping("gti")
