"""What "valid OCSF" means in these tests: the schema site's own exports, and five checks they do not make.

`errors(event)` is used for everything. It asks the Rust validator; `errors_by_the_reference(event)` asks
the Python one, and a test holds the two to the same verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

JSON = dict[str, Any]

TIME_MIN = 946_684_800_000  # 2000-01-01 in milliseconds: a time in seconds falls below, one in
TIME_MAX = 4_102_444_800_000  # microseconds above 2100-01-01

# What the producer's own JSON is kept under: nulls and empty objects there are data.
FREE_JSON = ("/data", "/unmapped/before", "/unmapped/after", "/unmapped/metadata")


@cache
def export(version: str) -> JSON:
    """Return the schema site's export of a version, as the package bundles it."""
    return get_ocsf_schema(version)


@cache
def class_of(version: str, class_uid: int) -> JSON:
    """Return the declaration of a class; KeyError when the version does not have it."""
    return {declared["uid"]: declared for declared in export(version)["classes"].values()}[class_uid]


@cache
def json_schema(version: str, class_uid: int, profiles: tuple[str, ...]) -> JSON:
    """Return the JSON Schema of a class with its profiles, references embedded."""
    embedded = OcsfJsonSchemaEmbedded(export(version))
    return embedded.get_class_schema(embedded.lookup_class_name_from_uid(class_uid), list(profiles))


@cache
def _fast(version: str, class_uid: int, profiles: tuple[str, ...]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json_schema(version, class_uid, profiles))


@cache
def _reference(version: str, class_uid: int, profiles: tuple[str, ...]) -> Draft202012Validator:
    return Draft202012Validator(json_schema(version, class_uid, profiles))


def _key(event: JSON) -> tuple[str, int, tuple[str, ...]]:
    metadata = event["metadata"]
    return metadata["version"], event["class_uid"], tuple(metadata.get("profiles", ()))


def errors(event: JSON) -> list[str]:
    """Return what is wrong with an event: against its schema or, when that is content, by the five further checks."""
    found = [f"{error.instance_path}: {error.message}" for error in _fast(*_key(event)).iter_errors(event)]
    return found or list(further_errors(event))


def errors_by_the_reference(event: JSON) -> list[str]:
    """Return what the Python reference validator finds against the schema."""
    return [
        f"{list(error.absolute_path)}: {error.message}"
        for error in _reference(*_key(event)).iter_errors(event)
    ]


def further_errors(event: JSON) -> Iterator[str]:
    """Yield what the schemas cannot say: the five checks of the contract."""
    version, class_uid, profiles = _key(event)
    declared = class_of(version, class_uid)
    if event["type_uid"] != class_uid * 100 + event["activity_id"]:
        yield f"type_uid {event['type_uid']} is not {class_uid} * 100 + {event['activity_id']}"
    yield from _sibling_errors(event, declared, version, "")
    if not TIME_MIN <= event["time"] < TIME_MAX:
        yield f"time {event['time']} is not plausible in milliseconds"
    known = set(declared["profiles"])
    if not set(profiles) <= known:
        yield f"profiles {set(profiles) - known} are not known to {class_uid}"
    if event["metadata"]["version"] != export(version)["version"]:
        yield "metadata.version is not the schema's"
    if not event["metadata"].get("uid"):
        yield "metadata.uid is missing"
    for observable in event.get("observables", ()):
        if observable.get("value") not in list(resolve(event, observable["name"])):
            yield f"observable {observable['name']} does not resolve to {observable.get('value')!r}"


def _sibling_errors(value: JSON, declared: JSON, version: str, path: str) -> Iterator[str]:
    for name, attribute in declared["attributes"].items():
        if name not in value:
            continue
        here = f"{path}/{name}"
        sibling, enum = attribute.get("sibling"), attribute.get("enum")
        if sibling and enum and not attribute.get("is_array"):
            text, caption = value.get(sibling), enum[str(value[name])]["caption"]
            own = str(value[name]) == "99"
            if own and sibling != "type_name" and (not text or not text.strip()):
                yield f"{here} is 99 without a text of its own"
            if not own and text is not None and text != caption:
                yield f"{here}: {sibling} is {text!r}, the schema says {caption!r}"
            if own and sibling == "type_name" and text is not None and text != caption:
                yield f"{here}: type_name is {text!r}, the schema says {caption!r}"
        if attribute["type"] == "object_t" and attribute["object_type"] != "object":
            inner = export(version)["objects"][attribute["object_type"]]
            parts = value[name] if isinstance(value[name], list) else [value[name]]
            for index, part in enumerate(parts):
                yield from _sibling_errors(part, inner, version, f"{here}[{index}]")


def resolve(event: JSON, path: str) -> Iterator[Any]:
    """Yield the values at a path such as `actor.user.uid`, `resources.uid` or `resources[0].uid`."""
    values: list[Any] = [event]
    for part in path.split("."):
        name, _, index = part.partition("[")
        step: list[Any] = []
        for value in values:
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, dict) and name in entry:
                    step.append(entry[name][int(index[:-1])] if index else entry[name])
        values = step
    for value in values:
        yield from value if isinstance(value, list) else [value]


def blanks(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every null and every empty object outside the producer's own JSON."""
    if path.endswith(FREE_JSON):
        return
    if value is None or value == {}:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from blanks(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from blanks(inner, f"{path}/{index}")


def filled(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every leaf attribute; list indices are left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from filled(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for entry in value:
            yield from filled(entry, path)
    else:
        yield path
