"""The wire form of an event with its limits: `Event` of model.py plus the rules of limits.py, derived.

Decoding converts into these types and JSON Schema is generated from them, so that both state the same
rules. Every field with a default also takes null, which means absent (except `before` and `after`).
"""

from __future__ import annotations

import re
import types
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import fields

from tallystick.errors import Refused
from tallystick.event import limits, model
from tallystick.event.text import pointer_segment

_PATTERNS: Final = {
    "action": limits.ACTION_PATTERN,
    "stream": limits.STREAM_PATTERN,
    "id": limits.ID_PATTERN,
    "producer.id": limits.PRODUCER_PATTERN,
    "producer.epoch": limits.PRODUCER_PATTERN,
}
# Text that must say something where it is given at all: "" here is always a mistake of the producer's code.
_NOT_EMPTY: Final = frozenset(
    {
        *("action", "stream", "id", "workspace", "actor.id", "targets.type", "targets.id"),
        *("producer.id", "producer.epoch"),
    }
)
_COUNTS: Final = {
    "targets": limits.TARGETS_MAX,
    "actor.on_behalf_of": limits.ON_BEHALF_OF_MAX,
    "producer.unsent": limits.UNSENT_MAX,
}


_FIXED: Final = {"id": (36, 36), "occurred_at": (20, 96)}


def own_place(place: str) -> str:
    """Return the place whose rules hold at `place`: those of an actor hold for each delegator."""
    return place.replace("actor.on_behalf_of.", "actor.")


def limit_of(place: str) -> int | None:
    """Return the characters allowed at a dotted place such as `targets.name`; None where there is no text."""
    place = own_place(place)
    return limits.DEVELOPER.get(place) or limits.FOREIGN.get(place)


@lru_cache
def derive(kind: type[Struct], prefix: str = "", *, patterns: bool = False) -> type[Struct]:
    """Return a struct like `kind` whose texts and lists have their limits and whose options take null.

    With `patterns` it also carries the regular expressions, for JSON Schema; without, it converts three
    times faster and `convert` looks at them itself.
    """
    hints = get_type_hints(kind)
    entries: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in fields(kind):
        limited = _limited(hints[field.name], prefix + field.name, patterns)
        if field.required:
            entries.append((field.name, limited))
        elif field.default is UNSET:
            entries.append((field.name, limited, UNSET))
        else:
            entries.append((field.name, limited | None, None))
    return msgspec.defstruct(
        kind.__name__, entries, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False,
        namespace={"__doc__": kind.__doc__},
    )  # fmt: skip


def _limited(kind: Any, place: str, patterns: bool) -> Any:
    """Return the annotation `kind` with the limits of `place`."""
    origin = get_origin(kind)
    if kind is str:
        return Annotated[str, _text_rules(place, patterns)]
    if origin is Union or origin is types.UnionType:
        return Union[tuple(_limited(part, place, patterns) for part in get_args(kind))]  # noqa: UP007
    if origin is tuple:
        item = _limited(get_args(kind)[0], place, patterns)
        return Annotated[tuple[item, ...], Meta(max_length=_COUNTS[place])]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return derive(kind, own_place(place + "."), patterns=patterns)
    if kind is int:
        least, most = limits.INTEGERS[place]
        return Annotated[int, Meta(ge=least, le=most)]
    if kind is Any or origin in (Literal, dict) or kind in (types.NoneType, UnsetType):
        return kind
    raise TypeError(f"{place}: no rule for {kind}")


def _text_rules(place: str, patterns: bool) -> Meta:
    if place in _FIXED:
        least, most = _FIXED[place]
    else:
        limit = limit_of(place)
        if limit is None:
            raise TypeError(f"limits.py says nothing about {place}")
        least, most = (1 if own_place(place) in _NOT_EMPTY else None), limit
    return Meta(min_length=least, max_length=most, pattern=_PATTERNS.get(place) if patterns else None)


WireEvent: Final = derive(model.Event)

