"""The expressions of a mapping: paths, constants, tables, templates and time formats; no code, no loops.

    "$.userIdentity.arn"                          a path into the record ($$ = the whole record inside `each`)
    "platform"                                    a constant
    {first = [A, B]}                              the first that is there
    {template = "{$.eventSource}:{$.eventName}"}  text with paths in it; absent when a path is
    {const = 5}                                   a constant that is no text
    {path = "$.type", table = {IAMUser = "user"}, otherwise = "service"}
    {path = "$.at", time = "unix_ms"}             rfc3339 · unix · unix_ms · a strptime format (UTC unless it has %z)
    also: before, after, last_after = "/" · strip_prefix, strip_suffix · replace = [A, B] · lower, upper = true ·
    text = true (numbers too) · json = true (JSON inside a text)
    and: equals = X, contains = X or present = Y, with then and otherwise · differs = "$.other"

Rules of one expression apply in the order in which they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from tallystick.errors import Misconfigured, Refused

_STEP = re.compile(r"\.([A-Za-z_@][\w@:-]*)|\.\"([^\"]+)\"|\[(\d+)\]")
_HOLE = re.compile(r"\{(\$\$?[^{}]*)\}")
_SOURCES = ("path", "first", "template", "const")


class Expression:
    """A compiled expression; `of` gives its value in a record, None when its source is absent."""

    def __init__(self, evaluate: Callable[[Any, Any], Any]) -> None:
        self._evaluate = evaluate

    def of(self, record: Any) -> Any:
        """Return the value in a record."""
        return self._evaluate(record, record)

    def of_item(self, item: Any, record: Any) -> Any:
        """Return the value for one item of a list of the record."""
        return self._evaluate(item, record)


def compile_expression(entry: Any, where: str) -> Expression:
    """Compile what a mapping file says.

    Raises:
        Misconfigured: naming `where` and what may stand there.
    """
    return Expression(_compile(entry, where))


def _compile(entry: Any, where: str) -> Callable[[Any, Any], Any]:
    if isinstance(entry, str):
        return _path(entry, where) if entry.startswith("$") else lambda item, record: entry
    if isinstance(entry, (bool, int, float)):
        return lambda item, record: entry
    if not isinstance(entry, dict):
        raise Misconfigured(f"{where}: a path ($.a.b), a constant or a table of rules stands here.")
    sources = [key for key in _SOURCES if key in entry]
    if len(sources) != 1:
        raise Misconfigured(f"{where}: just one of {', '.join(_SOURCES)} says where the value comes from.")
    evaluate = _SOURCE[sources[0]](entry[sources[0]], where)
    for key, value in entry.items():
        if key in _SOURCES or key in ("otherwise", "then"):
            continue
        step = _STEPS.get(key)
        if step is None:
            raise Misconfigured(f"{where}: there is no rule {key!r}; known are {', '.join(_STEPS)}.")
        evaluate = _chain(evaluate, step(value, entry, where))
    return evaluate


def _chain(
    first: Callable[[Any, Any], Any], then: Callable[[Any, Any, Any], Any]
) -> Callable[[Any, Any], Any]:
    def evaluate(item: Any, record: Any) -> Any:
        return then(first(item, record), item, record)

    return evaluate


def _path(text: str, where: str) -> Callable[[Any, Any], Any]:
    from_record = text.startswith("$$")
    rest = text.lstrip("$")
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise Misconfigured(f'{where}: {text!r} is no path; write $.name, $."odd name" or $.list[0].')
        steps.append(int(match[3]) if match[3] is not None else (match[1] or match[2]))
        at = match.end()

    def evaluate(item: Any, record: Any) -> Any:
        value = record if from_record else item
        for step in steps:
            if isinstance(step, str):
                value = value.get(step) if isinstance(value, Mapping) else None
            else:
                value = value[step] if isinstance(value, list) and step < len(value) else None
            if value is None:
                return None
        return value

    return evaluate


def _first(entries: Any, where: str) -> Callable[[Any, Any], Any]:
    if not isinstance(entries, list) or not entries:
        raise Misconfigured(f"{where}: first is a list of expressions.")
    compiled = [_compile(entry, where) for entry in entries]

    def evaluate(item: Any, record: Any) -> Any:
        values = (expression(item, record) for expression in compiled)
        return next((value for value in values if value is not None and value != ""), None)

    return evaluate


def _template(text: Any, where: str) -> Callable[[Any, Any], Any]:
    pieces = _HOLE.split(str(text))
    paths = [_path(piece, where) if index % 2 else None for index, piece in enumerate(pieces)]

    def evaluate(item: Any, record: Any) -> Any:
        out: list[str] = []
        for piece, path in zip(pieces, paths, strict=True):
            value = piece if path is None else path(item, record)
            if value is None or isinstance(value, (dict, list)):
                return None
            out.append(str(value))
        return "".join(out)

    return evaluate


_SOURCE: dict[str, Callable[[Any, str], Callable[[Any, Any], Any]]] = {
    "path": _path,
    "first": _first,
    "template": _template,
    "const": lambda value, where: lambda item, record: value,
}


def _on_text(change: Callable[[str, Any], str]) -> Callable[[Any, Any, str], Callable[[Any, Any, Any], Any]]:
    def build(argument: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
        return lambda value, item, record: change(value, argument) if isinstance(value, str) else value

    return build


def _table(table: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    if not isinstance(table, dict):
        raise Misconfigured(f"{where}: table is a table from texts to constants.")
    otherwise = _compile(entry["otherwise"], where) if "otherwise" in entry else None

    def look_up(value: Any, item: Any, record: Any) -> Any:
        found = table.get(_as_text(value)) if value is not None else None
        return found if found is not None else otherwise(item, record) if otherwise else None

    return look_up


def _equals(wanted: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    then = _compile(entry.get("then", True), where)
    otherwise = _compile(entry["otherwise"], where) if "otherwise" in entry else None

    def compare(value: Any, item: Any, record: Any) -> Any:
        if _as_text(value) == _as_text(wanted):
            return then(item, record)
        return otherwise(item, record) if otherwise else None

    return compare


def _contains(wanted: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    then = _compile(entry.get("then", True), where)
    otherwise = _compile(entry["otherwise"], where) if "otherwise" in entry else None

    def look(value: Any, item: Any, record: Any) -> Any:
        if isinstance(value, (str, list)) and wanted in value:
            return then(item, record)
        return otherwise(item, record) if otherwise else None

    return look


def _present(then: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    compiled = _compile(then, where)
    otherwise = _compile(entry["otherwise"], where) if "otherwise" in entry else None

    def look(value: Any, item: Any, record: Any) -> Any:
        if value is not None:
            return compiled(item, record)
        return otherwise(item, record) if otherwise else None

    return look


def _differs(other: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    compiled = _compile(other, where)

    def compare(value: Any, item: Any, record: Any) -> Any:
        return True if value is not None and value != compiled(item, record) else None

    return compare


def _replace(pair: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
        raise Misconfigured(f"{where}: replace is a list of two texts, what and by what.")
    return lambda value, item, record: value.replace(*pair) if isinstance(value, str) else value


def _time(format: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    def read(value: Any, item: Any, record: Any) -> Any:
        if value is None or format == "rfc3339":
            return value
        try:
            if format in ("unix", "unix_ms"):
                seconds = float(value) / (1000 if format == "unix_ms" else 1)
                return datetime.fromtimestamp(seconds, UTC).isoformat()
            at = datetime.strptime(str(value), format)  # noqa: DTZ007 - made aware in the next line
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
        except (ValueError, OverflowError, OSError) as error:
            raise Refused(f"{value!r} is no time of the format {format}", rule="mapping") from error

    return read


def _json(wanted: Any, entry: Any, where: str) -> Callable[[Any, Any, Any], Any]:
    def read(value: Any, item: Any, record: Any) -> Any:
        if not wanted or not isinstance(value, str):
            return value
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value  # what only looks like JSON stays the text it is

    return read


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_STEPS: dict[str, Callable[[Any, Any, str], Callable[[Any, Any, Any], Any]]] = {
    "before": _on_text(lambda text, mark: text.partition(mark)[0]),
    "after": _on_text(lambda text, mark: text.partition(mark)[2] or text),
    "last_after": _on_text(lambda text, mark: text.rpartition(mark)[2]),
    "strip_prefix": _on_text(lambda text, mark: text.removeprefix(mark)),
    "strip_suffix": _on_text(lambda text, mark: text.removesuffix(mark)),
    "lower": _on_text(lambda text, wanted: text.lower() if wanted else text),
    "upper": _on_text(lambda text, wanted: text.upper() if wanted else text),
    "text": lambda wanted, entry, where: (
        lambda value, item, record: None if value is None else _as_text(value)
    ),
    "json": _json,
    "time": _time,
    "table": _table,
    "equals": _equals,
    "contains": _contains,
    "present": _present,
    "differs": _differs,
    "replace": _replace,
}
