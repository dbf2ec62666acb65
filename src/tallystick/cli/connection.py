"""How commands reach a server: an address and a key from flags, the environment, or a data folder beside us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx2

from tallystick.errors import (
    AuditError,
    Conflict,
    Forbidden,
    Misconfigured,
    NotFound,
    Refused,
    Tampered,
    TooLarge,
    TryLater,
    Unauthorized,
)

_CLASSES: dict[int, type[AuditError]] = {
    401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 413: TooLarge, 429: TryLater, 500: Tampered,
    503: TryLater,
}  # fmt: skip
DATA = click.Option(
    ["--data"], envvar="TALLYSTICK_DATA", default="data", show_default=True, type=click.Path(path_type=Path),
    help="Data folder of a server on this machine, asked for its address and first key.",
)  # fmt: skip
OPTIONS = (
    click.Option(["--url"], envvar="TALLYSTICK_URL", help="Address of the server. [default: the one of --data]"),
    click.Option(["--key"], envvar="TALLYSTICK_API_KEY", help="API key. [default: the first key of --data]"),
    DATA,
)  # fmt: skip


class Connection:
    """Calls a server's API and turns its problems into our errors."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(30, read=120),
        )

    def get(self, path: str, params: list[tuple[str, str]] | None = None) -> Any:
        """Return the JSON that `path` answers with."""
        return self._json(self._send("GET", path, params=params or []))

    def text(self, path: str) -> str:
        """Return the text that `path` answers with."""
        return self._send("GET", path).text

    def post(self, path: str, content: bytes, kind: str = "application/json") -> Any:
        """Send `content` and return the JSON of the answer."""
        return self._json(self._send("POST", path, content=content, headers={"Content-Type": kind}))

    def put(self, path: str, content: bytes) -> Any:
        """Put JSON there and return the JSON of the answer."""
        return self._json(
            self._send("PUT", path, content=content, headers={"Content-Type": "application/json"})
        )

    def patch(self, path: str, content: bytes) -> Any:
        """Change what is there and return the JSON of the answer."""
        return self._json(
            self._send("PATCH", path, content=content, headers={"Content-Type": "application/json"})
        )

    def delete(self, path: str) -> Any:
        """Delete and return the JSON of the answer."""
        return self._json(self._send("DELETE", path))

    @contextmanager
    def stream(
        self,
        path: str,
        params: list[tuple[str, str]],
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
    ) -> Iterator[Any]:
        """Open a stream; the body comes as it is sent."""
        timeout = httpx2.Timeout(30, read=60)
        try:
            with self._http.stream(
                method, path, params=httpx2.QueryParams(tuple(params)), headers=headers or {}, timeout=timeout
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    _raise(answer)
                yield answer
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _send(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._http.request(method, path, **more)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            _raise(answer)
        return answer

    def _unreachable(self, error: Exception) -> TryLater:
        return TryLater(
            f"No answer from {self.url} ({type(error).__name__}). Is the server running? Start it with: tallystick serve. "
            "If you were recording, whether it was stored is unknown: run the same command again."
        )

    @staticmethod
    def _json(answer: Any) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise Refused("The server's answer is no JSON; is this address a Tallystick?") from error


def _raise(answer: Any) -> None:
    try:
        problem = answer.json()
        detail, rule, path = problem["detail"], problem["rule"], problem.get("path", "")
    except (ValueError, KeyError, TypeError):
        detail, rule, path = f"The server answered {answer.status_code}.", "http", ""
    if path and path not in detail:
        detail = f"{detail} (at {path})"
    kind = _CLASSES.get(answer.status_code, Refused)
    if issubclass(kind, TryLater):
        raise kind(detail)
    raise kind(detail, path=path, rule=rule)


def connect(url: str | None, key: str | None, data: Path, *, write: bool = False) -> Connection:
    """Return a connection to the server that flags, environment or data folder name.

    Raises:
        Misconfigured: none of them names a server and a key.
    """
    url = url or _of(data / "server.json", "url")
    key = key or _of(data / "first-keys.json", "write_key" if write else "admin_key")
    if url is None:
        raise Misconfigured(
            f"No server: {data} has none running. Start one with 'tallystick serve --data {data}', or give --url "
            "(TALLYSTICK_URL)."
        )
    if key is None:
        raise Misconfigured(f"No key: {data} keeps none. Give --key (TALLYSTICK_API_KEY).")
    return Connection(url, key)


def _of(path: Path, name: str) -> str | None:
    try:
        return json.loads(path.read_text())[name]
    except (OSError, ValueError, KeyError):
        return None
