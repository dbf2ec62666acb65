"""Actions an organization declares itself, each version with a JSON Schema for its events.

The schema (Draft 2020-12) is held against the whole event as the producer sent it. An event that breaks it
is kept in quarantine by whoever calls `check`, so nothing here ever loses or changes an event: the answer
is a list of violations, and "could not be decided in bounded time" is one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from tallystick.catalogue.lint import TITLE_CHARACTERS_MAX
from tallystick.catalogue.model import SENSITIVITIES, VERBS, Sensitivity, Verb
from tallystick.catalogue.schema_limits import SchemaFinding, judge_schema, pointer
from tallystick.catalogue.schema_validator import TooManySteps, counted_steps, validator_class

VIOLATIONS_MAX = 20
VERSION_MAX = 2**31 - 1

_ACTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}")
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,127}")


class RegisteredAction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of an action that an organization declares: how it reads and what its events must look like."""

    name: str
    version: int
    schema: dict[str, Any]
    title: str
    verb: Verb
    target_type: str
    sensitivity: Sensitivity = "normal"


class Violation(Struct, frozen=True):
    """One way an event breaks its schema.

    `path` is the place in the event and `schema_path` the keyword in the schema, both JSON pointers. The
    message speaks of what the schema asks, never of the value found: it may be a secret.
    """

    path: str
    rule: str
    message: str
    schema_path: str


Check = Callable[[Mapping[str, Any]], list[Violation]]


def judge_registration(declared: RegisteredAction) -> list[SchemaFinding]:
    """Return everything wrong with a declaration, its schema included; empty when it can be registered."""
    findings: list[SchemaFinding] = []
    if not _ACTION_NAME.fullmatch(declared.name):
        findings.append(
            SchemaFinding("/name", "write 1-256 characters of A-Z a-z 0-9 . _ : / - as in an event")
        )
    if not 1 <= declared.version <= VERSION_MAX:
        findings.append(SchemaFinding("/version", f"number the versions from 1 to {VERSION_MAX}"))
    if not declared.title.strip() or len(declared.title) > TITLE_CHARACTERS_MAX:
        findings.append(SchemaFinding("/title", f"write a title of 1-{TITLE_CHARACTERS_MAX} characters"))
    if declared.verb not in VERBS:
        findings.append(SchemaFinding("/verb", f"choose one of {', '.join(VERBS)}"))
    if not _TYPE_NAME.fullmatch(declared.target_type):
        findings.append(
            SchemaFinding("/target_type", "write snake_case, a letter first, at most 128 characters")
        )
    if declared.sensitivity not in SENSITIVITIES:
        findings.append(SchemaFinding("/sensitivity", f"choose one of {', '.join(SENSITIVITIES)}"))
    findings += [SchemaFinding(f"/schema{one.path}", one.message) for one in judge_schema(declared.schema)]
    return findings


def newest(declared: Iterable[RegisteredAction]) -> dict[str, RegisteredAction]:
    """Return the highest version of each name: the one new events are held against."""
    found: dict[str, RegisteredAction] = {}
    for one in declared:
        if one.name not in found or found[one.name].version < one.version:
            found[one.name] = one
    return found


def check(event: Mapping[str, Any], registered: RegisteredAction) -> list[Violation]:
    """Return how `event` breaks the schema of `registered`; empty when it does not, at most `VIOLATIONS_MAX`.

    Builds the checker anew; keep the one `checker` returns where many events pass.
    """
    return checker(registered)(event)


def checker(registered: RegisteredAction) -> Check:
    """Build the check for one declaration, to be used for many events, from any thread or task.

    Raises ValueError when the schema would not have been accepted by `judge_registration`: a schema that
    was never judged must not run.
    """
    from referencing import Registry

    if findings := judge_schema(registered.schema):
        raise ValueError(
            f"the schema of {registered.name!r} cannot be used: {findings[0].path} {findings[0].message}"
        )
    # An empty registry never fetches anything, whatever a reference says.
    validator = validator_class()(registered.schema, registry=Registry())

    def run(event: Mapping[str, Any]) -> list[Violation]:
        with counted_steps():
            try:
                return list(_violations(validator.iter_errors(event)))
            except (TooManySteps, RecursionError):
                text = "the event is too large or too deep for this schema to be checked"
                return [Violation("", "limit", text, "")]

    return run


def _violations(errors: Iterable[Any]) -> Iterator[Violation]:
    for count, error in enumerate(errors):
        if count == VIOLATIONS_MAX:
            yield Violation(
                "", "limit", f"there are more violations; the first {VIOLATIONS_MAX} are listed", ""
            )
            return
        yield Violation(
            pointer(*error.absolute_path),
            str(error.validator),
            _message(str(error.validator), error.validator_value),
            pointer(*error.absolute_schema_path),
        )


_MESSAGES = {
    "type": "must be of type {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "required": "must have {}",
    "pattern": "must match {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "uniqueItems": "must not have the same item twice",
    "minProperties": "must have at least {} keys",
    "maxProperties": "must have at most {} keys",
    "additionalProperties": "has keys the schema does not know",
    "anyOf": "matches none of the allowed forms",
    "oneOf": "must match exactly one of the allowed forms",
    "not": "matches a form that is not allowed",
}


def _message(keyword: str, asked: object) -> str:
    template = _MESSAGES.get(keyword, f"breaks the keyword {keyword} of the schema")
    text = ", ".join(map(str, asked)) if isinstance(asked, list) else str(asked)
    return template.format(text if len(text) <= 200 else text[:200] + "…")
