"""Answer for any action name: what is it called, which class of verb, where does it go in OCSF.

A name the catalogue knows gets its decided entry; any other is read by its words. Both are total and
remembered: ingest asks for every event.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from tallystick.catalogue.kinds import UNPLACED, place
from tallystick.catalogue.load import catalogue, type_phrases
from tallystick.catalogue.model import PRODUCTS, ActionInfo, KnownAction, Sensitivity, TargetType, Verb
from tallystick.catalogue.words import (
    NOUN_OF_VERB,
    OUTCOME_WORDS,
    PREPOSITIONS,
    VERB_WORDS,
    WEAK_VERBS,
    VerbWord,
    headline,
    singular,
    split_words,
)

REMEMBERED_NAMES_MAX = 8_192
# What an event may carry (EVENT.md 4); a longer text is described too, but not remembered.
NAME_CHARACTERS_MAX = 256
PHRASE_WORDS_MAX = 5

_SEGMENT = re.compile(r"[.:/]")


class Reading(NamedTuple):
    """An action name taken apart: its words, which one is the verb, and the thing acted on."""

    words: tuple[str, ...]
    verb_at: int | None
    verb: VerbWord | None
    target: TargetType | None


def lookup(action: str, product: str | None = None) -> KnownAction | None:
    """Return the catalogue's entry for `action`, or None.

    Without `product`, the products are asked in the order of `PRODUCTS` and the first that has the name
    answers; `products_with` tells the others. With `product`, only that one is asked.
    """
    if product is not None:
        part = catalogue().get(product)
        return part.actions.get(action) if part else None
    for name in PRODUCTS:
        if found := catalogue()[name].actions.get(action):
            return found
    return None


def products_with(action: str) -> tuple[str, ...]:
    """Return the products that have this name in their list, in the order of `PRODUCTS`."""
    return tuple(name for name in PRODUCTS if action in catalogue()[name].actions)


def describe(action: str) -> ActionInfo:
    """Say what is known or can be read from `action`, whatever it is; never raises."""
    if len(action) > NAME_CHARACTERS_MAX:
        return describe_by_words(action)
    return _remembered(action)


@lru_cache(maxsize=REMEMBERED_NAMES_MAX)
def _remembered(action: str) -> ActionInfo:
    if known := lookup(action):
        return ActionInfo(
            known.name, known.title, known.verb, known.target_type, known.sensitivity,
            known.class_uid, known.activity_id, known.api_activity_id, products_with(action),
        )  # fmt: skip
    return describe_by_words(action)


def verb_of(action: str) -> Verb:
    """Return the verb class of any action name; `admin` when nothing in the name says otherwise."""
    return describe(action).verb


def describe_by_words(action: str) -> ActionInfo:
    """Describe `action` from its words alone, as if no product's list had it."""
    reading = read_name(action)
    placement = UNPLACED
    if reading.verb is not None:
        kind = reading.verb.kind
        if reading.target is not None and reading.target.name == "password" and kind == "update":
            kind = "password"
        placement = place(kind, reading.target.family if reading.target else "resource")
    return ActionInfo(
        action,
        headline(reading.words, reading.verb_at, reading.verb) or "Action without a name",
        placement.verb,
        reading.target.name if reading.target else None,
        _sensitivity(reading),
        placement.class_uid,
        placement.activity_id,
        placement.api_activity_id,
    )


def read_name(action: str) -> Reading:
    """Take an action name apart into words, verb and target type."""
    segments = [
        words for part in _SEGMENT.split(action[: 2 * NAME_CHARACTERS_MAX]) if (words := split_words(part))
    ]
    words = tuple(word for segment in segments for word in segment)
    verb_at = _verb_position(segments)
    verb = VERB_WORDS[words[verb_at]] if verb_at is not None else None
    return Reading(words, verb_at, verb, _target_of(words, verb_at))


def _verb_position(segments: list[tuple[str, ...]]) -> int | None:
    starts = [sum(len(segment) for segment in segments[:index]) for index in range(len(segments))]
    for accepts in (_is_strong, _is_verb, _is_outcome):
        for start, segment in zip(reversed(starts), reversed(segments), strict=True):
            # The verb leads a command (`createProject`) and closes a report (`project_created`).
            for offset in (0, *range(len(segment) - 1, 0, -1)):
                if accepts(segment[offset]):
                    return start + offset
    return None


def _is_strong(word: str) -> bool:
    return word in VERB_WORDS and word not in WEAK_VERBS and word not in OUTCOME_WORDS


def _is_verb(word: str) -> bool:
    return word in VERB_WORDS and word not in OUTCOME_WORDS


def _is_outcome(word: str) -> bool:
    return word in VERB_WORDS


def _target_of(words: tuple[str, ...], verb_at: int | None) -> TargetType | None:
    phrases = type_phrases()
    noun = NOUN_OF_VERB.get(words[verb_at]) if verb_at is not None else None
    if noun is not None:
        return phrases[(noun,)]
    singulars = [singular(word) if index != verb_at else "" for index, word in enumerate(words)]
    # "add runs to queue": what follows the preposition is where it went, not what was acted on.
    stop = next((index for index, word in enumerate(words) if index and word in PREPOSITIONS), len(words))
    for end_at in (stop, len(words)):
        for length in range(min(PHRASE_WORDS_MAX, end_at), 0, -1):
            for start in range(end_at - length, -1, -1):
                if found := phrases.get(tuple(singulars[start : start + length])):
                    return found
    return None


def _sensitivity(reading: Reading) -> Sensitivity:
    if reading.verb is not None:
        if reading.verb.kind == "breach":
            return "breach"
        if reading.verb.kind in ("export", "share", "unshare"):
            return "data-export"
        if reading.verb.verb == "read":
            return "normal"
    return reading.target.sensitivity if reading.target else "normal"
