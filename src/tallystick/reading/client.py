"""`Client`: search page after page, follow live, check, hand to pandas, polars, Arrow or Parquet."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallystick.errors import TryLater
from tallystick.reading import table
from tallystick.reading.requests import (
    PAGE,
    RECONNECT_SECONDS,
    Filter,
    Pairs,
    opened,
    pairs,
    raise_for,
    unanswered,
)
from tallystick.reading.viewers import ViewerSessions

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from tallystick.reading.verified import Verified


class Events:
    """The events that filters find, read page by page as they are asked for; iterate over it as often as needed."""

    def __init__(self, client: Client, filters: dict[str, Filter]) -> None:
        self._client = client
        self._filters = filters

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            more: dict[str, Filter] = {"limit": PAGE, **({"cursor": cursor} if cursor else {})}
            page = self._client.request("GET", "/v1/events", pairs(self._filters, **more))
            yield from page["events"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def count(self) -> int:
        """Return how many there are, exactly."""
        return int(
            self._client.request("GET", "/v1/events:count", pairs(self._filters, exact="true"))["count"]
        )

    def to_columns(self) -> table.Columns:
        """Return a table as columns: who, what, when, where; before, after and metadata as JSON text."""
        return table.columns_of(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas DataFrame."""
        return table.to_pandas(self.to_columns())

    def to_polars(self) -> polars.DataFrame:
        """Return a polars DataFrame."""
        return table.to_polars(self.to_columns())

    def to_arrow(self) -> pyarrow.Table:
        """Return a pyarrow Table."""
        return table.to_arrow(self.to_columns())

    def to_parquet(self, path: str | Path) -> int:
        """Write a Parquet file and return how many events are in it; however many, few of them are in memory."""
        return table.to_parquet(self, path)


class Client:
    """Reads the log of one organization.

    Args:
        url: of the server. api_key: one that may read. What is not given comes from TALLYSTICK_URL and
            TALLYSTICK_API_KEY.
        verifier_key: the log's public key, from whoever runs the server and not over this connection; `verify` then
            believes no other.
    """

    def __init__(
        self, *, url: str | None = None, api_key: str | None = None, verifier_key: str | None = None
    ) -> None:
        import httpx2

        chosen = opened(url, api_key)
        self.url = chosen.url
        self._network_error = chosen.network_error
        self._live = chosen.live
        self._verifier_key = verifier_key
        self._http = httpx2.Client(base_url=chosen.url, headers=chosen.headers, timeout=chosen.timeout)
        self.viewer_sessions = ViewerSessions(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def events(self, **filters: Filter) -> Events:
        """Return the events that match, newest first unless `order="oldest"`; filters as in the API, lists for OR.

        `from_` stands for the filter `from`, which Python does not allow as a name.
        """
        return Events(self, filters)

    def event(self, id: str, *, proof: bool = False) -> dict[str, Any]:
        """Return one event, with its inclusion proof if asked for; raises NotFound."""
        return self.request("GET", f"/v1/events/{id}", [("proof", "true")] if proof else [])

    def tail(self, *, after: int | None = None, **filters: Filter) -> Iterator[dict[str, Any]]:
        """Yield events as they are recorded, for ever: those after position `after`, by default from now on.

        A connection that breaks is opened again where it broke; nothing is skipped, nothing comes twice.
        """
        read = self._newest() if after is None else after
        while True:
            try:
                for event in self._stream(pairs(filters, after=read)):
                    read = event["position"]
                    yield event
            except (self._network_error, TryLater):
                time.sleep(RECONNECT_SECONDS)

    def verify(self, *, known: Sequence[str] = (), **filters: Filter) -> Verified:
        """Fetch the events that match with everything between them, and check them here; the server is not asked to.

        Proven are order, completeness and content of the range, and that it continues each of `known`: checkpoints or
        receipts kept from before. Filters bound the range (`range="30d"`) and choose whose content comes along; the rest
        comes as bare hashes. Needs a key that may export.
        """
        from tallystick.reading.verified import check

        with self._answer("/v1/export", pairs(filters, format="jsonl")) as answer:
            try:
                return check(answer.iter_bytes(256 << 10), key=self._verifier_key, known=known)
            except self._network_error as error:
                raise unanswered(error) from error

    def _answer(self, path: str, params: Pairs, **more: Any) -> Any:
        return _Streamed(self._http.stream("GET", path, params=params, **more))

    def _newest(self) -> int:
        """Return the position of the newest event, -1 where there is none."""
        page = self.request("GET", "/v1/events", [("limit", 1)])["events"]
        return page[0]["position"] if page else -1

    def _stream(self, params: Pairs) -> Iterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream"}
        with self._answer("/v1/feed", params, headers=headers, timeout=self._live) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    said = json.loads(line[6:])
                    if "position" not in said:
                        raise TryLater(said.get("detail", "the stream ended"))
                    yield said

    def request(
        self, method: str, path: str, params: Pairs | None = None, *, json: Any = None
    ) -> dict[str, Any]:
        """Return the JSON that a call is answered with, {} for none; raises the error that the answer stands for."""
        try:
            answer = self._http.request(method, path, params=params, json=json)
        except self._network_error as error:
            raise unanswered(error) from error
        if answer.status_code >= 400:
            raise_for(answer)
        return answer.json() if answer.content else {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _Streamed:
    """An answer that is read piece by piece; one of 400 or above is raised."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __enter__(self) -> Any:
        answer = self._stream.__enter__()
        if answer.status_code >= 400:
            try:
                answer.read()
                raise_for(answer)
            finally:
                self._stream.__exit__(None, None, None)
        return answer

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)
