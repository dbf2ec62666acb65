"""What a query means, said on one event: the reference that every faster way of searching must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tallystick.event.address import indexed_ip
from tallystick.event.moment import read_instant
from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.query.model import Query
from tallystick.query.text import action_fits, fold_ascii, label_fits, snapshot_fits

VerbOf = Callable[[str], str]
KnownAs = Callable[[Mapping[str, Any]], Iterable[str]]


def snapshot_labels(event: Mapping[str, Any]) -> list[str]:
    """Return the actor's id, name and e-mail as this one event has them."""
    actor = event["actor"]
    return [actor[name] for name in ("id", "name", "email") if actor.get(name)]


def matches(
    query: Query, event: Mapping[str, Any], *, verb_of: VerbOf, known_as: KnownAs = snapshot_labels
) -> bool:
    """Tell whether `event`, as `event.render` gives it, is one that `query` asks for.

    `verb_of` gives the verb class of an action. `known_as` gives every id, name and e-mail the event's actor has
    been seen with; an actor without an id is nobody in particular and is known by this event alone, and so is every
    actor where the query says `as_told`. The page of the query plays no part.
    """
    occurred_at = read_instant(event["occurred_at"])[0]
    if (query.since is not None and occurred_at < query.since) or (
        query.until is not None and occurred_at >= query.until
    ):
        return False
    is_person = _person_test(event, known_as, as_told=query.as_told)
    facts = {**_facts(event), "verb": verb_of(event["action"])}
    return (
        all(_fits(clause.key, clause.values, facts, is_person) for clause in query.only)
        and _same_target(query, facts)
        and not any(_fits(clause.key, clause.values, facts, is_person) for clause in query.never)
        and all(_word_fits(word, facts, is_person) for word in query.words)
        and not any(_word_fits(word, facts, is_person) for word in query.never_words)
    )


def _person_test(event: Mapping[str, Any], known_as: KnownAs, *, as_told: bool) -> Callable[[str], bool]:
    """Return whether a text fits the event's actor; one without an id is known by this event alone."""
    if event["actor"].get("id") and not as_told:
        labels = list(known_as(event))
        return lambda text: label_fits(text, labels)
    return lambda text: snapshot_fits(text, snapshot_labels(event))


def _word_fits(word: str, facts: Mapping[str, Any], is_person: Callable[[str], bool]) -> bool:
    """Tell whether a free word is part of the action, a label or the main target's type, or is a target's id."""
    return (
        fold_ascii(word) in fold_ascii(facts["action"])
        or is_person(word)
        or any(fold_ascii(word) in fold_ascii(type) for type in facts["target_type"][:1])
        or word in facts["target_id"]
    )


def _facts(event: Mapping[str, Any]) -> dict[str, Any]:
    targets, context = event.get("targets") or (), event.get("context") or {}
    return {
        "action": event["action"],
        "actor_type": event["actor"]["type"],
        "actor_id": event["actor"].get("id"),
        "workspace": event.get("workspace") or ORGANIZATION_LEVEL,
        "stream": event["stream"],
        "outcome": event["outcome"],
        "targets": [(target["type"], target["id"]) for target in targets],
        "target_type": [target["type"] for target in targets],
        "target_id": [target["id"] for target in targets],
        "ip": indexed_ip(context.get("ip")),
        "request_id": context.get("request_id"),
    }


def _fits(
    key: str, values: tuple[str, ...], facts: Mapping[str, Any], is_person: Callable[[str], bool]
) -> bool:
    """Tell whether the event fits one of `values` of one filter."""
    match key:
        case "action":
            return any(action_fits(pattern, facts["action"]) for pattern in values)
        case "user":
            return any(is_person(text) for text in values)
        case "target_type" | "target_id":
            return any(value in facts[key] for value in values)
        case _:
            return facts[key] in values


def _same_target(query: Query, facts: Mapping[str, Any]) -> bool:
    """Tell whether one and the same target has a wanted type and a wanted id, where both are asked for."""
    types, ids = query.values("target_type"), query.values("target_id")
    if types is None or ids is None:
        return True
    return any(type in types and id in ids for type, id in facts["targets"])