_action_fits: Final = re.compile(limits.ACTION_PATTERN).fullmatch
_stream_fits: Final = re.compile(limits.STREAM_PATTERN).fullmatch
_producer_fits: Final = re.compile(limits.PRODUCER_PATTERN).fullmatch
_seen_actions: Final[set[str]] = set()
_SEEN_MAX: Final = 8192


def convert(tree: Any) -> Any:
    """Return `tree` as a WireEvent; raises Refused with JSON pointer and rule where it breaks one."""
    try:
        event: Any = msgspec.convert(tree, WireEvent)
    except msgspec.ValidationError as error:
        raise _refusal(error) from None
    action = event.action
    if action not in _seen_actions:
        if not _action_fits(action):
            raise _misspelt("action")
        if len(_seen_actions) >= _SEEN_MAX:
            _seen_actions.clear()
        _seen_actions.add(action)
    if event.stream is not None and not _stream_fits(event.stream):
        raise _misspelt("stream")
    if event.producer is not None:
        _check_producer(event.producer)
    return event


def _check_producer(producer: Any) -> None:
    """Raise Refused for what the types cannot say about who numbered an event."""
    for name in ("id", "epoch"):
        if not _producer_fits(getattr(producer, name)):
            raise _misspelt("producer/" + name)
    for index, span in enumerate(producer.unsent or ()):
        if span.first > span.last:
            path = f"/producer/unsent/{index}"
            raise Refused(f"{path}: a range ends before it begins", path=path, rule="invalid_field")


def _misspelt(name: str) -> Refused:
    return Refused(f"/{name}: expected {_SPELLINGS[name]}", path=f"/{name}", rule="invalid_field")


_SERVER_OWNED: Final = frozenset(
    {field.encode_name for field in fields(model.RecordedEvent)} - {field.encode_name for field in fields(model.Event)}
) | {"organization_id", "tenant_id", "leaf_hash", "hash", "seed", "sequence", "seq"}  # fmt: skip
_PLACE: Final = re.compile(r" - at `\$(?P<path>.*)`$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`$", re.DOTALL)


def _refusal(error: msgspec.ValidationError) -> Refused:
    """Return the Refused, with JSON pointer and rule, that a failed `convert` stands for."""
    said = str(error)
    place = _PLACE.search(said)
    path = re.sub(r"\.|\[(\d+)\]", lambda m: "/" + (m[1] or ""), place["path"]) if place else ""
    said = said[: place.start()] if place else said
    if unknown := _UNKNOWN.search(said):
        name = unknown["name"][:64]
        path += "/" + pointer_segment(name)
        owned = unknown["name"] in _SERVER_OWNED
        rule, why = (
            ("server_owned_field", "is set by the server") if owned else ("unknown_field", "is unknown")
        )
        return Refused(f"the field {name} {why}; remove it, or put it into metadata", path=path, rule=rule)
    if missing := _MISSING.search(said):
        path += "/" + missing["name"]
        return Refused(f"{missing['name']} is missing", path=path, rule="invalid_field")
    rule = _RULES.get(path, "invalid_field")
    if path == "/targets" and "length" in said:
        rule = "too_many_targets"
    return Refused(f"{path or 'the event'}: {_in_words(said)}", path=path, rule=rule)


_RULES: Final = {
    "": "invalid_json",
    "/id": "invalid_identifier",
    "/occurred_at": "invalid_time",
}
_SPELLINGS: Final = {
    "action": "letters, digits and . _ : / - only, beginning with a letter or digit",
    "stream": "lower-case letters, digits, _ and - only, beginning with a letter or digit",
    "producer/id": "letters, digits and . _ : - only, beginning with a letter or digit",
    "producer/epoch": "letters, digits and . _ : - only, beginning with a letter or digit",
}


def _in_words(said: str) -> str:
    """Return msgspec's sentence in the words of JSON: `str` is called text, `array` a list.

    What was sent is not repeated: it may be a secret in the wrong place, and refusals are logged.
    """
    if said.startswith("Invalid enum value"):
        return "not one of the values that can stand here"
    for theirs, ours in (("`str", "`text"), ("`array", "`list"), ("`int", "`integer")):
        said = said.replace(theirs, ours)
    said = said.replace(" | null`", "`")
    return said[:1].lower() + said[1:]
