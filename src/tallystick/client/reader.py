"""Reading a log: search page after page, follow it live, hand it to pandas, polars or Arrow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tallystick.errors import Forbidden, Misconfigured, NotFound, Refused, TryLater, Unauthorized

PAGE: Final = 1_000
_ERRORS: Final[dict[int, type[Refused | Forbidden | NotFound | Unauthorized]]] = {
    401: Unauthorized, 403: Forbidden, 404: NotFound,
}  # fmt: skip
_RECONNECT_SECONDS: Final = 1.0
_STREAM_SILENCE_SECONDS: Final = 60.0  # the server says something every 15
Filter = str | int | Sequence[str]

# The columns of a table of events; what is nested beyond them stays whole, as JSON text.
_COLUMNS: Final[tuple[tuple[str, tuple[str | int, ...]], ...]] = (
    ("position", ("position",)), ("id", ("id",)), ("occurred_at", ("occurred_at",)), ("received_at", ("received_at",)),
    ("action", ("action",)), ("outcome", ("outcome",)), ("actor_type", ("actor", "type")), ("actor_id", ("actor", "id")),
    ("actor_name", ("actor", "name")), ("actor_email", ("actor", "email")), ("target_type", ("targets", 0, "type")),
    ("target_id", ("targets", 0, "id")), ("target_name", ("targets", 0, "name")), ("workspace", ("workspace",)),
    ("stream", ("stream",)), ("ip", ("context", "ip")), ("request_id", ("context", "request_id")),
)  # fmt: skip
_WHOLE: Final = ("before", "after", "metadata")


class Events:
    """The events that filters find, read page by page as they are asked for; iterate over it as often as needed."""

    def __init__(self, client: Client, filters: dict[str, Filter]) -> None:
        self._client = client
        self._filters = filters

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            more = {"limit": PAGE, **({"cursor": cursor} if cursor else {})}
            page = self._client.get("/v1/events", {**self._filters, **more})
            yield from page["events"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def count(self) -> int:
        """Return how many there are, exactly."""
        return int(self._client.get("/v1/events:count", {**self._filters, "exact": "true"})["count"])

    def to_columns(self) -> dict[str, list[Any]]:
        """Return a table as columns: who, what, when, where; before, after and metadata as JSON text."""
        table: dict[str, list[Any]] = {name: [] for name, _ in _COLUMNS} | {name: [] for name in _WHOLE}
        for event in self:
            for name, path in _COLUMNS:
                table[name].append(_at(event, path))
            for name in _WHOLE:
                table[name].append(json.dumps(event[name], ensure_ascii=False) if name in event else None)
        return table

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame."""
        import pandas  # type: ignore[import-not-found]

        return pandas.DataFrame(self.to_columns())

    def to_polars(self) -> Any:
        """Return a polars DataFrame."""
        import polars  # type: ignore[import-not-found]

        return polars.DataFrame(self.to_columns(), infer_schema_length=None)

    def to_arrow(self) -> Any:
        """Return a pyarrow Table."""
        import pyarrow  # type: ignore[import-not-found]

        return pyarrow.table(self.to_columns())


class Client:
    """Reads the log of one organization.

    Args:
        url: of the server. api_key: one that may read. What is not given comes from TALLYSTICK_URL and
            TALLYSTICK_API_KEY.
    """

    def __init__(self, *, url: str | None = None, api_key: str | None = None) -> None:
        import httpx2

        url = url or os.environ.get("TALLYSTICK_URL")
        api_key = api_key or os.environ.get("TALLYSTICK_API_KEY")
        if not url or not api_key:
            raise Misconfigured(
                "reading needs a server and a key: give url and api_key, or set TALLYSTICK_URL and TALLYSTICK_API_KEY"
            )
        self._errors: type[Exception] = httpx2.HTTPError
        self._params = httpx2.QueryParams
        headers = {"Authorization": f"Bearer {api_key}", "User-Agent": "tallystick-python"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=httpx2.Timeout(120, connect=10))
        self._live = httpx2.Timeout(_STREAM_SILENCE_SECONDS, connect=10)

    def events(self, **filters: Filter) -> Events:
        """Return the events that match, newest first unless `order="oldest"`; filters as in the API, lists for OR.

        `from_` stands for the filter `from`, which Python does not allow as a name.
        """
        return Events(self, _named(filters))

    def event(self, id: str, *, proof: bool = False) -> dict[str, Any]:
        """Return one event, with its inclusion proof if asked for; raises NotFound."""
        return self.get(f"/v1/events/{id}", {"proof": "true"} if proof else {})

    def tail(self, *, after: int | None = None, **filters: Filter) -> Iterator[dict[str, Any]]:
        """Yield events as they are recorded, for ever: those after position `after`, by default from now on.

        A connection that breaks is opened again where it broke; nothing is skipped, nothing comes twice.
        """
        read = self._newest() if after is None else after
        while True:
            try:
                for event in self._stream(read, _named(filters)):
                    read = event["position"]
                    yield event
            except (self._errors, TryLater):
                time.sleep(_RECONNECT_SECONDS)

    def _newest(self) -> int:
        """Return the position of the newest event, -1 where there is none."""
        page = self.get("/v1/events", {"limit": 1})["events"]
        return page[0]["position"] if page else -1

    def _stream(self, after: int, filters: dict[str, Filter]) -> Iterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream"}
        params = self._params(tuple(_pairs({**filters, "after": after})))
        with self._http.stream(
            "GET", "/v1/feed", params=params, headers=headers, timeout=self._live
        ) as answer:
            if answer.status_code >= 400:
                answer.read()
                _raise(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    said = json.loads(line[6:])
                    if "position" not in said:
                        raise TryLater(said.get("detail", "the stream ended"))
                    yield said

    def get(self, path: str, filters: dict[str, Filter]) -> dict[str, Any]:
        """Return the JSON that `path` answers with; raises the error that the answer stands for."""
        try:
            answer = self._http.get(path, params=self._params(tuple(_pairs(filters))))
        except self._errors as error:
            raise TryLater(
                f"No answer from the server ({type(error).__name__}); nothing was changed, try again."
            ) from error
        if answer.status_code >= 400:
            _raise(answer)
        return answer.json()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _named(filters: dict[str, Filter]) -> dict[str, Filter]:
    return {name.rstrip("_"): value for name, value in filters.items()}


def _pairs(filters: dict[str, Filter]) -> Iterator[tuple[str, str]]:
    for name, value in filters.items():
        if isinstance(value, str | int):
            yield name, str(value)
        else:
            for one in value:
                yield name, str(one)


def _at(event: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        try:
            event = event[key]
        except (KeyError, IndexError):
            return None
    return event


def _raise(answer: Any) -> None:
    try:
        problem = answer.json()
        detail, rule, path = problem["detail"], problem["rule"], problem.get("path", "")
    except (ValueError, KeyError, TypeError):
        detail, rule, path = f"The server answered {answer.status_code}.", "http", ""
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise TryLater(detail)
    raise _ERRORS.get(answer.status_code, Refused)(detail, path=path, rule=rule)
