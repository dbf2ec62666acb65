"""Declarative mappings: turn any feed of JSON lines into our events with paths, constants, tables and time formats.

A mapping is a TOML file without code; docs/how-to/import.md describes its language. Pure: text in, values out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from msgspec import Struct

from tallystick.errors import Misconfigured, Refused
from tallystick.sources.expression import Expression, compile_expression

SHIPPED = ("git", "cloudtrail", "langfuse")
_EVENT_FIELDS = (
    "id", "action", "occurred_at", "workspace", "stream", "outcome", "before", "after",
)  # fmt: skip
_OBJECTS = {
    "actor": ("type", "id", "name", "email", "credential_id"),
    "actor.roles": ("organization", "workspace"),
    "error": ("type", "code", "message"),
    "context": ("ip", "user_agent", "request_id", "session_id", "trace_id"),
    "context.http": ("method", "path", "status"),
    "context.location": ("country", "region", "city"),
}
_TARGET_FIELDS = ("type", "id", "name")
_DELEGATOR_FIELDS = ("type", "id", "name", "email", "credential_id")


class ListRule(Struct, frozen=True, kw_only=True):
    """How one or several parts of a list are made: `each` names a list of the record, absent = the record itself."""

    each: Expression | None
    when: Expression | None
    fields: Mapping[str, Expression]


class Input(Struct, frozen=True, kw_only=True):
    """How records are cut from the feed: JSON lines, or lines of fields with a separator between."""

    format: str
    records: str | None
    separator: str
    fields: tuple[str, ...]


class MappingFile(Struct, frozen=True, kw_only=True):
    """A whole mapping: how to read records, and how each part of an event is made from one."""

    name: str
    how: str
    input: Input
    parts: Mapping[str, Expression]
    targets: tuple[ListRule, ...]
    delegators: tuple[ListRule, ...]
    metadata: Mapping[str, Expression]

    def apply(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return our event for one record; parts whose source is absent are left out.

        Raises:
            Refused: a value does not fit its format, or the record gives no action or actor.
        """
        event: dict[str, Any] = {}
        for path, expression in self.parts.items():
            value = expression.of(record)
            if value is not None:
                _put(event, path.split("."), value)
        targets = {
            (str(part["type"]), str(part["id"])): part
            for rule in reversed(self.targets)
            for part in _list(rule, record)
            if "type" in part and "id" in part
        }
        if targets:
            event["targets"] = [*reversed(targets.values())]
        delegators = [part for rule in self.delegators for part in _list(rule, record) if "type" in part]
        if delegators:
            event.setdefault("actor", {})["on_behalf_of"] = delegators
        metadata = {k: value for k, e in self.metadata.items() if (value := e.of(record)) is not None}
        if metadata:
            event["metadata"] = metadata
        for needed in ("action", "actor"):
            if needed not in event:
                raise Refused(f"the record gives no {needed}", path=f"/{needed}", rule="mapping")
        return event


def shipped(name: str) -> MappingFile:
    """Return a mapping that comes with Tallystick, by one of the names in `SHIPPED`."""
    text = resources.files("tallystick.sources").joinpath(f"mappings/{name}.toml").read_text(encoding="utf-8")
    return parse_mapping(text, name)


def read_mapping(name: str) -> MappingFile:
    """Return a shipped mapping by its name, or the one in a file.

    Raises:
        Misconfigured: there is no such mapping, or the file is wrong.
    """
    if name in SHIPPED:
        return shipped(name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"There is no mapping {name}: no such file, and the shipped ones are {', '.join(SHIPPED)}."
        ) from error
    return parse_mapping(text, name)


def parse_mapping(text: str, name: str) -> MappingFile:
    """Read a mapping from TOML.

    Raises:
        Misconfigured: naming the place that is wrong and what may stand there.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"The mapping {name} is not TOML: {error}.") from error
    _only(document, ("name", "how", "input", "event", "targets", "on_behalf_of", "metadata"), name, "")
    event = document.get("event", {})
    return MappingFile(
        name=document.get("name", name),
        how=document.get("how", ""),
        input=_input(document.get("input", {}), name),
        parts=dict(_parts(event, "", name)),
        targets=tuple(_rule(entry, _TARGET_FIELDS, name, "targets") for entry in document.get("targets", [])),
        delegators=tuple(
            _rule(entry, _DELEGATOR_FIELDS, name, "on_behalf_of")
            for entry in document.get("on_behalf_of", [])
        ),
        metadata={
            k: compile_expression(v, f"{name}: metadata.{k}") for k, v in document.get("metadata", {}).items()
        },
    )


def _input(entry: Mapping[str, Any], name: str) -> Input:
    _only(entry, ("format", "records", "separator", "fields"), name, "input.")
    kind = entry.get("format", "jsonl")
    if kind not in ("jsonl", "delimited"):
        raise Misconfigured(f"{name}: input.format is jsonl or delimited, not {kind!r}.")
    if kind == "delimited" and not (entry.get("separator") and entry.get("fields")):
        raise Misconfigured(f"{name}: a delimited input needs input.separator and input.fields.")
    return Input(
        format=kind,
        records=entry.get("records"),
        separator=entry.get("separator", ""),
        fields=tuple(entry.get("fields", ())),
    )


def _parts(event: Mapping[str, Any], under: str, name: str) -> Iterator[tuple[str, Expression]]:
    known = _EVENT_FIELDS if not under else _OBJECTS[under]
    for key, value in event.items():
        path = f"{under}.{key}" if under else key
        if path in _OBJECTS:
            yield from _parts(value, path, name)
        elif key in known:
            yield path, compile_expression(value, f"{name}: event.{path}")
        else:
            raise Misconfigured(f"{name}: an event has no field {path}; known here are {', '.join(known)}.")


def _rule(entry: Mapping[str, Any], known: Sequence[str], name: str, where: str) -> ListRule:
    _only(entry, (*known, "each", "when"), name, f"{where}.")
    compiled = {key: compile_expression(value, f"{name}: {where}.{key}") for key, value in entry.items()}
    return ListRule(each=compiled.pop("each", None), when=compiled.pop("when", None), fields=compiled)


def _list(rule: ListRule, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if rule.when is not None and rule.when.of(record) in (None, "", False):
        return
    items: Any = [record] if rule.each is None else rule.each.of(record)
    for item in items if isinstance(items, list) else []:
        part = {
            key: value
            for key, expression in rule.fields.items()
            if (value := expression.of_item(item, record)) is not None
        }
        if part:
            yield part


def _put(event: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        event = event.setdefault(step, {})
    event[path[-1]] = value


def _only(entry: Mapping[str, Any], known: Sequence[str], name: str, where: str) -> None:
    for key in entry:
        if key not in known:
            raise Misconfigured(f"{name}: there is no {where}{key}; known are {', '.join(known)}.")
