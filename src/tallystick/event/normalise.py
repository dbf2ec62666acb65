"""From any decoded JSON tree to one that can be stored: hidden secrets, clean text, flags for every change.

This is the careful road, taken when `prepare` sees something out of the ordinary. Text that an attacker
can write is changed and flagged, never refused; only what a developer writes is refused.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import fields

from tallystick.errors import Refused
from tallystick.event import model
from tallystick.event.canonical import canonical
from tallystick.event.decode import Imprecise, OutOfRange, Repeated
from tallystick.event.limits import FLAGS_MAX, FOREIGN, IDENTIFIERS, VALUE_DEPTH_MAX
from tallystick.event.model import Flag
from tallystick.event.redact import MARK, Redaction
from tallystick.event.secret_names import is_counted, is_secret_name
from tallystick.event.secret_patterns import is_card_number
from tallystick.event.text import cut, pointer_segment, readable
from tallystick.event.wire import own_place

FREE_FORM: Final = frozenset({"before", "after", "metadata"})
# Words of the protocol: never searched for secrets, and refused when they are wrong.
_PROTOCOL: Final = frozenset(
    {
        *("action", "stream", "id", "occurred_at", "outcome", "actor.type", "targets.type"),
        *("producer.id", "producer.epoch"),
    }
)
_IDENTITIES: Final = frozenset({"actor.id", "actor.credential_id", "targets.id"})
NAME_KEYS: Final = ("name", "key", "header", "field")
VALUE_KEYS: Final = ("value", "values")
_FIELD_NAMES: Final = frozenset(
    field.name
    for part in (
        model.Event,
        model.Delegator,
        model.Actor,
        model.Roles,
        model.Target,
        model.Context,
        model.Producer,
        model.Span,
    )
    for field in fields(part)
)
_FINGERPRINT: Final = re.compile(r"[A-Za-z0-9_-]{16}")
_NO_DEEPER: Final = -1_000_000  # depth inside a subtree that becomes text as a whole


class Normaliser:
    """Walks one event's tree; collects `flags` and `redacted` paths on the way."""

    def __init__(self, redaction: Redaction, action: Any) -> None:
        self.flags: list[Flag] = []
        self.redacted: list[str] = []
        self._redaction = redaction
        self._paths = redaction.paths_for(action)
        self._unlisted_flags = 0

    def event(self, tree: Any) -> Any:
        """Return the event's tree normalised; raises Refused with the path of what is refused."""
        return self._structured(tree, "", "")

    def all_flags(self) -> list[Flag]:
        """Return the flags; the last one says how many more there were than can be listed."""
        if self._unlisted_flags:
            return [*self.flags, Flag(path="", kind="more_flags", length=self._unlisted_flags)]
        return self.flags

    def flag(self, path: str, kind: str, whole: str | None = None) -> None:
        """Note that the value at `path` was changed or is in doubt; `whole` is the text that was cut."""
        if len(self.flags) >= FLAGS_MAX:
            self._unlisted_flags += 1
        elif whole is None:
            self.flags.append(Flag(path=path, kind=kind))
        else:
            digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
            self.flags.append(Flag(path=path, kind=kind, length=len(whole), sha256=digest))

    def _structured(self, value: Any, path: str, place: str) -> Any:
        """Normalise a field the event declares; `place` is its path with dots and without indices."""
        match value:
            case Repeated():
                raise self._repeated(value, path)
            case OutOfRange() | Imprecise():
                raise Refused(f"{path}: a number cannot stand here", path=path, rule="invalid_field")
            case dict():
                return self._fields(value, path, place)
            case list():
                return [self._structured(item, f"{path}/{index}", place) for index, item in enumerate(value)]
            case str():
                return self._declared_text(value, path, place)
            case _:
                return value

    def _fields(self, fields: dict[str, Any], path: str, place: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in fields.items():
            below = f"{path}/{pointer_segment(key)}"
            if not place and key == "metadata" and not isinstance(value, dict | Repeated):
                result[key] = value  # null, or refused when it is converted
            elif not place and key in FREE_FORM:
                result[key] = self._free(value, below, 1)
            else:
                result[self._key_of_field(key)] = self._structured(
                    value, below, f"{place}.{key}" if place else key
                )
        return result

    def _key_of_field(self, key: str) -> str:
        if key in _FIELD_NAMES:
            return key
        # Unknown fields are refused later, by name; the name must be writable and must not leak a secret.
        return self._redaction.hide_in(readable(key))

    def _declared_text(self, text: str, path: str, place: str) -> str:
        place = own_place(place)
        text = self._clean(text, path)
        if self._redaction.enabled and place not in _PROTOCOL and not self._paths.is_allowed(path):
            text = self._hide(text, path, identity=place in _IDENTITIES)
        limit = FOREIGN.get(place)
        if limit is not None and len(text) > limit:
            self.flag(path, "truncated", text)
            text = cut(text, limit, digest=place in IDENTIFIERS)
        return text

    def _hide(self, text: str, path: str, *, identity: bool = False) -> str:
        if self._paths.is_extra(path):
            hidden = self._redaction.hidden_text(text)
        else:
            hidden = self._redaction.hide_in(text, identity=identity)
        if hidden != text:
            self.redacted.append(path)
        return hidden

    def _clean(self, text: str, path: str) -> str:
        if "\0" in text:
            self.flag(path, "nul")
            text = text.replace("\0", "\ufffd")
        whole = readable(text)
        if whole != text:
            self.flag(path, "surrogate")
        return whole

    def _free(self, value: Any, path: str, depth: int, *, secret: str = "") -> Any:
        """Normalise a value of before, after or metadata; `secret` is the secret key name it lies under."""
        if self._redaction.enabled and self._paths.is_allowed(path):
            return self._kept(value, path, depth)
        if self._redaction.enabled and self._paths.is_extra(path):
            self.redacted.append(path)
            return self._redaction.hidden(self._plain(value, path))
        match value:
            case dict() | list() if depth > VALUE_DEPTH_MAX:
                self.flag(path, "too_deep")
                return canonical(self._container(value, path, _NO_DEEPER, secret)).decode()
            case dict() | list():
                return self._container(value, path, depth, secret)
            case Repeated():
                raise self._repeated(value, path)
            case None | bool():
                return value
            case _:
                return self._scalar(value, path, secret)

    def _scalar(self, value: Any, path: str, secret: str) -> Any:
        value = self._storable(value, path)
        if not self._redaction.enabled or value == "":
            return value
        if secret and not is_counted(secret, value):
            self.redacted.append(path)
            return self._redaction.hidden(value)
        if isinstance(value, str):
            return self._free_text(value, path)
        if isinstance(value, int) and is_card_number(str(value)):
            self.redacted.append(path)
            return self._redaction.hidden(value)
        return value

    def _storable(self, value: Any, path: str) -> Any:
        match value:
            case OutOfRange():
                self.flag(path, "number_as_string")
                return str(value)
            case Imprecise():
                self.flag(path, "float_precision")
                return str(value)
            case str():
                return self._clean(value, path)
            case _:
                return value

    def _repeated(self, value: Repeated, path: str) -> Refused:
        # Refusals are logged: a key that is a secret must not be in them.
        key = self._redaction.hide_in(readable(value.key))[:64]
        return Refused(
            f"the key {key} appears twice in one object; send each key once",
            path=f"{path}/{pointer_segment(key)}",
            rule="duplicate_key",
        )

    def _plain(self, value: Any, path: str) -> Any:
        """Return a value about to be hidden whole in a form that has a fingerprint."""
        match value:
            case dict():
                return {readable(key): self._plain(item, path) for key, item in value.items()}
            case list():
                return [self._plain(item, path) for item in value]
            case Repeated():
                raise self._repeated(value, path)
            case str():
                return readable(str(value))
            case _:
                return value

    def _free_text(self, text: str, path: str) -> Any:
        hidden = self._redaction.hide_in(text)
        if hidden == text:
            return text
        self.redacted.append(path)
        whole = self._redaction.hidden(text)
        return whole if hidden == f"[redacted:{whole[MARK]}]" else hidden

    def _container(self, value: Any, path: str, depth: int, secret: str) -> Any:
        if isinstance(value, list):
            return self._list(value, path, depth, secret)
        if MARK in value:
            # Ours are in `redacted`; this one the producer wrote, and a reader can tell by this flag.
            self.flag(path, "producer_redacted")
            if _is_mark(value):
                return value
        named = self._named_secret(value)
        result: dict[str, Any] = {}
        for key, item in value.items():
            own = self._own_key(key, path, value, result)
            below = f"{path}/{pointer_segment(own)}"
            name = key if is_secret_name(key) else secret or (named if key in VALUE_KEYS else "")
            result[own] = self._free(item, below, depth + 1, secret=name)
        return result

    def _list(self, value: list[Any], path: str, depth: int, secret: str) -> list[Any]:
        if not secret and len(value) == 2 and isinstance(value[0], str) and is_secret_name(value[0]):
            # A header as a pair: ["Authorization", "Bearer …"].
            return [
                self._free(value[0], f"{path}/0", depth + 1),
                self._free(value[1], f"{path}/1", depth + 1, secret=value[0]),
            ]
        return [
            self._free(item, f"{path}/{index}", depth + 1, secret=secret) for index, item in enumerate(value)
        ]

    def _named_secret(self, value: dict[str, Any]) -> str:
        """Return the secret name in `{"name": "Authorization", "value": …}`, or ""."""
        if any(key in value for key in VALUE_KEYS):
            for key in NAME_KEYS:
                name = value.get(key)
                if isinstance(name, str) and is_secret_name(name):
                    return name
        return ""

    def _own_key(self, key: str, path: str, sent: dict[str, Any], taken: dict[str, Any]) -> str:
        """Return the key `key` is stored under: cleaned, hidden where it is a secret, and not taken yet."""
        whole = key.replace("\0", "\ufffd")
        clean = readable(whole)
        own = self._redaction.hide_in(clean) if self._redaction.enabled else clean
        if own == key:
            return own
        # Two keys may be the same once cleaned: neither may push out the other.
        while own in taken or own in sent:
            own += "\ufffd"
        # Only now is it known where the key ends up, and only now is its path free of secrets.
        below = f"{path}/{pointer_segment(own)}"
        if whole != key:
            self.flag(below, "nul")
        if clean != whole:
            self.flag(below, "surrogate")
        if own.rstrip("\ufffd") != clean.rstrip("\ufffd"):
            self.redacted.append(below)
        return own

    def _kept(self, value: Any, path: str, depth: int) -> Any:
        """Normalise what the organization allows: everything but the redaction."""
        keep = Normaliser(Redaction(key=self._redaction.key, enabled=False), None)
        result = keep._free(value, path, depth)
        for flag in keep.all_flags():
            self.flags.append(flag)
        return result


def _is_mark(value: dict[str, Any]) -> bool:
    """Tell whether `value` is exactly what redaction leaves behind, as an SDK may have done already."""
    mark = value[MARK]
    return len(value) == 1 and isinstance(mark, str) and _FINGERPRINT.fullmatch(mark) is not None
