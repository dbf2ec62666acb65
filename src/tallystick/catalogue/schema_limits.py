"""Judge an organization's JSON Schema before it is ever used.

A schema is a program that runs on every event of its action. What is accepted here is small, resolves
inside itself, and cannot be made to take long by an event; what is refused is refused when it is
registered, with the place and the reason, and never at the cost of an event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from msgspec import Struct

from tallystick.catalogue.pattern import BoundedPattern, PatternRefused

SCHEMA_BYTES_MAX = 64 * 1024
SCHEMA_DEPTH_MAX = 32
# Subschemas that one value of an event may have to be held against, references followed.
IN_PLACE_MAX = 5_000
FINDINGS_MAX = 20

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Keywords whose subschemas look at the same value, not at one inside it.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "$ref")
# Values under these keys are data of the schema's author, not schemas.
_DATA = frozenset(("const", "enum", "default", "examples"))
_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
_REFUSED = {
    "$dynamicRef": "write $ref instead",
    "$dynamicAnchor": "write $defs and $ref instead",
    "$recursiveRef": "write $ref instead",
    "$anchor": "refer to it by its place, as in #/$defs/name",
    "$vocabulary": "leave it out",
    "unevaluatedProperties": "list all properties in one place and write additionalProperties",
    "unevaluatedItems": "write prefixItems and items",
}


class SchemaFinding(Struct, frozen=True):
    """One thing wrong with a schema: its place as a JSON pointer and a sentence that says what to do."""

    path: str
    message: str


def judge_schema(schema: object) -> list[SchemaFinding]:
    """Return everything wrong with an organization's schema; empty when it can be registered."""
    if not isinstance(schema, Mapping):
        return [SchemaFinding("", "the schema must be a JSON object")]
    if findings := list(_too_big(schema)):
        return findings
    if findings := list(_not_a_schema(schema)):
        return findings
    findings = [finding for path, part in _parts(schema, "") for finding in _keywords(schema, path, part)]
    return findings or list(_too_entangled(schema))


def pointer(*steps: object) -> str:
    """Return the JSON pointer (RFC 6901) of those steps."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _too_big(schema: Mapping[str, Any]) -> Iterator[SchemaFinding]:
    if _depth_exceeds(schema, SCHEMA_DEPTH_MAX):
        yield SchemaFinding(
            "", f"the schema is nested more than {SCHEMA_DEPTH_MAX} levels; move parts to $defs"
        )
        return
    try:
        size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError) as error:
        yield SchemaFinding("", f"the schema is not JSON: {error}")
        return
    if size > SCHEMA_BYTES_MAX:
        yield SchemaFinding("", f"a schema may have {SCHEMA_BYTES_MAX} bytes, this one has {size}")


def _depth_exceeds(value: object, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        if not layer:
            return False
        layer = [
            below
            for part in layer
            if isinstance(part, Mapping | list)
            for below in (part.values() if isinstance(part, Mapping) else part)
        ]
    return bool(layer)


def _not_a_schema(schema: Mapping[str, Any]) -> Iterator[SchemaFinding]:
    # jsonschema takes a fifth of a second to import; only who registers schemas pays.
    from jsonschema import Draft202012Validator

    metaschema = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    for error in islice(metaschema.iter_errors(schema), FINDINGS_MAX):
        yield SchemaFinding(pointer(*error.absolute_path), f"not JSON Schema 2020-12: {error.message[:200]}")
    dialect = schema.get("$schema", DIALECT)
    if str(dialect).rstrip("#") != DIALECT:
        yield SchemaFinding("/$schema", f"write {DIALECT} or leave it out; other dialects are not followed")


def _parts(value: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every subschema that is an object, with its place; what is data is left alone."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _parts(item, path + pointer(index))
    elif isinstance(value, Mapping):
        yield path, value
        for key, below in value.items():
            if key in _DATA:
                continue
            if key in _NAMED and isinstance(below, Mapping):
                for name, named in below.items():
                    yield from _parts(named, path + pointer(key, name))
            elif isinstance(below, Mapping | list):
                yield from _parts(below, path + pointer(key))


def _keywords(root: Mapping[str, Any], path: str, part: Mapping[str, Any]) -> Iterator[SchemaFinding]:
    for keyword, advice in _REFUSED.items():
        if keyword in part:
            yield SchemaFinding(path + pointer(keyword), f"{keyword} is not followed; {advice}")
    if path and "$id" in part:
        yield SchemaFinding(path + pointer("$id"), "only the whole schema may have an $id")
    reference = part.get("$ref")
    if isinstance(reference, str) and resolve(root, reference) is None:
        yield SchemaFinding(
            path + pointer("$ref"),
            f"{reference[:100]!r} is not a place in this schema; only references such as #/$defs/name are followed",
        )
    patterns = [("pattern", part["pattern"])] if isinstance(part.get("pattern"), str) else []
    if isinstance(part.get("patternProperties"), Mapping):
        patterns += [("patternProperties", key) for key in part["patternProperties"]]
    for keyword, pattern in patterns:
        try:
            BoundedPattern(pattern)
        except PatternRefused as refused:
            yield SchemaFinding(path + pointer(keyword), f"{refused}")


def resolve(root: Mapping[str, Any], reference: str) -> object | None:
    """Return the part of `root` that a local reference names; None when there is none."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    here: Any = root
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping) and key in here:
            here = here[key]
        elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
            here = here[int(key)]
        else:
            return None
    return here if isinstance(here, Mapping | bool) else None


def _too_entangled(schema: Mapping[str, Any]) -> Iterator[SchemaFinding]:
    weights: dict[int, int] = {}
    open_parts: set[int] = set()

    def weigh(part: object) -> int:
        if not isinstance(part, Mapping):
            return 1
        if id(part) in weights:
            return weights[id(part)]
        if id(part) in open_parts:
            raise RecursionError
        open_parts.add(id(part))
        weights[id(part)] = min(1 + sum(weigh(below) for below in _in_place(schema, part)), IN_PLACE_MAX + 1)
        open_parts.remove(id(part))
        return weights[id(part)]

    for path, part in _parts(schema, ""):
        try:
            weight = weigh(part)
        except RecursionError:
            yield SchemaFinding(path, "this refers to itself without going deeper into the event")
            return
        if weight > IN_PLACE_MAX:
            yield SchemaFinding(
                path, f"one value would be held against more than {IN_PLACE_MAX} subschemas; simplify"
            )
            return


def _in_place(root: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[object]:
    for keyword in _IN_PLACE:
        below = part.get(keyword)
        if keyword == "$ref" and isinstance(below, str):
            yield resolve(root, below)
        elif keyword == "dependentSchemas" and isinstance(below, Mapping):
            yield from below.values()
        elif isinstance(below, list):
            yield from below
        elif below is not None:
            yield below
