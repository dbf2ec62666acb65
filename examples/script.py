"""A plain script: one event for what it did, whoever started it, also when it fails.

TALLYSTICK_URL=http://127.0.0.1:8080 TALLYSTICK_API_KEY=tst_… python examples/script.py datasets/refunds
"""

from __future__ import annotations

import getpass
import sys

from tallystick import Audit, Target, User

audit = Audit()


def rebuild_index(name: str) -> int:
    """Pretend to rebuild an index and return how many rows it has."""
    if name.startswith("missing/"):
        raise FileNotFoundError(name)
    return len(name) * 100


def main(name: str) -> None:
    """Rebuild an index, on the record."""
    with (
        audit.context(actor=User(getpass.getuser(), name="whoever runs this")),
        audit.action("index.rebuild", target=Target("index", name)) as event,
    ):
        event.before = {"rows": None}
        event.after = {"rows": rebuild_index(name)}
    print("recorded; on its way:", audit.flush(10))


if __name__ == "__main__":
    main(sys.argv[1])
