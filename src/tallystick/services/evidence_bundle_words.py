"""A query in words that a reader of a report understands, without knowing the language of filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.query.model import Clause, Query
from tallystick.query.text import split_pattern

_OUTCOMES: Final = {
    "success": "success", "failure": "a failure", "denied": "a refusal", "unknown": "an unknown end",
}  # fmt: skip


def query_in_words(query: Query) -> str:
    """Return what `query` asks for as one sentence."""
    parts = [_CLAUSES[clause.key](clause) for clause in query.only]
    parts += [f"and not those {_CLAUSES[clause.key](clause)}" for clause in query.never]
    parts += [f"that mention “{word}”" for word in query.words]
    parts += [f"and do not mention “{word}”" for word in query.never_words]
    if time := _time(query.since, query.until):
        parts.append(time)
    if not parts:
        return "Every event of the log."
    return f"All events {', '.join(parts).replace(', and not', ' and not').replace(', and do', ' and do')}."


def moment_text(at: datetime) -> str:
    """Return a moment as people write it, in UTC."""
    return f"{at:%-d %B %Y, %H:%M:%S} UTC" if at.second or at.microsecond else f"{at:%-d %B %Y, %H:%M} UTC"


def _time(since: datetime | None, until: datetime | None) -> str:
    match since, until:
        case None, None:
            return ""
        case None, datetime():
            return f"that occurred before {moment_text(until)}"
        case datetime(), None:
            return f"that occurred on or after {moment_text(since)}"
        case _:
            assert since is not None
            assert until is not None
            return f"that occurred from {moment_text(since)} until before {moment_text(until)}"


def _either(clause: Clause, word: str = "") -> str:
    values = [f"{word}“{value}”" for value in clause.values]
    return " or ".join(values) if len(values) < 3 else f"{', '.join(values[:-1])} or {values[-1]}"


def _action(clause: Clause) -> str:
    told: list[str] = []
    for value in clause.values:
        text, at_start, at_end = split_pattern(value)
        how = {(True, True): "is", (True, False): "begins with", (False, True): "ends with"}
        told.append(f"{how.get((at_start, at_end), 'contains')} “{text}”")
    return f"whose action {' or '.join(told)}"


def _workspace(clause: Clause) -> str:
    names = [
        "the organization itself" if value == ORGANIZATION_LEVEL else f"workspace “{value}”"
        for value in clause.values
    ]
    return f"of {' or '.join(names)}"


_CLAUSES: Final[dict[str, Callable[[Clause], str]]] = {
    "action": _action,
    "user": lambda clause: f"of a person or credential whose id, name or e-mail contains {_either(clause)}",
    "actor_type": lambda clause: f"of an actor of type {_either(clause)}",
    "actor_id": lambda clause: f"of the actor with the id {_either(clause)}",
    "workspace": _workspace,
    "stream": lambda clause: f"of the stream {_either(clause)}",
    "outcome": lambda clause: "that ended in " + " or ".join(_OUTCOMES[value] for value in clause.values),
    "target_type": lambda clause: f"done to something of type {_either(clause)}",
    "target_id": lambda clause: f"done to what has the id {_either(clause)}",
    "verb": lambda clause: f"of the kind {_either(clause)}",
    "ip": lambda clause: f"from the address {_either(clause)}",
    "request_id": lambda clause: f"of the request {_either(clause)}",
}
