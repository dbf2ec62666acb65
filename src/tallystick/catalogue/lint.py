"""Judge the catalogue: every finding names the file, the entry and what to write instead.

`tallystick catalogue lint` prints `lint()` and fails when it is not empty; so does a test.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from tallystick.catalogue.coverage import coverage
from tallystick.catalogue.kinds import ACTIVITIES
from tallystick.catalogue.load import catalogue, target_types
from tallystick.catalogue.model import FAMILIES, SENSITIVITIES, VERBS, KnownAction, Product, TargetType
from tallystick.catalogue.words import singular

TITLE_CHARACTERS_MAX = 80

_ACTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}")
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,127}")

# A verb class promises an activity in the 6003 view; `access` and `admin` cut across and promise none.
_API_ACTIVITY_OF_VERB = {"create": 1, "read": 2, "update": 3, "delete": 4, "auth": 99}


class Finding(Struct, frozen=True):
    """One thing wrong with the catalogue: where (`file: entry`) and a sentence that says what to do."""

    where: str
    message: str


def lint(
    products: Mapping[str, Product] | None = None, types: Mapping[str, TargetType] | None = None
) -> list[Finding]:
    """Return everything wrong with a catalogue; by default the one that ships with the package."""
    products = catalogue() if products is None else products
    types = target_types() if types is None else types
    findings = list(_types(types))
    for product in products.values():
        for action in product.actions.values():
            findings.extend(
                Finding(f"{product.name}: {action.name}", text) for text in _action(action, types)
            )
        findings.extend(_additional(product))
    findings.extend(_homonyms(products))
    for row in coverage(products):
        if not row.is_complete:
            findings.append(Finding(row.product, row.sentence()))
    return findings


def _types(types: Mapping[str, TargetType]) -> Iterator[Finding]:
    meaning: dict[str, str] = {}
    for declared in types.values():
        where = f"target_types: {declared.name}"
        if not _TYPE_NAME.fullmatch(declared.name):
            yield Finding(where, "write the name in snake_case, a letter first, at most 128 characters")
        if not declared.label:
            yield Finding(where, "give it a label a person understands")
        if declared.family not in FAMILIES:
            yield Finding(
                where, f"family {declared.family!r} does not exist; choose one of {', '.join(FAMILIES)}"
            )
        if declared.sensitivity not in SENSITIVITIES:
            yield Finding(where, _choose("sensitivity", declared.sensitivity, SENSITIVITIES))
        for phrase in {declared.name.replace("_", " "), *declared.also_called}:
            key = " ".join(singular(word) for word in phrase.split())
            if meaning.setdefault(key, declared.name) != declared.name:
                yield Finding(where, f"{phrase!r} already means {meaning[key]}; one phrase, one type")


def _action(action: KnownAction, types: Mapping[str, TargetType]) -> Iterator[str]:
    if not _ACTION_NAME.fullmatch(action.name):
        yield "an event could not carry this name (EVENT: 1-256 characters of A-Z a-z 0-9 . _ : / -)"
    if not action.title:
        yield "write a title"
    elif len(action.title) > TITLE_CHARACTERS_MAX or action.title != action.title.strip():
        yield f"write a title of at most {TITLE_CHARACTERS_MAX} characters without spaces at its ends"
    elif action.title == action.name or not action.title[0].isupper():
        yield "write a title a person understands, beginning with a capital letter"
    if action.verb not in VERBS:
        yield _choose("verb class", action.verb, VERBS)
    if action.sensitivity not in SENSITIVITIES:
        yield _choose("sensitivity", action.sensitivity, SENSITIVITIES)
    if action.target_type not in types:
        yield f"target type {action.target_type!r} is not declared in target_types.toml"
    yield from _placement(action)


def _placement(action: KnownAction) -> Iterator[str]:
    activities = ACTIVITIES.get(action.class_uid)
    if activities is None:
        yield _choose("OCSF class", action.class_uid, ACTIVITIES)
    elif action.activity_id not in activities:
        yield _choose(f"activity of OCSF class {action.class_uid}", action.activity_id, activities)
    if action.api_activity_id not in ACTIVITIES[6003]:
        yield _choose("activity of OCSF class 6003", action.api_activity_id, ACTIVITIES[6003])
    if action.class_uid == 6003 and action.activity_id != action.api_activity_id:
        yield "native class is 6003, so both activities must be the same"
    expected = _API_ACTIVITY_OF_VERB.get(action.verb)
    if expected is not None and action.api_activity_id != expected:
        yield f"verb class {action.verb} needs activity {expected} in the 6003 view, found {action.api_activity_id}"


def _additional(product: Product) -> Iterator[Finding]:
    for name in sorted(product.additional - product.actions.keys()):
        yield Finding(product.name, f"{name!r} is listed in `additional` but has no entry")


def _homonyms(products: Mapping[str, Product]) -> Iterator[Finding]:
    meanings: defaultdict[str, list[KnownAction]] = defaultdict(list)
    for product in products.values():
        for action in product.actions.values():
            meanings[action.name].append(action)
    for name, actions in meanings.items():
        # The event does not say which product's name it used, so the same name must mean the same thing.
        placed = {(a.verb, a.target_type, a.class_uid, a.activity_id, a.api_activity_id) for a in actions}
        if len(placed) > 1:
            owners = ", ".join(action.product for action in actions)
            yield Finding(name, f"{owners} all have this name; give it the same verb, target type and class")


def _choose(what: str, found: object, allowed: Iterable[object]) -> str:
    return f"{what} {found!r} does not exist; choose one of {', '.join(map(str, allowed))}"
