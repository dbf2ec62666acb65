"""The SQLite file of a spool: how it is opened, written, looked at, and left alone after a fork."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

Synchronous = Literal["FULL", "NORMAL", "OFF"]

PAGE_BYTES: Final = 4096
# Room that only the count of lost events, and what the sender does to make room again, may use.
RESERVE_PAGES: Final = 32
RESERVE_BYTES: Final = 64 * 1024  # the same on a full disk: a file that is given up when its room is needed
_BUSY_SECONDS: Final = 15.0  # how long another process may hold the file
_WAL_PAGES_MAX: Final = 20_000  # the sender copies the log back long before; this is for when it cannot
_NOT_OURS: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


class Unusable(Exception):
    """There can be no spool at this place: a read-only file system, no permission, no such folder."""


class SpoolFile:
    """One file, or one database in memory, and the connection that writes it.

    Args:
        path: the file, None for memory.
        synchronous: SQLite's word: FULL survives a power cut, NORMAL the death of the process.
        bytes_max: size of the file at most; its write-ahead log comes on top, for some megabytes.
    """

    def __init__(
        self, path: Path | None, *, synchronous: Synchronous, bytes_max: int, now_ms: Callable[[], int]
    ) -> None:
        self.path = path
        self.was_damaged = False  # what was there could not be read and was put aside
        self._synchronous: Synchronous = synchronous if path is not None else "OFF"
        self._pages_max = bytes_max // PAGE_BYTES
        self._now_ms = now_ms
        self._left_behind: list[sqlite3.Connection] = []
        self._open_one: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes; opened when it is first needed. Raises Unusable."""
        return self._open_one or self._open()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block writes, or nothing of it."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def in_reserve(self) -> Iterator[None]:
        """Allow the pages of the reserve inside the block."""
        connection = self.connection
        connection.execute(f"PRAGMA max_page_count = {self._pages_max + RESERVE_PAGES}").fetchone()
        try:
            yield
        finally:
            connection.execute(f"PRAGMA max_page_count = {self._pages_max}").fetchone()

    @contextmanager
    def relaxed(self) -> Iterator[None]:
        """Write without fsync inside the block; the next commit outside it syncs what this one wrote."""
        if self._synchronous != "FULL":
            yield
            return
        connection = self.connection
        connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def looking(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that only reads, so that counting holds up nobody who records."""
        if self.path is None:
            yield self.connection
            return
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    def checkpoint(self) -> None:
        """Copy the write-ahead log back into the file, so that it stays small; nobody has to wait for this."""
        if self.path is None:
            return
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=0.1)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            pass  # another process does it, or the disk is full; the next batch tries again
        finally:
            connection.close()
        self._take_reserve_file()

    def leave_behind(self) -> None:
        """Forget the connection without closing it, as a child must: closing would break its parent's locks."""
        if self._open_one is not None:
            self._left_behind.append(self._open_one)
        self._open_one = None

    def close(self) -> None:
        """Close the file; the next use opens it again. What is in memory stays."""
        if self._open_one is not None and self.path is not None:
            self._open_one.close()
            self._open_one = None

    def _open(self) -> sqlite3.Connection:
        try:
            connection = self._prepared(self._place())
        except sqlite3.DatabaseError as error:
            if self.path is None or getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NOT_OURS:
                raise Unusable(str(error)) from error
            self._put_aside(self.path)
            connection = self._prepared(self._place())
        self._open_one = connection
        return connection

    def _put_aside(self, path: Path) -> None:
        # Whatever it is, it is not ours to delete; and that something may be gone has to be told.
        os.replace(path, f"{path}.damaged-{self._now_ms()}")
        for tail in ("-wal", "-shm"):
            Path(f"{path}{tail}").unlink(missing_ok=True)
        self.was_damaged = True

    def _place(self) -> str:
        if self.path is None:
            return ":memory:"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Events name people: nobody else on this machine reads them. SQLite gives its side files the same mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Unusable(f"{self.path}: {error.strerror or error}") from error
        return str(self.path)

    def _prepared(self, place: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            place, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
        )
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES_MAX}").fetchone()
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'counter'").fetchone() is None:
                connection.executescript(_schema())
            connection.execute(f"PRAGMA max_page_count = {self._pages_max}").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def give_up_reserve_file(self) -> None:
        """Give back the room kept on the disk, for the count of what is lost."""
        if self.path is not None:
            Path(f"{self.path}.reserve").unlink(missing_ok=True)

    def _take_reserve_file(self) -> None:
        place = Path(f"{self.path}.reserve")
        try:
            if place.exists():
                return
            with place.open("wb") as reserve:
                os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)
        except OSError:
            place.unlink(missing_ok=True)  # no room for a reserve; the counts stay in memory then


def _schema() -> str:
    return files("tallystick.client").joinpath("spool.sql").read_text(encoding="utf-8")
