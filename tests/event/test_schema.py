"""The published schema and the reference page say what the code does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tallystick.errors import Refused
from tallystick.event import limits, model
from tallystick.event.schema import components_of_event, fields_table, json_schema, limits_table

from .making import ORDINARY, changed, prepared

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "event.md"
validator = Draft202012Validator(json_schema())


def test_the_schema_is_a_schema() -> None:
    """A schema that is none would silently validate everything."""
    Draft202012Validator.check_schema(json_schema())
    assert json_schema() == json_schema(), "asking twice must not change it"


def test_the_ordinary_event_is_valid() -> None:
    """The example everybody copies must be valid."""
    validator.validate(ORDINARY)


@pytest.mark.parametrize(
    "event",
    [
        changed(action="prompt update"), changed(action="a" * 257), changed(action=1), changed(actor={"type": "user"}),
        changed(actor={"type": "api_key"}), changed(actor={"type": "robot", "id": "x"}), changed(actor=None),
        changed("/actor/on_behalf_of", [{"type": "user"}]), changed("/actor/on_behalf_of", [{"type": "system"}] * 9),
        changed("/actor/roles", {"x": "y"}), changed(targets=[{"type": "t"}]), changed(targets=[{"type": "", "id": "x"}]),
        changed(targets=[{"type": "t", "id": "x"}] * 101), changed(stream="X"), changed(outcome="ok"), changed(id="x"),
        changed(workspace=""), changed(metadata=[]), changed(context={"http": {"status": 1000}}), changed(unknown=1),
        changed(producer={"id": "p"}), changed(producer={"id": "p/q", "epoch": "e", "sequence": 1}),
        changed(producer={"id": "p", "epoch": "", "sequence": 1}), changed(producer={"id": "p", "epoch": "e", "sequence": 0}),
        changed(producer={"id": "p", "epoch": "e", "sequence": 1, "unsent": [{"first": 0, "last": 1}]}),
        changed(producer={"id": "p", "epoch": "e", "sequence": 1, "unsent": [{"first": 1, "last": 2}] * 65}),
        changed(occurred_at="soon"), {"action": "a.b"}, {"actor": {"type": "system"}}, [],
    ],
)  # fmt: skip
def test_what_the_server_refuses_the_schema_refuses(event: Any) -> None:
    """A producer who validates first must learn of a mistake before the server tells him."""
    with pytest.raises(Refused):
        prepared(event)
    assert list(validator.iter_errors(event))


@pytest.mark.parametrize(
    "event",
    [
        {"action": "a.b", "actor": {"type": "system"}}, changed(targets=None, metadata=None, before=None, id=None),
        changed(actor={"type": "api_key", "credential_id": "k"}), changed(actor={"type": "anonymous", "name": "?"}),
        changed(producer={"id": "billing-api", "epoch": "01j.a:b_c", "sequence": 2**53 - 1}),
        changed(producer={"id": "p", "epoch": "e", "sequence": 9, "unsent": [{"first": 2, "last": 8}]}),
        changed(before=False, after=[1, {"x": None}]), changed(context={"http": {"status": 0}}),
    ],
)  # fmt: skip
def test_what_the_server_takes_the_schema_takes(event: Any) -> None:
    """A valid event must not fail in the producer's own tests."""
    validator.validate(event)
    prepared(event)


def test_components_for_openapi() -> None:
    """OpenAPI refers to components by its own path."""
    reference, components = components_of_event("#/components/schemas/{name}")
    assert reference == {"$ref": "#/components/schemas/Event"}
    assert {
        "Event",
        "Actor",
        "Target",
        "Delegator",
        "Context",
        "Error",
        "Http",
        "Location",
        "Roles",
        "Producer",
        "Span",
    } == components.keys()


def test_every_text_has_a_limit() -> None:
    """Everything has a limit: a text without one could grow to the size of an event."""
    unlimited: list[str] = []

    def look(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            if (
                schema.get("type") == "string"
                and not schema.keys() & {"maxLength", "enum"}
                and "minLength" not in schema
            ):
                unlimited.append(path)
            for key, part in schema.items():
                look(part, f"{path}/{key}")
        elif isinstance(schema, list):
            for index, part in enumerate(schema):
                look(part, f"{path}/{index}")

    look(json_schema(), "")
    assert unlimited == []


def test_no_limit_is_left_over() -> None:
    """A limit for a field that no longer exists promises what nobody checks."""
    written = str(components_of_event("{name}")[1]).replace("'", "")
    for place in (*limits.DEVELOPER, *limits.FOREIGN):
        assert place.rsplit(".", 1)[-1] in written, place
    assert copy.deepcopy(model.ACTORS_WITHOUT_ID) == {"system", "anonymous"}


@pytest.mark.parametrize(("name", "table"), [("fields", fields_table()), ("limits", limits_table())])
def test_the_page_is_current(name: str, table: str) -> None:
    """A table that was changed in the code and not in the docs misleads whoever reads it."""
    page = PAGE.read_text("utf-8")
    assert f"<!-- {name} -->\n{table}<!-- /{name} -->" in page, (
        f"put the table of {name}_table() into the page"
    )


def test_the_page_names_every_flag_and_rule() -> None:
    """Whoever sees a flag or a rule must be able to look it up."""
    page = PAGE.read_text("utf-8")
    flags = {
        "nul", "surrogate", "number_as_string", "float_precision", "too_deep", "truncated", "ip_port", "ip_invalid",
        "time_precision", "leap_second", "clock_skew", "backdated", "producer_redacted", "more_flags", "schema",
    }  # fmt: skip
    rules = {
        "invalid_json", "invalid_utf8", "duplicate_key", "too_deep", "unknown_field", "server_owned_field",
        "invalid_field", "invalid_identifier", "invalid_time", "too_many_targets", "event_too_large",
        "batch_too_large", "too_many_events",
    }  # fmt: skip
    assert [word for word in sorted(flags | rules) if f"`{word}`" not in page] == []
