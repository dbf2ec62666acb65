"""An organization's own actions: what is accepted, and how an event breaks a schema."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.catalogue.registered import (
    VIOLATIONS_MAX,
    RegisteredAction,
    check,
    checker,
    judge_registration,
    newest,
)
from tallystick.catalogue.schema_limits import IN_PLACE_MAX, SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, judge_schema
from tallystick.catalogue.schema_validator import STEPS_MAX, _frozen, counted_steps

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://acme.example/refund",
    "required": ["metadata"],
    "properties": {
        "metadata": {
            "required": ["ticket"],
            "properties": {
                "ticket": {"$ref": "#/$defs/ticket"},
                "amount": {"type": "integer", "maximum": 500},
            },
            "patternProperties": {"^x-": {"type": "string"}},
            "additionalProperties": False,
        }
    },
    "$defs": {"ticket": {"type": "string", "pattern": "^[A-Z]+-[0-9]+$"}},
}
REFUND = RegisteredAction(
    name="acme.refund.granted",
    version=1,
    schema=SCHEMA,
    title="Refund granted",
    verb="access",
    target_type="refund",
    sensitivity="security",
)


def with_schema(schema: Any) -> RegisteredAction:
    return replace(REFUND, schema=schema)


def test_a_sound_declaration_is_accepted() -> None:
    """An organization could not register an action at all."""
    assert judge_registration(REFUND) == []
    assert msgspec.json.decode(msgspec.json.encode(REFUND), type=RegisteredAction) == REFUND


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": "with space"}, "/name"),
        ({"name": "x" * 257}, "/name"),
        ({"version": 0}, "/version"),
        ({"version": 2**31}, "/version"),
        ({"title": " "}, "/title"),
        ({"title": "x" * 81}, "/title"),
        ({"verb": "frob"}, "/verb"),
        ({"target_type": "Api Key"}, "/target_type"),
        ({"sensitivity": "high"}, "/sensitivity"),
        ({"schema": []}, "/schema"),
    ],
)
def test_an_unsound_declaration_is_refused(fields: dict[str, Any], path: str) -> None:
    """A declaration that cannot be shown or never matches an event would be registered."""
    assert [finding.path for finding in judge_registration(replace(REFUND, **fields))] == [path]


def wide(count: int) -> dict[str, Any]:
    return {"enum": ["y" * (count - len('{"enum": [""]}'))]}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels // 2):
        schema = {"properties": {"a": schema}}
    return schema


def doubling(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**defs, f"d{levels}": {}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"$ref": "https://example.com/other.json"}, "/$ref", "not a place in this schema"),
        ({"$ref": "file:///etc/passwd"}, "/$ref", "not a place in this schema"),
        ({"$ref": "other.json#/x"}, "/$ref", "not a place in this schema"),
        ({"$ref": "#/$defs/none"}, "/$ref", "not a place in this schema"),
        ({"properties": {"a/b": {"$ref": "x"}}}, "/properties/a~1b/$ref", "not a place in this schema"),
        ({"properties": {"$ref": {"$ref": "x"}}}, "/properties/$ref/$ref", "not a place in this schema"),
        ({"$dynamicRef": "#x"}, "/$dynamicRef", "write $ref"),
        ({"$anchor": "x"}, "/$anchor", "#/$defs/name"),
        ({"unevaluatedProperties": False}, "/unevaluatedProperties", "additionalProperties"),
        ({"items": {"$id": "https://example.com/x"}}, "/items/$id", "only the whole schema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "other dialects"),
        ({"type": "text"}, "/type", "not JSON Schema"),
        ({"required": "ticket"}, "/required", "not JSON Schema"),
        ({"pattern": "("}, "/pattern", "not valid"),
        ({"patternProperties": {"(a+)+": {}}}, "/patternProperties", "a group that holds"),
        ({"$ref": "#"}, "", "refers to itself"),
        ({"anyOf": [{"type": "string"}, {"not": {"$ref": "#/anyOf/1"}}]}, "", "refers to itself"),
        (doubling(11), "", "more than 5000 subschemas"),
        (wide(SCHEMA_BYTES_MAX + 1), "", "65536 bytes"),
        (deep(SCHEMA_DEPTH_MAX + 2), "", "32 levels"),
        ({"const": float("nan")}, "", "not JSON"),
    ],
)
def test_a_schema_that_could_do_harm_is_refused(schema: dict[str, Any], path: str, message: str) -> None:
    """A schema would reach out to the network, or take without end to check one event."""
    found = judge_schema(schema)
    assert [(finding.path, message in finding.message) for finding in found][:1] == [(path, True)], found
    with pytest.raises(ValueError, match="cannot be used"):
        checker(with_schema(schema))


@pytest.mark.parametrize("schema", [wide(SCHEMA_BYTES_MAX), deep(SCHEMA_DEPTH_MAX), doubling(10)])
def test_a_schema_at_the_limit_is_accepted(schema: dict[str, Any]) -> None:
    """The limits would be lower than documented."""
    assert judge_schema(schema) == []


def test_data_inside_a_schema_is_not_read_as_schema() -> None:
    """A constant that happens to have a key called $ref would be refused."""
    schema = {
        "properties": {"pattern": {"const": {"$ref": "x", "pattern": "("}}, "$id": {"enum": [{"$id": 1}]}}
    }
    assert judge_schema(schema) == []


def test_violations_name_place_and_rule_but_never_the_value() -> None:
    """Whoever mends the schema would not know where, or a secret would stand in a message."""
    event = {
        "action": REFUND.name,
        "metadata": {"ticket": "hunter2", "amount": 900, "x-note": 1, "card": "4111"},
    }
    found = check(event, REFUND)
    assert {(one.path, one.rule) for one in found} == {
        ("/metadata/ticket", "pattern"),
        ("/metadata/amount", "maximum"),
        ("/metadata/x-note", "type"),
        ("/metadata", "additionalProperties"),
    }
    text = json.dumps([msgspec.to_builtins(one) for one in found])
    assert "hunter2" not in text
    assert "4111" not in text
    assert "900" not in text
    (maximum,) = [one for one in found if one.rule == "maximum"]
    assert maximum.message == "must be at most 500"
    assert maximum.schema_path == "/properties/metadata/properties/amount/maximum"


def test_a_good_event_has_no_violations() -> None:
    """Good events would land in quarantine."""
    event = {"action": REFUND.name, "metadata": {"ticket": "AB-12", "amount": 500, "x-note": "late"}}
    assert check(event, REFUND) == []
    assert [one.path for one in check({"action": REFUND.name}, REFUND)] == [""]


def test_paths_are_json_pointers() -> None:
    """A key with a slash or a tilde in it would point to another place."""
    schema = {"properties": {"a/b~c": {"items": {"type": "string"}}}}
    assert [one.path for one in check({"a/b~c": ["x", 1]}, with_schema(schema))] == ["/a~1b~0c/1"]


def test_violations_are_capped_and_say_so() -> None:
    """An event with ten thousand bad items would carry ten thousand violations."""
    schema = {"properties": {"metadata": {"items": {"type": "string"}}}}
    found = check({"metadata": list(range(100))}, with_schema(schema))
    assert len(found) == VIOLATIONS_MAX + 1
    assert found[-1].rule == "limit"


def test_an_event_that_takes_too_long_is_a_violation() -> None:
    """One event would hold up all others, or a check that gave up would count as passed."""
    twice = {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}
    tree = {"$defs": {"n": {"properties": {"c": twice}, "required": ["never"]}}, "$ref": "#/$defs/n"}
    event: dict[str, Any] = {}
    for _ in range(28):
        event = {"c": event}
    started = time.monotonic()
    assert [one.rule for one in check(event, with_schema(tree))] == ["limit"]
    assert time.monotonic() - started < 20
    for _ in range(2_000):
        event = {"c": event}
    straight = {"$defs": {"n": {"properties": {"c": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    assert [one.rule for one in check(event, with_schema(straight))] == ["limit"]


def test_a_string_too_long_for_its_pattern_is_a_violation() -> None:
    """A value that an attacker writes would keep the matcher busy for hours."""
    schema = {"properties": {"metadata": {"pattern": "a*a*a*a*b"}}}
    started = time.monotonic()
    assert [one.rule for one in check({"metadata": "a" * 100_000}, with_schema(schema))] == ["limit"]
    assert time.monotonic() - started < 10
    assert [one.rule for one in check({"metadata": "a" * 12}, with_schema(schema))] == ["pattern"]
    assert check({"metadata": "aab"}, with_schema(schema)) == []
    keys = {"patternProperties": {"a*a*a*a*b": {}}, "additionalProperties": False}
    assert [one.rule for one in check({"a" * 100_000: 1}, with_schema(keys))] == ["limit"]


def test_each_check_has_its_own_count() -> None:
    """Events checked after one another would use up one another's steps."""
    schema = {"items": {"type": "integer"}}
    run = checker(with_schema({"properties": {"metadata": schema}}))
    event = {"metadata": list(range(int(STEPS_MAX * 0.6)))}
    assert run(event) == []
    assert run(event) == []


