"""One HTTP call as handlers see it: parsed lazily, because ingest needs almost nothing of it."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from tallystick.errors import Refused
from tallystick.event.model import Context
from tallystick.services.principal import Principal
from tallystick.services.viewers import Viewer

QUERY_PARAMETERS_MAX = 200


class Call:
    """A request, who makes it, and the services it may use.

    `principal` is set by the guard before a handler runs, and is None only for public operations. `held_bytes` are
    those of its body in memory, which the guard gives back once it is answered. `cross_origin` is the foreign origin whose
    page may read the answer, `refused_credential` one that a public operation was shown and did not accept, `viewer` whose
    session an embedded page was opened with.
    """

    __slots__ = (
        *(
            "_headers",
            "_request_id",
            "cross_origin",
            "held_bytes",
            "principal",
            "receive",
            "refused_credential",
        ),
        *("scope", "services", "viewer"),
    )

    def __init__(self, scope: Scope, receive: Receive, services: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.services = services
        self.principal: Principal | None = None
        self.held_bytes = 0
        self.cross_origin: str | None = None
        self.refused_credential: str | None = None
        self.viewer: Viewer | None = None
        self._headers: dict[bytes, bytes] | None = None
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """The id of this call, made when somebody first asks for it: in a refusal, or in an event about the call."""
        found = self._request_id
        if found is None:
            found = self._request_id = str(self.services.new_request_id())
        return found

    @property
    def context(self) -> Context:
        """From where this call came, for the events that Tallystick records about it; no URL, which may hold secrets."""
        return Context(
            ip=self.address,
            user_agent=self.header(b"user-agent"),
            request_id=self.request_id,
            session_id=None if self.principal is None else self.principal.session_id,
        )

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name; repeated ones as one list (RFC 9110, 5.3).

        So a second credential or media type makes the first one void, whichever of them a proxy has looked at.
        """
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
            if len(self._headers) != len(self.scope["headers"]):
                self._headers = _joined(self.scope["headers"])
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def address(self) -> str | None:
        """The peer's address, or None on a Unix socket."""
        client = self.scope.get("client")
        return client[0] if client else None

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters in order; empty values are dropped, as an empty form field means nothing.

        Raises:
            Refused: over 200 parameters, or bytes that are no UTF-8.
        """
        text = self.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, max_num_fields=QUERY_PARAMETERS_MAX, errors="strict"
            )
        except ValueError as error:
            raise Refused(
                "The query string is not UTF-8, or has over 200 parameters.", rule="query"
            ) from error
        return [(key, value) for key, value in pairs if value != ""]

    def path(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.scope["path_params"][name])

    @property
    def caller(self) -> Principal:
        """The principal of an operation that needs one."""
        if self.principal is None:
            raise RuntimeError("this operation is declared without a permission, so it has no principal")
        return self.principal


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b", " + value if name in found else value
    return found


class Answer(Protocol):
    """Anything that can be sent: a Starlette response."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the answer."""
        ...
