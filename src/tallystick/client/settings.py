"""What an `Audit` needs to know, from its arguments and, where they are silent, from the environment.

| variable | what it is |
|---|---|
| `TALLYSTICK_URL` | address of the server |
| `TALLYSTICK_API_KEY` | a key that may write |
| `TALLYSTICK_SPOOL` | folder of the spool files; by default `~/.local/state/tallystick/spool` |
| `TALLYSTICK_PRODUCER` | the name under which events are numbered; by default made from machine and spool |
| `TALLYSTICK_PROFILE` | `durable` (default), `fast` or `memory` |
| `TALLYSTICK_REDACTION_KEY` | what fingerprints of secrets are keyed with; by default made from the API key |
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, cast, get_args

from msgspec import Struct

from tallystick.errors import Misconfigured
from tallystick.event.limits import DEVELOPER, PRODUCER_PATTERN
from tallystick.event.redact import Redaction

Profile = Literal["durable", "fast", "memory"]
WhenFull = Literal["block", "raise", "drop_oldest"]

SPOOL_BYTES_MAX: Final = 1024 * 1024 * 1024
SPOOL_BYTES_MIN: Final = 256 * 1024
HEARTBEAT_SECONDS: Final = 60.0
HEARTBEAT_SECONDS_MIN: Final = 1.0
HEARTBEAT_SECONDS_MAX: Final = 86_400.0
PRODUCER_MAX: Final = DEVELOPER["producer.id"]
_DESTINATION_CHARACTERS: Final = 12


class Settings(Struct, frozen=True, kw_only=True):
    """Everything about recording that an application may choose; sizes in bytes, times in seconds."""

    url: str | None
    api_key: str | None
    profile: Profile
    folder: Path | None  # None: in memory only
    bytes_max: int
    when_full: WhenFull
    block_seconds: float
    linger_seconds: float
    exit_seconds: float
    redaction_key: bytes
    producer: str | None = None
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    @property
    def destination(self) -> str:
        """A name for the server and key that events go to; a spool file holds events of one destination only.

        So that an event never reaches another organization's log because two programs share a folder.
        """
        words = f"{self.url or ''}\0{self.api_key or ''}".encode()
        return hashlib.sha256(b"tallystick/destination/1\0" + words).hexdigest()[:_DESTINATION_CHARACTERS]

    @property
    def path(self) -> Path | None:
        """The spool file, None in memory."""
        return None if self.folder is None else self.folder / f"{self.destination}.spool"

    @property
    def producer_default(self) -> str:
        """The producer's name where none is chosen: the same for the same spool on the same machine, telling neither.

        In memory it is that of the program, so that each of its processes is an epoch of one producer.
        """
        place = str(self.path) if self.path is not None else f"{sys.argv[0]}\0{self.destination}"
        words = f"{os.uname().nodename}\0{place}".encode()
        return "p-" + hashlib.sha256(b"tallystick/producer/1\0" + words).hexdigest()[:_DESTINATION_CHARACTERS]

    @property
    def redaction(self) -> Redaction:
        """What is hidden in events before they touch the disk."""
        return Redaction(key=self.redaction_key)


def address_and_key(
    url: str | None, api_key: str | None, environment: Mapping[str, str] = os.environ
) -> tuple[str | None, str | None]:
    """Return where the server is and what opens it, from the environment where nothing was given."""
    return (
        url or environment.get("TALLYSTICK_URL") or None,
        api_key or environment.get("TALLYSTICK_API_KEY") or None,
    )


def settings(
    *,
    url: str | None = None,
    api_key: str | None = None,
    spool: str | Path | None = None,
    profile: Profile | None = None,
    spool_bytes_max: int = SPOOL_BYTES_MAX,
    when_full: WhenFull = "block",
    block_seconds: float = 30.0,
    linger_seconds: float = 1.0,
    exit_seconds: float | None = None,
    redaction_key: bytes | str | None = None,
    producer: str | None = None,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings; Misconfigured names the one that is wrong and what to write instead."""
    url, api_key = address_and_key(url, api_key, environment)
    chosen = profile or environment.get("TALLYSTICK_PROFILE") or "durable"
    if chosen not in get_args(Profile):
        raise Misconfigured(f"profile is {chosen!r}; it may be {', '.join(get_args(Profile))}")
    if when_full not in get_args(WhenFull):
        raise Misconfigured(f"when_full is {when_full!r}; it may be {', '.join(get_args(WhenFull))}")
    if spool_bytes_max < SPOOL_BYTES_MIN:
        raise Misconfigured(f"spool_bytes_max is {spool_bytes_max}; it must be at least {SPOOL_BYTES_MIN}")
    if url is not None and not url.startswith(("http://", "https://")):
        raise Misconfigured(f"TALLYSTICK_URL is {url!r}; it must begin with http:// or https://")
    name = producer or environment.get("TALLYSTICK_PRODUCER") or None
    if name is not None and (len(name) > PRODUCER_MAX or not re.fullmatch(PRODUCER_PATTERN, name)):
        raise Misconfigured(
            f"TALLYSTICK_PRODUCER is {name!r}; it may have {PRODUCER_MAX} letters, digits and . _ : -, beginning with a "
            "letter or digit"
        )
    if heartbeat_seconds and not HEARTBEAT_SECONDS_MIN <= heartbeat_seconds <= HEARTBEAT_SECONDS_MAX:
        raise Misconfigured(
            f"heartbeat_seconds is {heartbeat_seconds}; it may be {HEARTBEAT_SECONDS_MIN:.0f} to {HEARTBEAT_SECONDS_MAX:.0f}, or 0 "
            "for none"
        )
    key = redaction_key or environment.get("TALLYSTICK_REDACTION_KEY") or None
    return Settings(
        url=url.rstrip("/") if url else None,
        api_key=api_key,
        profile=cast(Profile, chosen),
        folder=None if chosen == "memory" else _folder(spool, environment),
        bytes_max=spool_bytes_max,
        when_full=when_full,
        block_seconds=block_seconds,
        linger_seconds=linger_seconds,
        # What is on disk waits for the next start; what is in memory has only this one chance.
        exit_seconds=exit_seconds if exit_seconds is not None else 30.0 if chosen == "memory" else 2.0,
        redaction_key=_redaction_key(key, api_key),
        producer=name,
        heartbeat_seconds=heartbeat_seconds,
    )


def _folder(spool: str | Path | None, environment: Mapping[str, str]) -> Path:
    given = spool or environment.get("TALLYSTICK_SPOOL")
    state = environment.get("XDG_STATE_HOME") or "~/.local/state"
    folder = Path(given) if given else Path(state) / "tallystick" / "spool"
    try:
        return folder.expanduser()
    except RuntimeError:  # an account without a home, as in a container
        raise Misconfigured(
            f"the spool would be in {folder}, and this account has no home folder: set TALLYSTICK_SPOOL to a folder that can "
            "be written, or the profile to memory"
        ) from None


def _redaction_key(given: bytes | str | None, api_key: str | None) -> bytes:
    if given is not None:
        return given.encode() if isinstance(given, str) else given
    if api_key is None:
        return os.urandom(32)  # nothing to derive it from: fingerprints compare within this process only
    return hmac.digest(api_key.encode(), b"tallystick/sdk/redaction/1", "sha256")
