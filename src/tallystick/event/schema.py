"""JSON Schema (draft 2020-12) of the event, generated from its one declaration and its one table of limits."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tallystick.event import limits, model
from tallystick.event.wire import derive

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_WIRE: Final = derive(model.Event, patterns=True)

# What the types cannot say, in words: name of a component → field → sentence.
_SENTENCES: Final[dict[str, dict[str, str]]] = {
    "Event": {
        "action": "What was done. Any name is accepted; known ones get a title, a verb and an OCSF class.",
        "actor": "Who did it.",
        "targets": "What it was done to; the first one is the main target.",
        "occurred_at": "RFC 3339 with an offset; default: the time of receipt. Kept as claimed, in microseconds UTC.",
        "id": "Idempotency key; default: the server makes a UUIDv7. SDKs always send it.",
        "workspace": "The workspace or project the act belongs to; absent = organization level.",
        "stream": "`platform` (default), `gateway`, or the name of an ingestion source.",
        "outcome": "`success` is the default.",
        "error": "Why the act did not succeed.",
        "context": "From where and within what the act was done.",
        "before": "Full state before; false, 0, \"\" and null are values and are kept.",
        "after": "Full state after; the server computes the difference.",
        "metadata": "Anything else.",
        "producer": "Who numbered the event, so that what is missing can be told.",
    },
    "Producer": {
        "id": "Stable name of whoever counts: one spool, one installation.",
        "epoch": "Changes when the count is lost or begins anew.",
        "sequence": "Dense from 1 in an epoch.",
        "unsent": "Numbers given out before whose events will not come: what this event tells of.",
    },
    "Span": {"first": "The first number.", "last": "The last number, included."},
    "Actor": {
        "type": "What kind of actor.",
        "id": "Required but for system and anonymous; an api_key may give credential_id instead.",
        "name": "Snapshot: still says who it was after the person has left.",
        "email": "Snapshot, as the name.",
        "credential_id": "The key or session used.",
        "roles": "Roles held at the time of the act.",
        "on_behalf_of": "The delegation chain of agents, jobs and impersonation, nearest first.",
    },
    "Target": {"type": "What kind of resource.", "id": "Its id, compared byte for byte.", "name": "Snapshot."},
    "Context": {
        "ip": "IPv4 or IPv6; kept as sent and not indexed where it cannot be read.",
        "http": "The HTTP request that carried the act.",
        "location": "Where the address is thought to be.",
    },
}  # fmt: skip


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one event as a producer sends it."""
    reference, components = components_of_event("#/$defs/{name}")
    return {"$schema": _DIALECT, "title": "Event", "$ref": reference["$ref"], "$defs": components}


