"""Loads the named statements of `store/sql/*.sql`; Python never assembles SQL from values.

A file is a list of statements, each under a line `-- name --` and a sentence `-- …` that says what it is for.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@cache
def load(file: str) -> dict[str, str]:
    """Return the statements of `store/sql/<file>.sql` by name.

    Raises:
        ValueError: a name stands twice in the file.
    """
    text = resources.files("tallystick.store").joinpath(f"sql/{file}.sql").read_text(encoding="utf-8")
    pieces = _NAME.split(text)
    names, bodies = pieces[1::2], pieces[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"a name stands twice in sql/{file}.sql")
    return dict(zip(names, (body.strip() for body in bodies), strict=True))
