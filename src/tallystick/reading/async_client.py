"""`AsyncClient`: the same as `Client`, from an event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

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
from tallystick.reading.viewers import AsyncViewerSessions

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from tallystick.reading.verified import Verified


class AsyncEvents:
    """The events that filters find, read page by page as they are asked for; `async for` as often as needed."""

    def __init__(self, client: AsyncClient, filters: dict[str, Filter]) -> None:
        self._client = client
        self._filters = filters

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            more: dict[str, Filter] = {"limit": PAGE, **({"cursor": cursor} if cursor else {})}
            page = await self._client.request("GET", "/v1/events", pairs(self._filters, **more))
            for event in page["events"]:
                yield event
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    async def count(self) -> int:
        """Return how many there are, exactly."""
        said = await self._client.request("GET", "/v1/events:count", pairs(self._filters, exact="true"))
        return int(said["count"])

    async def to_columns(self) -> table.Columns:
        """Return a table as columns; as `Events.to_columns`."""
        return table.columns_of([event async for event in self])

    async def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas DataFrame."""
        return table.to_pandas(await self.to_columns())

    async def to_polars(self) -> polars.DataFrame:
        """Return a polars DataFrame."""
        return table.to_polars(await self.to_columns())

    async def to_arrow(self) -> pyarrow.Table:
        """Return a pyarrow Table."""
        return table.to_arrow(await self.to_columns())

    async def to_parquet(self, path: str | Path) -> int:
        """Write a Parquet file and return how many events are in it; all of them are in memory for it."""
        events = [event async for event in self]
        return await asyncio.to_thread(table.to_parquet, events, path)


class AsyncClient:
    """Reads the log of one organization; arguments as of `Client`."""

    def __init__(
        self, *, url: str | None = None, api_key: str | None = None, verifier_key: str | None = None
    ) -> None:
        import httpx2

        chosen = opened(url, api_key)
        self.url = chosen.url
        self._network_error = chosen.network_error
        self._live = chosen.live
        self._verifier_key = verifier_key
        self._http = httpx2.AsyncClient(base_url=chosen.url, headers=chosen.headers, timeout=chosen.timeout)
        self.viewer_sessions = AsyncViewerSessions(self)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def events(self, **filters: Filter) -> AsyncEvents:
        """Return the events that match; as `Client.events`."""
        return AsyncEvents(self, filters)

    async def event(self, id: str, *, proof: bool = False) -> dict[str, Any]:
        """Return one event, with its inclusion proof if asked for; raises NotFound."""
        return await self.request("GET", f"/v1/events/{id}", [("proof", "true")] if proof else [])

    async def tail(self, *, after: int | None = None, **filters: Filter) -> AsyncIterator[dict[str, Any]]:
        """Yield events as they are recorded, for ever; as `Client.tail`."""
        read = await self._newest() if after is None else after
        while True:
            try:
                async for event in self._stream(pairs(filters, after=read)):
                    read = event["position"]
                    yield event
            except (self._network_error, TryLater):
                await asyncio.sleep(RECONNECT_SECONDS)

    async def verify(self, *, known: Sequence[str] = (), **filters: Filter) -> Verified:
        """Fetch a part of the log and check it here; as `Client.verify`, over a temporary file."""
        from tallystick.reading.verified import check

        with TemporaryFile() as file:
            try:
                async with self._answer("/v1/export", pairs(filters, format="jsonl")) as answer:
                    async for piece in answer.aiter_bytes(256 << 10):
                        await asyncio.to_thread(file.write, piece)
            except self._network_error as error:
                raise unanswered(error) from error
            file.seek(0)
            return await asyncio.to_thread(check, _pieces(file), key=self._verifier_key, known=known)

    @asynccontextmanager
    async def _answer(self, path: str, params: Pairs, **more: Any) -> AsyncIterator[Any]:
        async with self._http.stream("GET", path, params=params, **more) as answer:
            if answer.status_code >= 400:
                await answer.aread()
                raise_for(answer)
            yield answer

    async def _newest(self) -> int:
        page = (await self.request("GET", "/v1/events", [("limit", 1)]))["events"]
        return page[0]["position"] if page else -1

    async def _stream(self, params: Pairs) -> AsyncIterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream"}
        async with self._answer("/v1/feed", params, headers=headers, timeout=self._live) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    said = json.loads(line[6:])
                    if "position" not in said:
                        raise TryLater(said.get("detail", "the stream ended"))
                    yield said

    async def request(
        self, method: str, path: str, params: Pairs | None = None, *, json: Any = None
    ) -> dict[str, Any]:
        """Return the JSON that a call is answered with; as `Client.request`."""
        try:
            answer = await self._http.request(method, path, params=params, json=json)
        except self._network_error as error:
            raise unanswered(error) from error
        if answer.status_code >= 400:
            raise_for(answer)
        return answer.json() if answer.content else {}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(256 << 10):
        yield piece