def test_unique_items_in_one_pass() -> None:
    """Twenty thousand objects would be compared pair by pair."""
    run = checker(with_schema({"properties": {"metadata": {"uniqueItems": True}}}))
    started = time.monotonic()
    assert run({"metadata": [{"n": number} for number in range(20_000)]}) == []
    assert time.monotonic() - started < 20
    assert [one.rule for one in run({"metadata": [{"n": 1}, {"n": 1.0}]})] == ["uniqueItems"]
    assert run({"metadata": [True, 1, "1", [1], {"1": 1}]}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.sampled_from("ab"),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("ab"), below, max_size=2),
    max_leaves=6,
)


@settings(max_examples=150)
@given(JSON, JSON)
def test_equal_means_what_the_library_means(one: object, other: object) -> None:
    """`uniqueItems` would call things equal that `enum` calls different."""
    from jsonschema._utils import equal

    with counted_steps():
        assert (_frozen(one) == _frozen(other)) == equal(one, other)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(["metadata", "ticket", "x-a", "action"]), JSON, max_size=4))
def test_agrees_with_the_library(metadata: dict[str, Any]) -> None:
    """Our bounded keywords would judge an event differently from JSON Schema."""
    from jsonschema import Draft202012Validator

    event = {"metadata": metadata}
    assert (check(event, REFUND) == []) == Draft202012Validator(SCHEMA).is_valid(event)


def test_newest_version_counts() -> None:
    """New events would be held against a schema that was replaced."""
    other = replace(REFUND, name="acme.other")
    second = replace(REFUND, version=2)
    assert newest([second, other, REFUND]) == {REFUND.name: second, "acme.other": other}
    assert newest([]) == {}


def test_nothing_is_fetched_and_the_library_comes_late() -> None:
    """Importing the catalogue would cost every start a fifth of a second."""
    import subprocess
    import sys

    code = "import sys, tallystick.catalogue.registered; sys.exit('jsonschema' in sys.modules)"
    source = Path(__file__).resolve().parents[2] / "src"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(source)}).returncode == 0


def test_limits_are_the_documented_ones() -> None:
    """A limit would change without anyone noticing."""
    assert (SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, IN_PLACE_MAX, STEPS_MAX) == (65_536, 32, 5_000, 50_000)
