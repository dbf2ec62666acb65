"""Reading what `tallystick verify` is given besides a file: a policy, or a whole directory of tiles."""

from __future__ import annotations

from pathlib import Path

from tallystick.errors import Refused
from tallystick.verify.policy import Policy, parse_policy
from tallystick.verify.static import FILE_BYTES_MAX, Files

PATHS_MAX = 5_000_000


def read_policy(path: Path | None) -> Policy | None:
    """Return the policy in a file, None without one; raises Refused when it cannot be used."""
    return None if path is None else parse_policy(path.read_bytes())


def files_in(folder: Path) -> Files:
    """Return a directory's files, links left out; raises Refused over five million of them."""
    paths: set[str] = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            paths.add(path.relative_to(folder).as_posix())
        if len(paths) > PATHS_MAX:
            raise Refused(f"{folder} holds more than {PATHS_MAX:,} files. Verify its logs one by one.")

    def read(path: str) -> bytes:
        with (folder / path).open("rb") as stream:
            # A byte more than any honest file has: whoever compares its length notices, and nothing fills the memory.
            return stream.read(FILE_BYTES_MAX + 1)

    return Files(frozenset(paths), read)
