"""Which of the processes that share a spool sends: the one that holds this lock, until it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lease:
    """A lock of the kernel on a file beside the spool; None stands for a spool nobody else can see."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor: int | None = None

    def held(self) -> bool:
        """Take the lease if it is free; tell whether it is ours."""
        if self._path is None or self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it up, so that another process may send."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # A child inherits the descriptor and would keep the lock alive after its parent's death; closing it
    # there does not unlock what the parent still holds.
    after_fork_in_child = release
