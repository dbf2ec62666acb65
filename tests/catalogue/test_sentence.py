"""Sentences about events: readable for known actions, and never failing for unknown ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.catalogue import catalogue
from tallystick.catalogue.sentence import sentence, sentence_text

ADA = {"type": "user", "id": "usr_1", "name": "Ada"}
KEY = {"type": "api_key", "id": "key_9", "name": "ci"}


def told(action: str, **more: Any) -> str:
    return sentence_text({"action": action, "actor": ADA, "outcome": "success", "targets": [], **more})


@pytest.mark.parametrize(
    ("action", "more", "said"),
    [
        ("create_api_key", {"targets": [KEY]}, "Ada created API key ci."),
        ("login", {"targets": [{"type": "user", "id": "usr_1"}]}, "Ada signed in."),
        ("login", {"outcome": "failure", "error": {"message": "The password is wrong."}},
         "Ada tried to sign in and failed: The password is wrong."),
        ("delete_dataset", {"outcome": "denied", "targets": [{"type": "dataset", "id": "ds_1"}]},
         "Ada was not allowed to delete dataset ds_1."),
        ("datasetRunItem.create", {"targets": [{"type": "dataset_run_item", "id": "d1", "name": "nightly"}]},
         "Ada created dataset run item nightly."),
        ("add_member_to_workspace", {"targets": [{"type": "workspace", "id": "w1", "name": "evals"}]},
         "Ada added member to workspace evals."),
        ("budget.update", {"targets": [{"type": "budget", "id": "b1", "name": "demo"}],
                           "changes": [{"path": "/limit", "kind": "changed", "before": 500, "after": 1000}]},
         "Ada changed limit of budget demo from 500 to 1000."),
        ("delete_dataset", {"actor": {"type": "agent", "id": "a", "name": "Triage", "on_behalf_of": [ADA]},
                            "targets": [{"type": "dataset", "id": "ds_1"}, {"type": "dataset", "id": "ds_2"},
                                        {"type": "dataset", "id": "ds_3"}]},
         "Agent Triage, on behalf of Ada, deleted dataset ds_1 and ds_2 and 1 more."),
        ("login", {"actor": {"type": "anonymous"}, "outcome": "denied"}, "Somebody not signed in was not allowed to sign in."),
        ("prune", {"actor": {"type": "system"}}, "System pruned."),
    ],
)  # fmt: skip
def test_sentences(action: str, more: dict[str, Any], said: str) -> None:
    """A person would not be told who did what to what."""
    assert told(action, **more) == said


def test_every_known_action_has_a_sentence_with_a_verb() -> None:
    """Actions of the catalogue would be told as bare titles."""
    bare = [
        action.title
        for product in catalogue().values()
        for action in product.actions.values()
        if told(action.name).startswith("Ada: ")
    ]
    assert len(bare) < 40, bare


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner))
CHANGE = st.fixed_dictionaries({"path": st.text(), "kind": st.just("changed"), "before": JSON, "after": JSON})
TARGET = st.fixed_dictionaries({"type": st.text(min_size=1), "id": st.text()}, optional={"name": st.text()})


@given(
    action=st.text(min_size=1), outcome=st.sampled_from(["success", "failure", "denied", "unknown"]),
    targets=st.lists(TARGET, max_size=3), changes=st.lists(CHANGE, max_size=4),
    kind=st.sampled_from(["user", "api_key", "service", "agent", "system", "anonymous"]), name=st.none() | st.text(),
)  # fmt: skip
def test_any_event_has_a_sentence(action, outcome, targets, changes, kind, name) -> None:
    """An event would have no sentence, or one that loses the name of the actor."""
    actor = {"type": kind, **({} if name is None else {"name": name})}
    parts = sentence(
        {"action": action, "actor": actor, "outcome": outcome, "targets": targets, "changes": changes}
    )
    assert any(part.emphasis == "actor" and (not name or part.text == name) for part in parts)
    assert parts[-1].text == "."