def components_of_event(ref_template: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the reference to the event and all schemas by name, with references made by `ref_template`.

    For OpenAPI pass `#/components/schemas/{name}`.
    """
    (reference,), components = msgspec.json.schema_components([_WIRE], ref_template=ref_template)
    for name, sentences in _SENTENCES.items():
        for field, sentence in sentences.items():
            described = components[name]["properties"][field]
            if "$ref" in described:
                components[name]["properties"][field] = {"allOf": [described], "description": sentence}
            else:
                described["description"] = sentence
    for name in ("Actor", "Delegator"):
        components[name]["allOf"] = [_needs_a_name()]
    components["Event"]["properties"]["occurred_at"]["format"] = "date-time"
    return reference, components


def _needs_a_name() -> dict[str, Any]:
    """Return the rule that who acts is named, which depends on two fields at once."""
    given = {"type": "string", "minLength": 1}
    named = {"required": ["id"], "properties": {"id": given}}
    by_credential = {"required": ["credential_id"], "properties": {"credential_id": given}}
    nameless = {"properties": {"type": {"enum": sorted(model.ACTORS_WITHOUT_ID)}}}
    key = {"properties": {"type": {"const": "api_key"}}}
    return {
        "if": nameless,
        "then": True,
        "else": {"if": key, "then": {"anyOf": [named, by_credential]}, "else": named},
    }


def fields_table() -> str:
    """Return the Markdown table of every field a producer may send, for docs/reference/event.md."""
    rows = ["| field | type | limit | meaning |", "|---|---|---|---|"]
    _, components = components_of_event("{name}")
    _add_rows(rows, components, "Event", "")
    return "\n".join(rows) + "\n"


def _add_rows(rows: list[str], components: dict[str, Any], name: str, prefix: str) -> None:
    schema = components[name]
    for field, shape in schema["properties"].items():
        required = "**required** " if field in schema.get("required", ()) else ""
        child = _child(shape)
        sentence = shape.get("description", "")
        rows.append(f"| `{prefix}{field}` | {_kind(shape)} | {_limit(shape)} | {required}{sentence} |")
        if child and child != "Delegator":
            mark = "[]." if "array" in str(_kinds(shape)) else "."
            _add_rows(rows, components, child, f"{prefix}{field}{mark}")


def _shapes(shape: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a schema but null, without the wrapping."""
    found: list[dict[str, Any]] = []
    for part in shape.get("anyOf") or shape.get("allOf") or [shape]:
        if part.get("type") != "null":
            found.append(part)
    return found


def _kinds(shape: dict[str, Any]) -> list[str]:
    return [part.get("type", "object" if "$ref" in part else "any JSON") for part in _shapes(shape)]


def _kind(shape: dict[str, Any]) -> str:
    values = [value for part in _shapes(shape) for value in part.get("enum", ()) if value is not None]
    if values:
        return ", ".join(f"`{value}`" for value in values)
    words = {"string": "text", "array": "list of objects", "integer": "integer"}
    return " or ".join(words.get(kind, kind) for kind in _kinds(shape)) or "any JSON"


def _limit(shape: dict[str, Any]) -> str:
    for part in _shapes(shape):
        if "pattern" in part:
            bound = f", at most {part['maxLength']}" if part.get("maxLength", 36) != 36 else ""
            return f"`{part['pattern']}`{bound}"
        if "maxLength" in part:
            return f"{part['maxLength']} characters"
        if "maximum" in part:
            return f"{part['minimum']} to {part['maximum']}"
        if "maxItems" in part:
            return f"{part['maxItems']} items"
    return ""


def _child(shape: dict[str, Any]) -> str:
    for part in _shapes(shape):
        reference = part.get("$ref") or part.get("items", {}).get("$ref")
        if reference:
            return reference
    return ""


def limits_table() -> str:
    """Return the Markdown table of the limits that are not those of one field."""
    rows = [
        ("one event", f"{limits.EVENT_BYTES_MAX // 1024} KiB", "413, nothing of it stored"),
        ("one batch", f"{limits.BATCH_EVENTS_MAX:,} events or {limits.BATCH_BYTES_MAX >> 20} MiB unpacked", "413"),
        ("request headers", f"{limits.HEADER_BYTES_MAX // 1024} KiB", "431"),
        ("targets of an event", str(limits.TARGETS_MAX), "400"),
        ("delegators of an actor", str(limits.ON_BEHALF_OF_MAX), "400"),
        ("nesting of the document", f"{limits.DEPTH_MAX} levels", "400"),
        ("nesting in before, after, metadata", f"{limits.VALUE_DEPTH_MAX} levels", "kept as JSON text, flag `too_deep`"),
        ("numbers", "±(2^53−1), digits a double keeps", "kept as text, flag `number_as_string` or `float_precision`"),
        ("flags of an event", f"{limits.FLAGS_MAX:,}", "one flag `more_flags` with their number"),
        ("changes shown", f"{limits.CHANGES_MAX:,}", "one change of kind `more`"),
    ]  # fmt: skip
    lines = ["| what | limit | beyond it |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {limit} | {beyond} |" for what, limit, beyond in rows]) + "\n"
