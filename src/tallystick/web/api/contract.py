"""What the contracts of other products share: how their parameters are read, and errors in their shapes.

A parameter is never dropped: one that a contract does not have, or that cannot be read, is refused in the shape the
contract's clients expect. Both spellings of a list (`event_type`, `event_type[]`) and of a part
(`effective_at[gte]`, `created_at.gte`) are the same parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from msgspec import Struct, json
from starlette.responses import Response

from tallystick.errors import AuditError, Forbidden, Refused
from tallystick.event.moment import read_instant
from tallystick.query.period import LATEST, read_moment
from tallystick.web.api.answers import json_answer
from tallystick.web.call import Call
from tallystick.web.guard import headers_of, status_of
from tallystick.web.operation import Parameter, Reply

PARAMETERS_MAX = 1_000
VALUE_CHARACTERS_MAX = 1_024
MICROSECOND = timedelta(microseconds=1)
_PART = re.compile(r"(\w+)\[(\w*)\]")
# A plus sign that was not encoded arrives as a space: before an offset it can only have been one.
_PLUS = re.compile(r" (?=\d\d:?\d\d$)")
_MISSING = ("missing", "Field required")
_NO_TIME = ("datetime_parsing", "Input should be a valid datetime, as in 2026-01-01T00:00:00Z")
_NO_NUMBER = ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")


class Problem(Struct, frozen=True):
    """One bad parameter: its name, what is wrong in a word that does not change, and in a sentence."""

    name: str
    type: str
    message: str


class BadParameters(Refused):
    """One or more parameters are not as the contract has them."""

    rule = "parameter"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(f"{first.name}: {first.message}", path=f"/{first.name}")
        self.problems = tuple(problems)


def plain(name: str) -> str:
    """Return the one spelling of a parameter's name: without `[]`, and with a dot before a part."""
    match = _PART.fullmatch(name)
    if match is None:
        return name
    return f"{match[1]}.{match[2]}" if match[2] and not match[2].isdigit() else match[1]


class Given:
    """The query parameters of one call, read against those a contract declares; `done` raises what was wrong."""

    def __init__(self, call: Call, declared: Sequence[Parameter]) -> None:
        self.problems: list[Problem] = []
        known = {plain(one.name): one for one in declared if one.place == "query"}
        self._values: dict[str, list[str]] = {}
        self.pairs = _pairs(call)
        for name, value in self.pairs:
            key = plain(name)
            if key not in known:
                self.bad(name[:80], "extra_forbidden", "There is no such parameter; it was not ignored")
            elif "\x00" in value or len(value) > VALUE_CHARACTERS_MAX:
                self.bad(
                    key, "string_too_long", f"A value has at most {VALUE_CHARACTERS_MAX} characters, none NUL"
                )
            elif value not in self._values.setdefault(key, []):
                self._values[key].append(value)
        for key, values in self._values.items():
            if len(values) > 1 and not known[key].repeats:
                self.bad(key, "multiple_values", "It is given twice with different values")

    def bad(self, name: str, type: str, message: str) -> None:
        """Note that a parameter cannot be used."""
        self.problems.append(Problem(name, type, message))

    def done(self) -> None:
        """Raise BadParameters when anything was wrong."""
        if self.problems:
            raise BadParameters(self.problems)

    def text(self, name: str) -> str | None:
        """Return the value of a parameter, None when it is absent or empty."""
        return self._first(name) or None

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return all values of a parameter, None when it is absent; an empty value would match nothing."""
        values = self._values.get(name)
        if values is not None and "" in values:
            self.bad(name, "string_too_short", "A value should have at least 1 character")
        return None if values is None else tuple(values)

    def choices(self, name: str, known: Sequence[str]) -> tuple[str, ...] | None:
        """Return all values of a parameter that must be among `known`."""
        values = self.texts(name)
        for value in values or ():
            if value not in known:
                allowed = ", ".join(repr(one) for one in known)
                self.bad(name, "enum", f"Input should be {allowed}")
        return values

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds, `default` when it is absent."""
        text = self._first(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            self.bad(name, *_NO_NUMBER)
            return default
        if least <= int(text) <= most:
            return int(text)
        if int(text) < least:
            self.bad(name, "greater_than_equal", f"Input should be greater than or equal to {least}")
        else:
            self.bad(name, "less_than_equal", f"Input should be less than or equal to {most}")
        return default

    def moment(self, name: str, *, required: bool = False) -> datetime | None:
        """Return a time in UTC; without an offset it is UTC."""
        text = self._first(name)
        if text is None:
            if required:
                self.bad(name, *_MISSING)
            return None
        text = _PLUS.sub("+", text)
        for read in (read_instant, read_moment):
            try:
                found = read(text, name)
            except Refused:
                continue
            return found if isinstance(found, datetime) else found[0]
        self.bad(name, *_NO_TIME)
        return None

    def _first(self, name: str) -> str | None:
        return next(iter(self._values.get(name, ())), None)


def _pairs(call: Call) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            call.scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=PARAMETERS_MAX,
            errors="strict",
        )
    except ValueError as error:
        raise Refused(
            f"The query string is not UTF-8, or has over {PARAMETERS_MAX} parameters.", rule="query"
        ) from error


