"""Redaction: secrets leave an event before it is hashed, stored, logged or sent on.

A secret becomes `{"$redacted": "<fingerprint>"}`, inside a longer text `[redacted:<fingerprint>]`. The
fingerprint is keyed, so that "changed or not" stays visible to everyone and guessing needs the key.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tallystick.errors import Misconfigured
from tallystick.event.canonical import canonical
from tallystick.event.secret_patterns import TEXT_MIN, find_secrets

MARK: Final = "$redacted"
_DOMAIN: Final = b"tallystick/redact/1\0"
_FINGERPRINT_BYTES: Final = 12
KEY_BYTES_MIN: Final = 16


class Redaction(Struct, frozen=True):
    """What to hide: the defaults (secret key names and known patterns), more paths, fewer paths.

    `key` is secret, 16 bytes or more, and stays the same for as long as fingerprints are to be compared.
    `extra_paths` and `allowed_paths` map an action (or "*" for all) to JSON pointers into the event, where a
    segment `*` stands for any one. An allowed path keeps everything at and below it; it wins over extra.
    """

    key: bytes
    extra_paths: Mapping[str, tuple[str, ...]] = {}
    allowed_paths: Mapping[str, tuple[str, ...]] = {}
    enabled: bool = True

    def __post_init__(self) -> None:
        if len(self.key) < KEY_BYTES_MIN:
            raise Misconfigured(
                f"the redaction key needs at least {KEY_BYTES_MIN} bytes", rule="redaction_key"
            )

    def fingerprint(self, value: Any) -> str:
        """Return 16 characters that are equal for equal values, and tell nothing without the key."""
        digest = hmac.digest(self.key, _DOMAIN + canonical(value), "sha256")
        return urlsafe_b64encode(digest[:_FINGERPRINT_BYTES]).decode()

    def hidden(self, value: Any) -> dict[str, str]:
        """Return what stands in the place of a whole value."""
        return {MARK: self.fingerprint(value)}

    def hidden_text(self, text: str) -> str:
        """Return what stands in the place of a text where only text can stand."""
        return f"[redacted:{self.fingerprint(text)}]"

    def hide_in(self, text: str, *, identity: bool = False) -> str:
        """Return `text` with each secret found in it replaced, and the rest untouched."""
        if len(text) < TEXT_MIN:
            return text
        spans = find_secrets(text, identity=identity)
        if not spans:
            return text
        pieces: list[str] = []
        at = 0
        for start, end in spans:
            pieces += (text[at:start], self.hidden_text(text[start:end]))
            at = end
        return "".join((*pieces, text[at:]))

    def paths_for(self, action: Any) -> Paths:
        """Return the extra and allowed paths that hold for events of `action`."""
        return Paths(self._of(self.extra_paths, action), self._of(self.allowed_paths, action))

    def has_paths(self, action: str) -> bool:
        """Tell whether events of `action` need more than the defaults."""
        if not (self.extra_paths or self.allowed_paths):
            return False  # asked for every event, and true for nearly all
        return any("*" in paths or action in paths for paths in (self.extra_paths, self.allowed_paths))

    @staticmethod
    def _of(paths: Mapping[str, tuple[str, ...]], action: Any) -> tuple[str, ...]:
        own = paths.get(action, ()) if isinstance(action, str) else ()
        return paths.get("*", ()) + own


class Paths(Struct, frozen=True):
    """The paths of one action: JSON pointers, `*` for any one segment."""

    extra: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    def is_extra(self, path: str) -> bool:
        """Tell whether the value at `path` is to be hidden."""
        return _matches(self.extra, path)

    def is_allowed(self, path: str) -> bool:
        """Tell whether the value at `path`, with all below it, is to be kept."""
        return _matches(self.allowed, path)


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    if not patterns:
        return False
    segments = path.split("/")
    for pattern in patterns:
        wanted = pattern.split("/")
        if len(wanted) == len(segments) and all(w in ("*", s) for w, s in zip(wanted, segments, strict=True)):
            return True
    return False
