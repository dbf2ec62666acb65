"""A catalogue as Python, so that an editor completes `Actions.api_key.create` and a type checker knows every name."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from tallystick.errors import Refused

_CUT: Final = re.compile(r"[.:/]")
_UNFIT: Final = re.compile(r"\W")
ITSELF: Final = "itself"  # of a name that is an action and begins others: Actions.budget.itself


class _Node(Struct):
    action: str | None = None
    below: dict[str, _Node] = field(default_factory=dict)


def typed_actions(actions: Mapping[str, str], origin: str) -> str:
    """Return a module with `Actions`, a class of nested names, and `Action`, the Literal of all of them.

    `actions` are name → title; `origin` is said at its head. Raises Refused where two names would be one in Python.
    """
    root = _tree(actions)
    names = ",\n".join(f"    {_text(name)}" for name in sorted(actions))
    return (
        f'"""The actions of {_doc(origin)}; written by `tallystick catalogue gen`: change that file, not this one."""\n\n'
        "from __future__ import annotations\n\n"
        "from typing import Final, Literal, TypeAlias, get_args\n\n"
        f"Action: TypeAlias = Literal[\n{names},\n]\n"
        "ACTIONS: Final[frozenset[str]] = frozenset(get_args(Action))\n\n\n"
        + "\n".join(_class("Actions", root, actions, 0))
        + "\n"
    )


def _tree(actions: Mapping[str, str]) -> _Node:
    root = _Node()
    taken: dict[tuple[str, ...], str] = {}
    for name in sorted(actions):
        path = tuple(_identifier(part) for part in _CUT.split(name))
        if path in taken:
            raise Refused(
                f"{name} and {taken[path]} would be one name in Python: rename one of them", rule="homonym"
            )
        taken[path] = name
        node = root
        for part in path:
            node = node.below.setdefault(part, _Node())
        node.action = name
    return root


def _identifier(part: str) -> str:
    name = _UNFIT.sub("_", part) or "_"
    if name[0].isdigit() or name.startswith("__"):
        name = f"n{name}"
    return (
        f"{name}_"
        if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in (ITSELF, "mro")
        else name
    )


def _class(name: str, node: _Node, actions: Mapping[str, str], depth: int) -> Iterator[str]:
    indent = "    " * depth
    yield f"{indent}class {name}:"
    if node.action is not None:
        yield from _constant(ITSELF, node.action, actions, depth + 1)
    for part, below in node.below.items():
        if below.below:
            yield from _class(part, below, actions, depth + 1)
        elif below.action is not None:
            yield from _constant(part, below.action, actions, depth + 1)


def _constant(name: str, action: str, actions: Mapping[str, str], depth: int) -> Iterator[str]:
    indent = "    " * depth
    yield f"{indent}{name}: Final[Literal[{_text(action)}]] = {_text(action)}"
    yield f'{indent}"""{_doc(actions[action])}"""'


def _text(value: str) -> str:
    return f'"{value}"'  # names have no quotes and no backslashes


def _doc(title: str) -> str:
    """Return a title as it may stand in a docstring."""
    return " ".join(title.replace("\\", "/").replace('"', "'").split())