def require_organization(call: Call) -> None:
    """Raise Forbidden when `X-Organization-Id` names another organization than the key's."""
    named = call.header(b"x-organization-id")
    if not named:
        return
    try:
        matches = UUID(named.strip()) == call.caller.organization_id
    except ValueError:
        matches = False
    if not matches:
        raise Forbidden(
            "This key does not belong to the organization that X-Organization-Id names. Leave the header out, or use "
            "a key of that organization.",
            rule="organization",
        )


def more_of(*filters: Sequence[str] | None) -> str:
    """Return filters as the one text that binds a cursor to them, whatever order their values came in."""
    return json.encode([None if values is None else sorted(set(values)) for values in filters]).decode()


def window(
    *,
    after: datetime | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    through: datetime | None = None,
) -> tuple[datetime | None, datetime | None]:
    """Return the half-open range that bounds allow: `after` and `before` exclude themselves, the others do not.

    The log keeps microseconds, so the next instant is a microsecond away.
    """
    if after == LATEST:
        return LATEST, LATEST  # nothing comes after the last instant there is
    lower = [since, None if after is None else after + MICROSECOND]
    upper = [before, None if through is None or through == LATEST else through + MICROSECOND]
    return (
        max((moment for moment in lower if moment is not None), default=None),
        min((moment for moment in upper if moment is not None), default=None),
    )


def errors_of(shape: Callable[[AuditError, int, str], Any]) -> Callable[[AuditError, str], Response]:
    """Return what writes errors as `shape` (error, status, request id) makes them."""

    def answer(error: AuditError, request_id: str = "") -> Response:
        status, _ = status_of(error)
        body = shape(error, status, request_id)
        if isinstance(body, Response):
            return body
        return json_answer(body, status, {"Cache-Control": "no-store", **headers_of(error, status)})

    return answer


def replies_of(
    page: dict[str, Any], error: dict[str, Any], *, bad_parameters: int = 400
) -> tuple[Reply, ...]:
    """Return what a contract answers with: its page, and its own shape of errors for every status."""
    statuses = {
        bad_parameters: "A parameter is missing or cannot be used.",
        400: "A cursor or the request cannot be used.",
        401: "No valid credential.",
        403: "Not permitted, another organization's, or reading is switched off.",
        429: "Too many failed attempts.",
        500: "The log disagrees with its proof; a human must look.",
        503: "Try again after Retry-After.",
    }
    errors = tuple(Reply(status=status, summary=text, schema=error) for status, text in statuses.items())
    return (Reply(status=200, summary="A page.", schema=page), *errors)


def object_of(**properties: Any) -> dict[str, Any]:
    """Return the JSON Schema of an object that has all of these properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


FASTAPI_ERROR = object_of(detail={"type": ["string", "array"]})


def _fastapi(error: AuditError, status: int, request_id: str) -> Any:
    if isinstance(error, BadParameters):
        detail = [
            {"loc": ["query", one.name], "msg": one.message, "type": one.type} for one in error.problems
        ]
        return json_answer({"detail": detail}, 422)
    return {"detail": str(error)}


# FastAPI's: HTTPValidationError for parameters, `detail` for everything else. LangSmith and Mistral have it.
fastapi_errors = errors_of(_fastapi)
