"""Who numbered an event, and which numbers it accounts for: checked strictly, and in clear in the leaf."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.errors import Refused
from tallystick.event.leaf import LeafProducer, LeafSpan, read_leaf
from tallystick.event.limits import UNSENT_MAX
from tallystick.event.unseal import same_content, unseal

from .making import changed, prepared, sealed, shown

NUMBERED = {"id": "billing-api", "epoch": "e1", "sequence": 120}


def test_the_number_is_in_clear_in_the_leaf() -> None:
    """A number beside the log proves nothing: whoever runs the database could change it."""
    told = NUMBERED | {"unsent": [{"first": 100, "last": 118}]}
    row = sealed(prepared(changed(producer=told)))
    unseal(row.leaf, row.opening, row.seed)
    assert read_leaf(row.leaf).producer == LeafProducer(
        epoch="e1", id="billing-api", sequence=120, unsent=(LeafSpan(100, 118),)
    )
    assert shown(changed(producer=told))["producer"] == told


def test_without_a_number_the_leaf_is_as_before() -> None:
    """A field nobody sends must not change the bytes that proofs were made of."""
    assert sealed(prepared(changed(producer=None))).leaf == sealed(prepared(changed())).leaf


@pytest.mark.parametrize(
    ("producer", "path"),
    [
        ({"id": "a b"}, "/producer/id"),
        ({"id": ""}, "/producer/id"),
        ({"id": "p" * 129}, "/producer/id"),
        ({"epoch": "é"}, "/producer/epoch"),
        ({"epoch": "e" * 65}, "/producer/epoch"),
        ({"sequence": 0}, "/producer/sequence"),
        ({"sequence": 2**53}, "/producer/sequence"),
        ({"sequence": "7"}, "/producer/sequence"),
        ({"unsent": [{"first": 3, "last": 2}]}, "/producer/unsent/0"),
        ({"unsent": [{"first": 1, "last": 1}] * (UNSENT_MAX + 1)}, "/producer/unsent"),
        ({"host": "x"}, "/producer/host"),
    ],
)
def test_a_wrong_number_is_refused(producer: dict[str, Any], path: str) -> None:
    """A count that cannot be read would be a gap nobody hears of; its developer is told at once."""
    with pytest.raises(Refused) as refusal:
        prepared(changed(producer=NUMBERED | producer))
    assert refusal.value.path == path


def test_a_number_is_never_taken_for_a_secret() -> None:
    """Names that look like a key must stay as they are, or an epoch would change in the middle."""
    looks = {"id": "sk-abcdefghij0123456789", "epoch": "4111111111111111", "sequence": 4111111111111111}
    found = shown(changed(producer=looks))
    assert (found["producer"], found.get("redacted")) == (looks, None)


def test_another_number_is_no_other_event() -> None:
    """An event recorded twice under one id got two numbers; it must not be refused as a conflict."""
    row = sealed(prepared(changed(producer=NUMBERED)))
    stored = {"leaf": row.leaf, "opening": row.opening, "seed": row.seed}
    again = prepared(changed(producer=NUMBERED | {"sequence": 121}))
    assert same_content(again, **stored)
    assert same_content(prepared(changed()), **stored)
    assert not same_content(prepared(changed(producer=NUMBERED, after={"v": 3})), **stored)
