"""The signer: the instance's key, and its memory of what it signed, both outside the database.

    <data>/keys/signing.key   one Ed25519 seed, mode 0600, made at the first start
    <data>/signer/*.state     for each log the size and root that were signed and committed last

Whoever can edit the database can edit neither: a log set back or rewritten there is noticed here before anything
is signed for it. Two servers may share the folder: a state never goes backwards.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tallystick.errors import Misconfigured, Refused, Tampered
from tallystick.merkle.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from tallystick.merkle.keys import Cosigner, SignerKey, VerifierKey
from tallystick.merkle.note import decode_base64, encode_base64
from tallystick.merkle.proof import verify_consistency
from tallystick.merkle.tree import EMPTY_ROOT

LOGS_REMEMBERED_MAX = (
    512  # open state files and prepared keys; more logs than this are opened again when needed
)
_STATE_HEADER = "tallystick signer state 1"
_STATE_BYTES_MAX = 4096
_CLOCK = b"tallystick/clock-key/1\0"


class Mark(NamedTuple):
    """How far a log was signed: its size in leaves and its root."""

    size: int
    root: bytes


NOTHING_SIGNED = Mark(0, EMPTY_ROOT)


class SignerDiffers(Tampered):
    """The signer's last state of a log is not the caller's: load the log again; if it still differs, stop."""

    rule = "signer_differs"


class Signer:
    """Signs checkpoints of the logs of one instance, each only if it extends the last one.

    `instance` names this instance in every origin (`<instance>/o/<organization id>`); `seed` are 32 secret
    bytes; `folder` holds the states. A second key, derived from the seed, states the time of each checkpoint
    (docs/decisions/checkpoint-time.md). Use one for each process; it is safe to share the folder.
    """

    def __init__(self, *, instance: str, seed: bytes, folder: Path) -> None:
        self.instance = instance
        self._seed = seed
        self._clock = SignerKey(f"{instance}/clock", sha256(_CLOCK + seed).digest())
        self._folder = folder
        self._keys: OrderedDict[str, SignerKey] = OrderedDict()
        self._files: OrderedDict[str, int] = OrderedDict()
        self._unsynced: set[str] = set()
        self._guard = (
            threading.Lock()
        )  # sync() runs in a thread, so that a slow disk does not stop the server

    @classmethod
    def open(cls, data: Path, *, instance: str, random: Callable[[int], bytes]) -> Signer:
        """Open the signer of a data folder, making its key at the first start.

        Raises Misconfigured when states are there but the key is gone, or the key cannot be read.
        """
        folder = data / "signer"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(instance=instance, seed=_seed_of(data, folder, instance, random), folder=folder)

    def origin(self, organization_id: UUID) -> str:
        """Return the origin of an organization's log."""
        return f"{self.instance}/o/{organization_id}"

    def verifier(self, origin: str) -> VerifierKey:
        """Return the public key that checks the checkpoints of `origin`."""
        return self._key(origin).verifier

    def clock(self) -> VerifierKey:
        """Return the public key that checks the times of all checkpoints, a key of type cosignature/v1."""
        return Cosigner(self._clock, 0).verifier

    def sign(self, origin: str, new: Mark, *, extends: Mark, at: datetime) -> str:
        """Return the signed checkpoint of `new`, a log that the caller grew from `extends`, as a note.

        Nothing is remembered until `confirm`: a checkpoint whose transaction did not commit was never given out.
        Raises SignerDiffers unless `extends` is exactly what was signed and committed last.
        """
        signed = self.state(origin) or NOTHING_SIGNED
        if signed != extends:
            raise SignerDiffers(explain(origin, signed, extends.size))
        checkpoint = Checkpoint(origin, new.size, new.root)
        return checkpoint.sign(self._key(origin), Cosigner(self._clock, int(at.timestamp()))).format()

    def read(self, origin: str, note: str) -> SignedCheckpoint:
        """Read a stored note of this log; raises Tampered unless this signer's key signed it for `origin`."""
        try:
            return open_checkpoint(note, [self.verifier(origin)], origin=origin, witnesses=[self.clock()])
        except Refused as error:
            raise Tampered(
                f"the stored checkpoint of {origin} is not one this server signed: {error}. If the key file was "
                "replaced, put the old keys/signing.key back",
                rule="checkpoint",
            ) from error

    def state(self, origin: str) -> Mark | None:
        """Return how far this log was signed and committed, None when nothing was signed yet."""
        handle = self._open(origin, create=False)
        if handle is None:
            return None
        try:
            return _read_state(handle, origin)
        except Misconfigured:
            with _locked(handle):  # perhaps another server was just writing it
                return _read_state(handle, origin)

    def confirm(self, origin: str, committed: Mark, *, follows: Mark) -> None:
        """Remember that `committed`, grown from `follows`, is in the log for good; never goes backwards.

        Raises Tampered when another history of this log was confirmed meanwhile: two databases, one signer.
        """
        known = self._replace(origin, follows, committed)
        forked = known.root != committed.root if known.size == committed.size else known != follows
        if known.size <= committed.size and forked:
            raise Tampered(f"the log {origin} was signed with two histories of up to {committed.size} events")

    def _replace(self, origin: str, old: Mark, new: Mark) -> Mark:
        """Put `new` in the place of `old`; return what stood there, unchanged when it was something else."""
        handle = self._open(origin, create=True)
        assert handle is not None
        with _locked(handle):
            known = _read_state(handle, origin) or NOTHING_SIGNED
            if known == old:
                os.pwrite(handle, _format_state(origin, new), 0)
        with self._guard:
            self._unsynced.add(origin)
        return known

    async def adopt(self, origin: str, found: Mark, prove: Callable[[Mark], Awaitable[list[bytes]]]) -> None:
        """Take over a stored state that is ahead of ours: another server's, or one from before a power cut.

        `found` is the log's, its note already checked with `read`; `prove` returns the consistency proof from
        our state to it. Raises SignerDiffers when ours is ahead, Tampered when the log does not continue it.
        """
        while (ours := self.state(origin) or NOTHING_SIGNED) != found:
            if ours.size >= found.size:
                raise SignerDiffers(explain(origin, ours, found.size))
            if ours.size:
                proof = await prove(ours)
                verify_consistency(ours.size, found.size, proof, ours.root, found.root)
            # Another server may have gone on meanwhile: then its state is proved in turn.
            self._replace(origin, ours, found)

    def states(self) -> Iterator[tuple[str, Mark]]:
        """Yield the origin and the mark of every log that was ever signed here."""
        for path in sorted(self._folder.glob("*.state")):
            handle = os.open(path, os.O_RDONLY)
            try:
                yield _parse_state(os.pread(handle, _STATE_BYTES_MAX, 0), path)
            finally:
                os.close(handle)

    def sync(self) -> None:
        """Write what was confirmed since the last call to the disk; may block, call it from a thread."""
        with self._guard:
            unsynced, self._unsynced = self._unsynced, set()
        for origin in unsynced:
            handle = os.open(self._path(origin), os.O_RDWR)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Sync, and close all files."""
        self.sync()
        while self._files:
            os.close(self._files.popitem()[1])

    def _key(self, origin: str) -> SignerKey:
        key = self._keys.get(origin)
        if key is None:
            key = self._keys[origin] = SignerKey(origin, self._seed)
            if len(self._keys) > LOGS_REMEMBERED_MAX:
                self._keys.popitem(last=False)
        return key

    def _path(self, origin: str) -> Path:
        return self._folder / f"{sha256(origin.encode()).hexdigest()[:32]}.state"

    def _open(self, origin: str, *, create: bool) -> int | None:
        handle = self._files.get(origin)
        if handle is not None:
            self._files.move_to_end(origin)
            return handle
        try:
            handle = os.open(self._path(origin), os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            return None
        self._files[origin] = handle
        if len(self._files) > LOGS_REMEMBERED_MAX:
            os.close(self._files.popitem(last=False)[1])
        return handle


def explain(origin: str, signed: Mark, size: int) -> str:
    """Return the sentence for a database that does not hold what was signed."""
    return (
        f"The log {origin} was signed and acknowledged at {signed.size} events, but the database holds another "
        f"history, of {size}. Nothing was signed. Restore a newer backup of the database. A backup that "
        "'tallystick backup' made brings the signer's memory of its own time along: restore it into a folder of its own."
    )


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    # flock is held for microseconds by a server sharing the folder; it is released when the holder dies.
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _format_state(origin: str, mark: Mark) -> bytes:
    # Fixed width, so that a later state overwrites all of an earlier one within one sector of the disk.
    body = f"{_STATE_HEADER}\n{origin}\n{mark.size:020}\n{encode_base64(mark.root)}\n"
    return (body + sha256(body.encode()).hexdigest() + "\n").encode()


def _read_state(handle: int, origin: str) -> Mark | None:
    stored = os.pread(handle, _STATE_BYTES_MAX, 0)
    if not stored:
        return None
    found, mark = _parse_state(stored, origin)
    if found != origin:
        raise Misconfigured(f"The signer's state of {origin} is that of {found}: restore the folder signer/.")
    return mark


def _parse_state(stored: bytes, where: Path | str) -> tuple[str, Mark]:
    if (found := _state_in(stored)) is not None:
        return found
    raise Misconfigured(
        f"The signer's state {where} is damaged. It guards against a log being set back, so nothing is signed "
        "without it. Check the log with 'tallystick doctor', then restore the file from your backup."
    )


@lru_cache(maxsize=LOGS_REMEMBERED_MAX)  # each is read when it is extended and again when that is confirmed
def _state_in(stored: bytes) -> tuple[str, Mark] | None:
    body, _, digest = stored.decode(errors="replace").removesuffix("\n").rpartition("\n")
    lines = body.split("\n")
    if len(lines) == 4 and sha256(f"{body}\n".encode()).hexdigest() == digest and lines[0] == _STATE_HEADER:
        root = decode_base64(lines[3])
        if root is not None:
            return lines[1], Mark(int(lines[2]), root)
    return None


def _seed_of(data: Path, states: Path, instance: str, random: Callable[[int], bytes]) -> bytes:
    keys = data / "keys"
    path = keys / "signing.key"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        if any(states.glob("*.state")):
            raise Misconfigured(
                f"The key {path} is gone, but logs were signed with it. Put it back from your backup: with a new key "
                "nobody could check the old checkpoints. Nothing was changed."
            )
        _write_new(path, (SignerKey(instance, random(32)).format() + "\n").encode())
    try:
        return SignerKey.parse(path.read_text().strip()).seed
    except (Refused, OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The key {path} cannot be read: {error}. Put it back from your backup."
        ) from error


def _write_new(path: Path, content: bytes) -> None:
    # Whole or not at all, and never over a key that another server has just made: link() refuses to overwrite.
    half = path.with_suffix(f".{os.getpid()}.new")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(half, path)
    except FileExistsError:
        pass
    finally:
        half.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
