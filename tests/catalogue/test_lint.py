"""The lint and the coverage go red for what they promise to catch."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.catalogue import catalogue, coverage, lint, target_types
from tallystick.catalogue.coverage import NAMES_SHOWN_MAX, names_digest
from tallystick.catalogue.load import parse_action, parse_product, rows
from tallystick.catalogue.model import Product, TargetType
from tallystick.errors import Misconfigured

ANY: Any = "nonsense"


def changed(**fields: Any) -> dict[str, Product]:
    """Return the catalogue with one entry of LangSmith changed."""
    product = catalogue()["langsmith"]
    entry = replace(product.actions["create_api_key"], **fields)
    actions = {**product.actions, "create_api_key": entry}
    return {**catalogue(), "langsmith": replace(product, actions=actions)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"title": ""}, "write a title"),
        ({"title": " API key created"}, "without spaces"),
        ({"title": "x" * 81}, "at most 80"),
        ({"title": "api key created"}, "capital"),
        ({"title": "create_api_key"}, "person understands"),
        ({"name": "create api key"}, "could not carry"),
        ({"verb": ANY}, "verb class"),
        ({"sensitivity": ANY}, "sensitivity"),
        ({"target_type": ANY}, "not declared"),
        ({"class_uid": 6004}, "OCSF class"),
        ({"class_uid": 3002, "activity_id": 8}, "activity of OCSF class 3002"),
        ({"class_uid": 6003, "activity_id": 5}, "activity of OCSF class 6003"),
        ({"api_activity_id": 5}, "activity of OCSF class 6003"),
        ({"activity_id": 3}, "both activities"),
        ({"activity_id": 0}, "activity of OCSF class 6003"),
        ({"verb": "delete"}, "verb class delete needs activity 4"),
    ],
)
def test_lint_refuses_a_bad_entry(fields: dict[str, Any], message: str) -> None:
    """A hand-written entry with this mistake would ship."""
    found = [finding.message for finding in lint(changed(**fields))]
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Api Key"}, "snake_case"),
        ({"label": ""}, "label"),
        ({"family": ANY}, "family"),
        ({"sensitivity": ANY}, "sensitivity"),
        ({"also_called": ("workspaces",)}, "already means workspace"),
    ],
)
def test_lint_refuses_a_bad_target_type(fields: dict[str, Any], message: str) -> None:
    """A target type nobody can read, or that takes another one's words, would ship."""
    types: dict[str, TargetType] = {
        **target_types(),
        "zebra": replace(target_types()["api_key"], name="zebra"),
    }
    types["zebra"] = replace(types["zebra"], **{"also_called": (), **fields})
    found = [finding.message for finding in lint(types=types)]
    assert any(message in text for text in found), found


def test_lint_refuses_homonyms_that_disagree() -> None:
    """The same name would be two different things, depending on which product is asked first."""
    product = catalogue()["langwatch"]
    entry = replace(product.actions["apiKey.create"], target_type="dataset")
    products = {
        **catalogue(),
        "langwatch": replace(product, actions={**product.actions, "apiKey.create": entry}),
    }
    assert [finding.where for finding in lint(products)] == ["apiKey.create"]


def test_lint_refuses_additional_names_without_entry() -> None:
    """A name counted as known besides the published list would have no entry."""
    product = replace(catalogue()["langfuse"], additional=frozenset({"no.such"}))
    assert any("no.such" in finding.message for finding in lint({"langfuse": product}))


@pytest.mark.parametrize("name", ["langsmith", "langfuse", "langwatch", "mistral", "openai", "anthropic"])
def test_coverage_goes_red_when_a_name_goes(name: str) -> None:
    """Coverage would call a catalogue complete from which a published name was dropped or renamed."""
    product = catalogue()[name]
    gone = next(action for action in product.actions if action not in product.additional)
    fewer = {key: action for key, action in product.actions.items() if key != gone}
    renamed = {**fewer, "renamed": product.actions[gone]}
    for actions in (fewer, renamed):
        (row,) = coverage({name: replace(product, actions=actions)})
        assert not row.is_complete
        assert row.covered is None
        assert "compare with the list" in row.sentence()
        assert any(finding.where == name for finding in lint({name: replace(product, actions=actions)}))


def test_coverage_names_what_is_missing_and_what_is_too_much() -> None:
    """Someone who completes the catalogue would have to search for what is missing."""
    published = [*catalogue()["openai"].actions, *(f"new.action{number:02}" for number in range(12))]
    published.remove("login.failed")
    (row,) = coverage({"openai": catalogue()["openai"]}, {"openai": published})
    assert (row.covered, row.published, row.surplus) == (148, 160, ("login.failed",))
    assert len(row.missing) == 12
    assert "new.action09 and 2 more" in row.sentence()
    assert NAMES_SHOWN_MAX == 10


def test_digest_is_that_of_the_sorted_names() -> None:
    """Whoever computes the digest with sort and sha256sum would get another one."""
    assert names_digest(["b", "a", "c"]) == sha256(b"a\nb\nc").hexdigest()


def test_malformed_tables_are_refused() -> None:
    """A line with a cell too few would be read into the wrong columns."""
    with pytest.raises(Misconfigured, match="7 cells, found 2"):
        list(rows("a | b", 7, "x.toml"))
    assert list(rows("# a comment\n\na | b", 2, "x.toml")) == [["a", "b"]]
    with pytest.raises(Misconfigured, match="must be class"):
        parse_action(["a", "A", "read", "event", "normal", "6003", "2"], "x")


def test_duplicates_are_refused() -> None:
    """The second entry of a name would silently replace the first."""
    line = "a.b | A b | read | event | normal | 6003.2 | 2\n"
    assert parse_product(f"title = 'X'\nactions = '''\n{line}'''", "x").published is None
    with pytest.raises(Misconfigured, match="twice"):
        parse_product(f"title = 'X'\nactions = '''\n{line}{line}'''", "x")
