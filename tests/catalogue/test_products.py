"""The lists that the read contracts of other products answer with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.catalogue import (
    mistral_target_type,
    mistral_target_types,
    neutral_target_types,
    operations,
    target_types,
)
from tallystick.catalogue.products import MISTRAL_OTHER


@pytest.mark.parametrize(("product", "count"), [("langsmith", 394), ("mistral", 211), ("openai", 149)])
def test_operations_are_sorted_and_whole(product: str, count: int) -> None:
    """`/audit-logs/operations` would leave out or shuffle the names a client offers to filter by."""
    names = operations(product)
    assert len(names) == count
    assert list(names) == sorted(set(names))


def test_operations_of_an_unknown_product() -> None:
    """A typing error in a product's name would answer with an empty list."""
    with pytest.raises(KeyError):
        operations("lang-smith")


@pytest.mark.parametrize(
    ("target", "action", "expected"),
    [
        ("api_key", "api_key.create", "API_KEY"),
        ("conversation", "le_chat.conversation.deleted", "LE_CHAT_CONVERSATION"),
        ("membership_invitation", "organization.invite.send", "USER"),
        ("USER_GROUP", "x.y", "USER_GROUP"),
        ("le_chat_memories", "x.y", "LE_CHAT_MEMORIES"),
        (None, "billing.credits.added", "WALLET"),
        ("spaceship", "workspace.update", "WORKSPACE"),
        ("spaceship", "x.y", MISTRAL_OTHER),
        (None, "", MISTRAL_OTHER),
    ],
)
def test_mistral_target_type(target: str | None, action: str, expected: str) -> None:
    """A foreign event would be answered with a target type Mistral's clients do not know."""
    assert mistral_target_type(target, action) == expected


@given(st.text(max_size=40) | st.sampled_from(sorted(target_types())) | st.none(), st.text(max_size=40))
def test_mistral_target_type_is_always_one_of_the_list(target: str | None, action: str) -> None:
    """Some event would fail a client that checks the closed list."""
    assert mistral_target_type(target, action) in mistral_target_types()


def test_filter_and_answer_agree() -> None:
    """A filter by target type would leave out events that are answered with that very type."""
    for name in target_types():
        assert name in neutral_target_types(mistral_target_type(name, ""))
    assert neutral_target_types("NO_SUCH_TYPE") == ()
    assert set(neutral_target_types("INVOICE")) == {"invoice"}
