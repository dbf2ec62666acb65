"""A witness of other people's logs: cosigns each checkpoint that extends the last one it cosigned (c2sp.org/tlog-witness).

    <data>/witness.key       its Ed25519 seed, mode 0600, made at the first start
    <data>/state/*.state     for each log the size, root and checkpoint it cosigned last

It trusts no log: one that was set back, or shows two people two histories, gets no cosignature.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import cast

from tallystick.errors import AuditError, Conflict, Forbidden, Misconfigured, NotFound, Refused, Tampered
from tallystick.merkle.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from tallystick.merkle.keys import Cosigner, SignerKey, VerifierKey
from tallystick.merkle.note import Note, Verifier, parse_note
from tallystick.merkle.proof import ProofError, verify_consistency
from tallystick.merkle.tree import EMPTY_ROOT
from tallystick.merkle.witness import AddCheckpoint, format_cosignatures, parse_add_checkpoint

_HEADER = "tallystick witness state 1"
_NOTHING = Checkpoint("-", 0, EMPTY_ROOT)
STATE_BYTES_MAX = 1 << 20


class OldSize(Conflict):
    """The witness has another size than the log thought: `size` says which."""

    rule = "old_size"

    def __init__(self, size: int) -> None:
        super().__init__(f"The last checkpoint cosigned here is of {size} entries.")
        self.size = size


@dataclass(frozen=True, slots=True)
class Watched:
    """A log that is watched, and what was cosigned of it last; None = nothing yet."""

    origin: str
    last: Checkpoint | None


class Witness:
    """Cosigns checkpoints of the logs whose keys it was given. Only one process at a time may have its folder.

    Args:
        key: the witness's own key, which signs nothing else.
        folder: where it keeps what it cosigned.
        logs: keys of the logs it watches; a log's origin is its key's name.
        now: the clock, in UTC.
    """

    def __init__(
        self, key: SignerKey, folder: Path, logs: Sequence[VerifierKey], *, now: Callable[[], datetime]
    ) -> None:
        self._key = key
        self._folder = folder
        self._now = now
        self._lock = threading.Lock()
        self._logs: dict[str, list[VerifierKey]] = {}
        for one in logs:
            self._logs.setdefault(one.name, []).append(one)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._only_me = _lock(folder)
        for origin in self._logs:
            self._read(origin)  # a damaged state is told at the start, not at the first request

    @property
    def verifier(self) -> VerifierKey:
        """The public key that checks its cosignatures."""
        return self._key.cosigning

    def watched(self) -> list[Watched]:
        """Return the logs that are watched, and where each stands."""
        return [Watched(origin, self._read(origin)[0]) for origin in self._logs]

    def add_checkpoint(self, body: bytes) -> str:
        """Take a checkpoint with its proof and return the cosignature's line; it is on disk before this returns.

        Raises NotFound for a log that is not watched, Forbidden when no trusted key signed it, OldSize when the proof
        begins elsewhere than at the last cosigned checkpoint, Conflict for another root of the same size, ProofError
        when the log does not continue it, Refused for any other text.
        """
        asked = parse_add_checkpoint(body)
        checkpoint = self._opened(asked)
        with self._lock:
            last, last_note = self._read(checkpoint.origin)
            self._compare(asked, checkpoint, last or _NOTHING, last_note)
            note = parse_note(asked.checkpoint)
            seconds = int(self._now().timestamp())
            signed = Note(note.text, ()).signed_by(Cosigner(self._key, seconds)).signatures
            if last is None or checkpoint.size > last.size:
                self._write(checkpoint, asked.checkpoint)
        return format_cosignatures(signed)

    def _opened(self, asked: AddCheckpoint) -> Checkpoint:
        note = parse_note(asked.checkpoint)
        found = parse_checkpoint(note.text)
        keys = self._logs.get(found.origin)
        if keys is None:
            raise NotFound(f"The log {found.origin[:200]!r} is not watched here.")
        try:
            open_checkpoint(asked.checkpoint, cast(Sequence[Verifier], keys), origin=found.origin)
        except (Refused, Tampered):
            raise Forbidden("No key that is trusted here for this log signed this checkpoint.") from None
        if asked.old > found.size:
            raise Refused(f"The old size {asked.old} is larger than the checkpoint's, {found.size}.")
        return found

    def _compare(self, asked: AddCheckpoint, new: Checkpoint, last: Checkpoint, last_note: str) -> None:
        if asked.old != last.size:
            raise OldSize(last.size)
        if new.size == last.size:
            if asked.proof:
                raise ProofError("a proof between equal sizes must be empty")
            if new.root != last.root:
                self._accuse(asked.checkpoint, last_note)
                raise OldSize(last.size)
        elif last.size:
            try:
                verify_consistency(last.size, new.size, asked.proof, last.root, new.root)
            except ProofError:
                self._accuse(asked.checkpoint, last_note)
                raise

    def _accuse(self, signed: str, cosigned: str) -> None:
        """Keep both checkpoints: two histories signed with a log's key may be what proves its misbehaviour."""
        name = sha256((signed + cosigned).encode()).hexdigest()[:32]
        path = self._folder / f"{name}.conflict"
        with suppress(OSError):
            if not path.exists() and len(list(self._folder.glob("*.conflict"))) < 1000:
                _write_whole(path, f"cosigned:\n{cosigned}\nrefused:\n{signed}".encode())

    def _path(self, origin: str) -> Path:
        return self._folder / f"{sha256(origin.encode()).hexdigest()[:32]}.state"

    def _read(self, origin: str) -> tuple[Checkpoint | None, str]:
        path = self._path(origin)
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            return None, ""
        header, _, rest = stored.decode("utf-8", "replace").partition("\n")
        digest, _, note = rest.partition("\n")
        try:
            if header != _HEADER or sha256(note.encode()).hexdigest() != digest:
                raise Refused("it is not what was written")
            found = parse_checkpoint(parse_note(note).text)
            if found.origin != origin:
                raise Refused("it is of another log")
        except AuditError as error:
            raise Misconfigured(
                f"The state {path} of the log {origin} is damaged: {error}. Without it a log could be set back unseen, so "
                "nothing is cosigned. Restore the file from your backup."
            ) from error
        return found, note

    def _write(self, checkpoint: Checkpoint, note: str) -> None:
        body = f"{_HEADER}\n{sha256(note.encode()).hexdigest()}\n{note}"
        _write_whole(self._path(checkpoint.origin), body.encode())

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._only_me)


def open_key(path: Path, name: str, random: Callable[[int], bytes]) -> SignerKey:
    """Return the witness's key, made at the first start; raises Misconfigured when it is of another name or unreadable."""
    if not path.exists():
        if any((path.parent / "state").glob("*.state")):
            raise Misconfigured(
                f"The key {path} is gone, but checkpoints were cosigned with it. Put it back from your backup."
            )
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_whole(path, (SignerKey(name, random(32)).format() + "\n").encode())
    try:
        key = SignerKey.parse(path.read_text().strip())
    except (Refused, OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The key {path} cannot be read: {error}. Put it back from your backup."
        ) from error
    if key.name != name:
        raise Misconfigured(
            f"The key {path} is of the witness {key.name!r}, not of {name!r}. Its name cannot change."
        )
    return key


def _lock(folder: Path) -> int:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise Misconfigured(
            f"Another process is a witness with the folder {folder}. Stop it first."
        ) from None
    return handle


def _write_whole(path: Path, content: bytes) -> None:
    # Whole or not at all, and on disk before anybody is told: rename() replaces in one step.
    half = path.with_suffix(path.suffix + ".new")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
