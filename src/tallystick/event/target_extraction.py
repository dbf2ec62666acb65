"""Find the targets of an act from what went into a call and what came out of it.

For producers that know only an action name, an argument and a result, as a wrapped procedure does. The
one rule everything here serves: a target's type and its id come from the same object. The type is the key
the object lies under (or the noun of the action, for an object under no key of its own); the id is that
object's own `id`. An `x_id` next to it names something of type x and nothing else. To find no target is a
gap a reader sees; to pair one thing's type with another's id is a lie in an audit log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tallystick.event.limits import TARGETS_MAX
from tallystick.event.model import Target

DEPTH_MAX = 6  # levels of objects and lists looked into; a target deeper than this is not the act's own
VALUES_MAX = 10_000  # values looked at in one argument or result

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")
_SEGMENT = re.compile(r"[.:/]")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(text[:256]))


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# What a call does, as the first word of a command or the last of a report.
_VERBS = _set(
    "accept activate add approve archive assign attach autosave cancel change claim clear clone commit complete "
    "configure confirm connect copy create deactivate decline delete detach disable disconnect dismiss duplicate "
    "edit enable execute export fork generate get grant import install issue join leave list log login logout mark "
    "mint move patch pause pin post provision publish put query read regenerate register reject remove rename reorder "
    "replace reset resolve restore resume revoke roll rotate run save send set share start stop submit sync test "
    "toggle transfer trigger unarchive unassign unlink unpin unpublish unshare update upload upsert validate verify "
    "view withdraw"
)
# Words around the noun of a command: `deleteById`, `revokeAll`, `batchUpdateLayouts`.
_FILLERS = _set("all batch bulk cascade many now or and pending new my own the a an")
_PREPOSITIONS = _set("by for from in of to via with as on into")
# Keys that hold the thing itself without saying what it is.
_WRAPPERS = _set(
    "arg argument body content create created data delete deleted edge entity input item json list node object output "
    "param payload record response result row success update updated value variable"
)
# Keys whose objects and ids are about the call, or about somebody else's part in it.
_BYSTANDERS = _set(
    "actor author client context correlation creator ctx current_user error external header idempotency meta metadata "
    "owner page_info pagination parent permission previous request"
)
# Kinds that say where an act took place; a target only when nothing nearer is one.
_SCOPES = _set("organization org workspace tenant project team account")
# The same thing under two names; on the left the noun of an action, on the right kinds that answer to it.
_ALSO = {"member": ("user", "membership"), "invite": ("invitation",), "invitation": ("invite",)}

_NAME_KEYS = ("name", "displayName", "display_name", "title", "email")


class _Found(NamedTuple):
    kind: str
    id: str
    name: str | None


def extract_targets(action: str, arguments: object, result: object) -> list[Target]:
    """Return the targets of a call, the main one first; empty when none can be told for certain.

    `action` is the action's name, `arguments` the argument or arguments as one JSON-like value, `result`
    what the call returned. Asked in this order, and the first that answers decides: objects in the result
    of the action's own kind, then in the arguments; then any typed object of the result, then of the
    arguments. Looks `DEPTH_MAX` levels deep and returns at most `TARGETS_MAX` targets. Never raises for
    any JSON-like value.
    """
    noun = action_noun(action)
    from_result = list(_Search(noun, from_arguments=False).walk(result))
    from_arguments = list(_Search(noun, from_arguments=True).walk(arguments))
    for found in (_of_kind(noun, from_result), _of_kind(noun, from_arguments), from_result, from_arguments):
        if targets := _without_scopes(found):
            return [Target(type=one.kind, id=one.id, name=one.name) for one in targets[:TARGETS_MAX]]
    return []


def action_noun(action: str) -> str:
    """Return what an action is about, in snake_case singular, from its name alone; "resource" when it is silent."""
    for segment in reversed(_SEGMENT.split(action[:512])):
        words = [word for word in _until_preposition(_words(segment)) if word not in _FILLERS]
        # Who is invited has no account yet: what comes into being is an invitation, never a user.
        if words and words[0] in ("invite", "invited"):
            return "invite"
        while words and words[0] in _VERBS:
            words = words[1:]
        while words and (words[-1] in _VERBS or words[-1].endswith("ed")):
            words = words[:-1]
        if words:
            return _kind(words)
    return "resource"


def _until_preposition(words: tuple[str, ...]) -> tuple[str, ...]:
    cut = next((at for at, word in enumerate(words) if at and word in _PREPOSITIONS), len(words))
    return words[:cut]


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _kind(words: list[str] | tuple[str, ...]) -> str:
    return "_".join((*words[:-1], _singular(words[-1])))


class _Search:
    """One walk over one value; counts what it has looked at."""

    def __init__(self, noun: str, *, from_arguments: bool) -> None:
        self._noun = noun
        self._from_arguments = from_arguments
        self._left = VALUES_MAX

    def walk(self, value: object) -> Iterator[_Found]:
        """Yield what is found in `value`, outermost objects first within each branch, in the order of keys."""
        yield from self._value(value, self._noun, 0)

    def _value(self, value: object, kind: str, depth: int) -> Iterator[_Found]:
        self._left -= 1
        if depth > DEPTH_MAX or self._left < 0:
            return
        if isinstance(value, Mapping):
            yield from self._object(value, kind, depth)
        elif isinstance(value, list | tuple):
            for item in value:
                if self._left < 0:
                    return
                yield from self._value(item, kind, depth + 1)

    def _object(self, value: Mapping[object, object], kind: str, depth: int) -> Iterator[_Found]:
        own = _as_id(value.get("id"))
        if own is not None:
            yield _Found(_typename(value) or kind, own, _name_of(value))
            # What hangs below a thing that has its own id is that thing's relations, not the act's targets.
            return
        for key, below in value.items():
            self._left -= 1
            if self._left < 0:
                return
            if isinstance(key, str):
                yield from self._entry(key, below, kind, depth)

    def _entry(self, key: str, below: object, kind: str, depth: int) -> Iterator[_Found]:
        words = _words(key)
        if not words:  # a name in a script we cannot read is still somebody's name, not a wrapper
            return
        is_id = words[-1] in ("id", "ids")
        named = words[:-1] if is_id else words
        # `record` only wraps the thing; `record_id` says that the thing is a record.
        if not named or (not is_id and all(_singular(word) in _WRAPPERS for word in named)):
            own_kind = kind
        else:
            own_kind = self._known(_kind(named))
            if (own_kind in _BYSTANDERS or named[-1] == "by") and own_kind != self._noun:
                return
        if is_id:
            yield from self._named_ids(own_kind, below)
        elif isinstance(below, Mapping | list | tuple):
            yield from self._value(below, own_kind, depth + 1)

    def _known(self, kind: str) -> str:
        # `records` of dataset_record: the key agrees with the action's noun, which says it more exactly.
        return self._noun if self._noun.endswith(f"_{kind}") else kind

    def _named_ids(self, named: str, below: object) -> Iterator[_Found]:
        # A result's `project_id` says where its object lies; only the action's own kind is a target there.
        if not self._from_arguments and not _answers_to(self._noun, named):
            return
        values = below if isinstance(below, list | tuple) else (below,)
        for value in values:
            self._left -= 1
            if self._left < 0:
                return
            if (one := _as_id(value)) is not None:
                yield _Found(named, one, None)


def _as_id(value: object) -> str | None:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _typename(value: Mapping[object, object]) -> str | None:
    for key in ("__typename", "object"):
        text = value.get(key)
        if isinstance(text, str) and (words := _words(text.rpartition(".")[2])):
            return _kind(words)
    return None


def _name_of(value: Mapping[object, object]) -> str | None:
    for key in _NAME_KEYS:
        name = value.get(key)
        if isinstance(name, str) and name:
            return name
    return None


def _answers_to(noun: str, kind: str) -> bool:
    if kind == noun or kind in _ALSO.get(noun, ()):
        return True
    # `personal_virtual_key` answers to virtual_key.
    return kind.endswith(f"_{noun}")


def _of_kind(noun: str, found: list[_Found]) -> list[_Found]:
    return [one for one in found if _answers_to(noun, one.kind)]


def _without_scopes(found: list[_Found]) -> list[_Found]:
    nearer = [one for one in found if one.kind not in _SCOPES]
    unique: dict[tuple[str, str], _Found] = {}
    for one in nearer or found:
        unique.setdefault((one.kind, one.id), one)
    return list(unique.values())
