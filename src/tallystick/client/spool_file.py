"""The SQLite file of a spool: how it is opened, written, looked at, and left alone after a fork."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tallystick.client.spool_numbers import Naming, begin_numbering

Synchronous = Literal["FULL", "NORMAL", "OFF"]

PAGE_BYTES: Final = 4096
# Room that only the count of lost events, and what the sender does to make room again, may use.
RESERVE_PAGES: Final = 32
RESERVE_BYTES: Final = 256 * 1024  # the same on a full disk: a file that is given up when its room is needed
_BUSY_SECONDS: Final = 15.0  # how long another process may hold the file
_WAL_PAGES_MAX: Final = 20_000  # the sender copies the log back long before; this is for when it cannot
_NOT_OURS: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


class Unusable(Exception):
    """There can be no spool at this place: a read-only file system, no permission, no such folder."""


class DiskFull(sqlite3.OperationalError):
    """The disk under the spool is full: what is left of it is for counting losses and for deleting what was sent."""

    sqlite_errorcode = sqlite3.SQLITE_FULL


class SpoolFile:
    """One file, or one database in memory, and the connection that writes it.

    Args:
        path: the file, None for memory.
        synchronous: SQLite's word: FULL survives a power cut, NORMAL the death of the process.
        bytes_max: size of the file at most; its write-ahead log comes on top, for some megabytes.
        naming: under which name its events are numbered.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        synchronous: Synchronous,
        bytes_max: int,
        now_ms: Callable[[], int],
        naming: Naming,
    ) -> None:
        self.path = path
        self.was_damaged = False  # what was there could not be read and was put aside
        self.disk_is_full = False  # and the reserve is given up: nothing may be recorded until it is back
        self._synchronous: Synchronous = synchronous if path is not None else "OFF"
        self._pages_max = bytes_max // PAGE_BYTES
        self._now_ms = now_ms
        self._naming = naming
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
        self._copy_back("PASSIVE")
        self.take_reserve()

    def make_room(self) -> None:
        """Give up the reserve where the disk is full, and the room of the write-ahead log besides.

        The events that come meanwhile would take that room, so none is recorded until `take_reserve` succeeds.
        """
        if self.path is None or not self._has_pages_left():
            return  # it is our own limit that was reached, and in_reserve is there for that
        self.disk_is_full = True
        Path(f"{self.path}.reserve").unlink(missing_ok=True)
        self._copy_back("TRUNCATE")

    def _has_pages_left(self) -> bool:
        used = self.connection.execute("PRAGMA page_count").fetchone()[0]
        return used + RESERVE_PAGES < self._pages_max

    def take_reserve(self) -> None:
        """Keep some room on the disk for the day it is full."""
        if self.path is None:
            return
        place = f"{self.path}.reserve"
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size < RESERVE_BYTES:
                    os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            Path(place).unlink(missing_ok=True)  # still no room
        else:
            self.disk_is_full = False

    def _copy_back(self, how: str) -> None:
        if self.path is None:
            return
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=0.1)
        try:
            connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        except sqlite3.Error:
            pass  # another process does it, or the disk is full; the next batch tries again
        finally:
            connection.close()

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
        self.take_reserve()
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
            begin_numbering(
                connection,
                self._naming,
                synced=self._synchronous == "FULL" or place == ":memory:",
            )
            connection.execute(f"PRAGMA max_page_count = {self._pages_max}").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection


def _schema() -> str:
    return Path(__file__).with_name("spool.sql").read_text(encoding="utf-8")
