"""The catalogue that ships: sound, complete, and the same as its page in the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tallystick.catalogue import catalogue, coverage, describe, lint, mistral_target_types
from tallystick.catalogue.kinds import ACTIVITIES, CLASS_NAMES
from tallystick.catalogue.model import PRODUCTS, SENSITIVITIES, VERBS
from tallystick.catalogue.page import SENSITIVITY_MEANINGS, VERB_MEANINGS, render_markdown

PUBLISHED = {
    "langsmith": (394, 0),
    "langfuse": (124, 5),
    "langwatch": (404, 1),
    "mistral": (211, 0),
    "openai": (149, 0),
    "anthropic": (297, 0),
}

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "catalogue.md"


def names_in(shared: Path, stem: str) -> list[str]:
    return (shared / "catalogue" / f"catalogue-{stem}.txt").read_text("utf-8").split()


def test_lint_is_clean() -> None:
    """An entry without a title, a class or a declared target type would ship."""
    assert lint() == []


@pytest.mark.parametrize("product", PUBLISHED)
def test_every_published_name_has_an_entry(product: str, shared: Path) -> None:
    """An action of a product we claim to know would be shown by its raw name."""
    published = names_in(shared, product)
    (row,) = [row for row in coverage(published={product: published}) if row.product == product]
    assert (row.missing, row.surplus) == ((), ())
    assert (row.covered, row.additional) == PUBLISHED[product]


def test_documented_names_of_langfuse_have_an_entry(shared: Path) -> None:
    """A name that stands only in Langfuse's documentation would be unknown."""
    missing = set(names_in(shared, "langfuse-documented")) - catalogue()["langfuse"].actions.keys()
    assert missing == set()


def test_mistral_target_types_are_all_spoken(shared: Path) -> None:
    """A target type of Mistral's closed list could never be answered or filtered for."""
    assert set(mistral_target_types()) == set(names_in(shared, "mistral-target-types"))
    assert len(mistral_target_types()) == 48


def test_coverage_is_complete_without_the_lists() -> None:
    """`catalogue coverage` on an installed server would not tell that the catalogue is whole."""
    rows = {row.product: row for row in coverage()}
    assert {name: (row.covered, row.additional) for name, row in rows.items()} == PUBLISHED
    assert all(row.is_complete for row in rows.values())


def test_own_actions_are_many_and_ours() -> None:
    """Our own acts would be recorded under names the viewer cannot title."""
    own = catalogue()["tallystick"].actions
    assert len(own) >= 50
    for name in [
        "key.created",
        "key.revoked",
        "key.rotated",
        "signin.succeeded",
        "signin.failed",
        "access.denied",
        "events.searched",
        "events.exported",
        "event.viewed",
        "organization.audit_logs_enabled",
        "organization.audit_logs_disabled",
        "retention.pruned",
        "legal_hold.set",
        "legal_hold.released",
        "privacy.erased",
        "server.started",
        "server.stopped",
        "quarantine.reprocessed",
        "catalogue.action_registered",
        "log.fork_acknowledged",
    ]:
        assert name in own


def test_activities_are_those_of_the_real_schema() -> None:
    """An activity that OCSF 1.7.0 does not have would pass our own lint and fail at every reader."""
    from ocsf_json_schema import get_ocsf_schema

    classes: dict[int, dict[str, Any]] = {
        one["uid"]: one for one in get_ocsf_schema("1.7.0")["classes"].values()
    }
    for uid, activities in ACTIVITIES.items():
        real = {
            int(key): value["caption"]
            for key, value in classes[uid]["attributes"]["activity_id"]["enum"].items()
        }
        assert activities == {key: caption for key, caption in real.items() if key != 0}
        assert CLASS_NAMES[uid] == classes[uid]["caption"]


# What an update of a user turns out to be (here: disabled) is seen in before and after, not in the name.
DECIDED_BY_CONTENT = {"update_scim_user"}


def test_places_are_those_of_the_worked_examples(shared: Path) -> None:
    """An operation would be rendered as another OCSF class than the example that passed three validators."""
    seen = 0
    for path in sorted((shared / "ocsf-examples").glob("[01]*.1.7.0.json")):
        example = json.loads(path.read_text("utf-8"))
        action = example["metadata"]["event_code"]
        info = describe(action)
        assert info.class_uid == example["class_uid"], path.name
        if action not in DECIDED_BY_CONTENT:
            assert info.activity_id == example["activity_id"], path.name
        seen += 1
    assert seen == 19


def test_page_is_current() -> None:
    """The documentation would describe another catalogue than the one that runs."""
    assert PAGE.read_text("utf-8") == render_markdown(), (
        "render docs/reference/catalogue.md anew: it is what tallystick.catalogue.page.render_markdown() returns"
    )


def test_page_explains_every_word_it_uses() -> None:
    """A verb class or sensitivity would appear on the page without a meaning."""
    assert tuple(VERB_MEANINGS) == VERBS
    assert tuple(SENSITIVITY_MEANINGS) == SENSITIVITIES


def test_products_are_those_of_the_files() -> None:
    """A file in actions/ would never be read."""
    from importlib.resources import files

    found = {path.name for path in files("tallystick.catalogue").joinpath("actions").iterdir()}
    assert found == {f"{name}.toml" for name in PRODUCTS}
