"""Which actions a program records, read from its source without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from tallystick.errors import Refused

# The methods that take an action: which argument it is, counted from 0.
METHODS: Final = {"record": (0, 2), "record_soon": (2,), "action": (0,), "audited": (0,), "compose": (0,)}
_LOOKS_LIKE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:[.:/][A-Za-z0-9_-]+)+")


class Used(Struct, frozen=True):
    """An action that is recorded: its name and the line it stands on."""

    action: str
    line: int


def used_actions(source: str, origin: str) -> list[Used]:
    """Return the actions that are given as text to `record`, `action`, `audited` and the like, and to `event.action = …`.

    What is computed is not seen here; a typed catalogue lets a type checker see it. Raises Refused for what is no Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise Refused(f"{origin} is no Python that can be read: {error}", rule="syntax") from error
    return sorted(set(_found(ast.walk(tree))), key=lambda one: (one.line, one.action))


def _found(nodes: Iterable[ast.AST]) -> Iterator[Used]:
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            for place in METHODS[node.func.attr]:
                yield from _texts(node.args[place : place + 1])
            yield from _texts([one.value for one in node.keywords if one.arg == "action"])
        elif isinstance(node, ast.Assign) and any(_is_action(one) for one in node.targets):
            yield from _texts([node.value])


def _is_action(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == "action"


def _texts(nodes: Iterable[ast.expr]) -> Iterator[Used]:
    for node in nodes:
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _LOOKS_LIKE.fullmatch(node.value)
        ):
            yield Used(node.value, node.lineno)
