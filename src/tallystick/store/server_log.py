"""What the embedded server says: its log, kept below a limit, and what a failed start means for the operator."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

from tallystick.errors import AuditError, Misconfigured, TryLater
from tallystick.store.cluster import Server

LOG_BYTES_MAX = 16 << 20

# The server's own words → (class, what to say). Matched against its log when a start failed.
FAILURES: tuple[tuple[str, type[AuditError], str], ...] = (
    ("No space left on device", TryLater, "the disk is full. Free space; nothing acknowledged was lost"),
    ("Read-only file system", TryLater, "the disk is read-only. Repair it; nothing acknowledged was lost"),
    ("could not create shared memory", Misconfigured, "shared_buffers does not fit in memory; write less"),
    (
        "Cannot allocate memory",
        TryLater,
        "the memory is used up. Free some, or write a smaller shared_buffers",
    ),
    (
        "could not locate a valid checkpoint",
        Misconfigured,
        "the files are damaged. Restore them from a backup",
    ),
    ("invalid value for parameter", Misconfigured, "a setting in postgresql.conf is wrong"),
    ("unrecognized configuration parameter", Misconfigured, "a setting in postgresql.conf is unknown"),
    ("Permission denied", Misconfigured, "a file cannot be opened by the server's user"),
)


def rotate_log(server: Server) -> None:
    """Keep the server's log below its limit: the full one becomes `log.1`, the open file starts again."""
    try:
        if server.log.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(server.log, server.log.with_suffix(".1"))
            os.truncate(server.log, 0)  # the server appends, so it goes on at the beginning
    except OSError:
        return  # no log yet, or a full disk: the log can wait


def log_since(server: Server, offset: int) -> str:
    """Return what the server said since byte `offset` of its log, at most the last 64 KiB."""
    try:
        with server.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(offset, size), size - 65536))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_line(words: str) -> str:
    """Return the last line of `words` without its time stamp and process id."""
    lines = words.strip().splitlines()
    return re.sub(r"^.*?\[\d+\] ", "", lines[-1]) if lines else "no message yet"


def explain(words: str, server: Server) -> AuditError:
    """Return the error that tells the operator why the server did not start, from its own `words`."""
    lines = words.splitlines()
    for mark, kind, advice in FAILURES:
        telling = [line for line in lines if mark in line]
        if telling:
            return kind(f"PostgreSQL did not start: {advice}. {_quote(telling[0], server)}")
    fatal = [line for line in lines if re.search(r"(FATAL|PANIC)", line)]
    return Misconfigured(f"PostgreSQL did not start. {_quote(chr(10).join(fatal) or words, server)}")


def of_the_system(error: OSError, folder: Path) -> AuditError:
    """Return what an error of the operating system at the start means: a full disk passes, the rest is a setting."""
    where = f"PostgreSQL did not start in {folder}: {error.strerror} ({error.filename or 'no file'})."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EIO):
        return TryLater(f"{where} Nothing acknowledged was lost; start again when that is mended.")
    return Misconfigured(f"{where} Check who owns the folder, or name another one in TALLYSTICK_DATA.")


def _quote(words: str, server: Server) -> str:
    return f"(The server said: {last_line(words)!r}; its log: {server.log})"
