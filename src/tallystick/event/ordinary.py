"""The quick road of `prepare`: recognising an event in which there is nothing to change.

Everything here may only err on the side of caution: None sends the event on the careful road, where
`Normaliser` decides. A property test holds that both roads give the same event.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.errors import Refused
from tallystick.event.decode import keys_in
from tallystick.event.limits import INTEGER_MAX, VALUE_DEPTH_MAX
from tallystick.event.normalise import NAME_KEYS, VALUE_KEYS
from tallystick.event.redact import MARK, Redaction
from tallystick.event.secret_names import is_counted, is_secret_name
from tallystick.event.secret_patterns import TEXT_MIN, find_secrets, is_card_number, suspicious
from tallystick.event.wire import convert

_CARD_MIN: Final = 10**13  # the smallest integer with as many digits as a card number
_PLAIN_KEYS_MAX: Final = 8192
_KEY_LENGTH_MAX: Final = 64
_DECLARED: Final = ("actor", "targets", "context", "error")
_FREE: Final = ("before", "after", "metadata", "workspace")  # the last has no keys, but may hold a secret
_plain_keys: set[str] = set()
_are_plain = _plain_keys.issuperset


class _Odd(Exception):
    """Something needs care."""


def ordinary(tree: Any, raw: bytes, redaction: Redaction) -> tuple[Any, bool] | None:
    """Return the WireEvent of `tree` and whether it holds floats; None when anything in it needs care.

    `tree` is what `decode_quick` made of `raw`.
    """
    if type(tree) is not dict:
        return None
    texts: list[str] = []
    floats: list[float] = []
    try:
        event = convert(tree)  # from here on every field is known and of its type
        keys = len(tree)
        for name in _DECLARED:
            part = tree.get(name)
            if part:
                keys += _declared(part, texts)
        if tree.get("producer"):
            keys += _numbered(tree["producer"])
        keys += _walk([tree.get(name) for name in _FREE], texts, floats, 0)
    except (_Odd, Refused):
        return None
    if keys != keys_in(raw):
        return None  # a key was sent twice, or a text looks like one
    if redaction.enabled and (
        redaction.has_paths(event.action) or (suspicious("\n".join(texts)) and any(map(find_secrets, texts)))
    ):
        return None
    return event, bool(floats)


def _declared(value: Any, texts: list[str]) -> int:
    """Return how many keys are at and below a field the event declares; collect its texts.

    What its keys, numbers and depth may be was checked by `convert`.
    """
    keys = 0
    items = value
    if type(value) is dict:
        keys = len(value)
        items = value.values()
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) >= TEXT_MIN:
                texts.append(item)
        elif kind is dict or kind is list:
            keys += _declared(item, texts)
    return keys


def _numbered(producer: dict[str, Any]) -> int:
    """Return how many keys say who numbered the event; its words are of the protocol, and hide no secret."""
    return len(producer) + sum(map(len, producer.get("unsent") or ()))


def _walk(value: Any, texts: list[str], floats: list[float], depth: int) -> int:
    """Return how many keys are at and below `value`; collect the texts that could hold a secret, and floats.

    Raises _Odd at a key name or number that needs care, and below the depth that is kept.
    """
    if depth > VALUE_DEPTH_MAX:
        raise _Odd
    if type(value) is dict:
        keys = len(value)
        if not _are_plain(value):
            for key in value:
                _look_at_key(key, value)
        items = value.values()
    else:
        keys = 0
        items = value
        if len(value) == 2 and type(value[0]) is str and is_secret_name(value[0]):
            raise _Odd
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) >= TEXT_MIN:
                texts.append(item)
        elif kind is dict or kind is list:
            keys += _walk(item, texts, floats, depth + 1)
        elif kind is int:
            if (item >= _CARD_MIN and is_card_number(str(item))) or not -INTEGER_MAX <= item <= INTEGER_MAX:
                raise _Odd
        elif kind is float:
            floats.append(item)
    return keys


def _look_at_key(key: str, among: dict[str, Any]) -> None:
    """Raise _Odd when `key` needs care; remember it when no object can make it do so."""
    if key in _plain_keys:
        return
    if key == MARK or (len(key) >= TEXT_MIN and suspicious(key)):
        raise _Odd
    if is_secret_name(key):
        value = among[key]  # counts, null, false and "" are no secrets under any name
        if value is not None and value != "" and type(value) is not bool and not is_counted(key, value):
            raise _Odd
    elif key in VALUE_KEYS:
        if any(name in among for name in NAME_KEYS):
            raise _Odd
    elif len(key) <= _KEY_LENGTH_MAX:
        if len(_plain_keys) >= _PLAIN_KEYS_MAX:
            _plain_keys.clear()
        _plain_keys.add(key)
