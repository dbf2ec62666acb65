"""The declaration of an operation: from it come the route, the guard, OpenAPI and the docs page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from msgspec import Struct, field
from starlette.responses import Response

from tallystick.errors import AuditError
from tallystick.web.call import Answer, Call
from tallystick.web.guard import problem

Place = Literal["query", "path", "header"]


class Parameter(Struct, frozen=True, kw_only=True):
    """A parameter of an operation; `repeats` says that it may be given several times, which means OR."""

    name: str
    place: Place = "query"
    summary: str = ""
    required: bool = False
    repeats: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    example: str | None = None


class Body(Struct, frozen=True, kw_only=True):
    """What a request carries: media types, the name of its schema and an example."""

    types: tuple[str, ...]
    schema: Mapping[str, Any]
    example: Any = None


class Reply(Struct, frozen=True, kw_only=True):
    """One answer of an operation."""

    status: int
    summary: str
    type: str = "application/json"
    schema: Mapping[str, Any] | None = None


class Operation(Struct, frozen=True, kw_only=True):
    """One thing that can be asked over HTTP.

    `permission` None means public. `answer_of` writes errors; contracts of other products have their own.
    """

    method: str
    path: str
    name: str
    handler: Callable[[Call], Awaitable[Answer]]
    permission: str | None
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    replies: tuple[Reply, ...] = ()
    answer_of: Callable[[AuditError, str], Response] = problem
