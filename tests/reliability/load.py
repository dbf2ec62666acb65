"""The load: writers that retry with the same id until they are answered, and readers that follow the feed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2

PATIENCE_SECONDS = 15.0
PAUSE_SECONDS = 0.15


@dataclass(frozen=True)
class Acknowledged:
    """What a server promised about one event; `receipt` is that of its call."""

    position: int
    receipt: str
    covers: bool  # the receipt is for this very event, not for the last one of its batch


@dataclass
class Ledger:
    """What was sent, what was acknowledged, and everything a server said that it must not say."""

    sent: set[UUID] = field(default_factory=set)
    acknowledged: dict[UUID, Acknowledged] = field(default_factory=dict)
    repeats: int = 0
    duplicates_told: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    broken: asyncio.Event = field(default_factory=asyncio.Event)

    def accept(self, event_id: UUID, position: int, receipt: str, *, covers: bool) -> None:
        """Note an acknowledgement."""
        self.acknowledged[event_id] = Acknowledged(position, receipt, covers)

    def violate(self, sentence: str) -> None:
        """Note what must never happen."""
        self.broken.set()
        if len(self.violations) < 50:
            self.violations.append(sentence)


@dataclass
class Writer:
    """One client: sends events one by one and in small batches, to any server, until each is acknowledged."""

    number: int
    urls: list[str]
    key: str
    ledger: Ledger
    chance: random.Random
    stopping: asyncio.Event
    count: int = 0

    async def run(self) -> None:
        """Write until told to stop, and then until everything sent is acknowledged."""
        async with self.client() as client:
            while not self.stopping.is_set():
                await self.write(client, self.chance.choice((1, 1, 1, 1, 5, 40)))
                await asyncio.sleep(self.chance.random() * PAUSE_SECONDS)

    def client(self) -> httpx2.AsyncClient:
        """Return a client with this writer's key."""
        return httpx2.AsyncClient(headers={"Authorization": f"Bearer {self.key}"}, timeout=PATIENCE_SECONDS)

    async def write(self, client: httpx2.AsyncClient, events: int) -> None:
        """Make so many events and send them until they are acknowledged."""
        batch = [self._event(self.count + at) for at in range(events)]
        self.count += events
        self.ledger.sent.update(UUID(event["id"]) for event in batch)
        await self._until_acknowledged(client, batch)

    def _event(self, count: int) -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "action": self.chance.choice(("project.create", "member.invite", "api_key.rotate", "login")),
            "actor": {"type": "user", "id": f"u{self.chance.randrange(50)}", "name": f"Person {self.number}"},
            "targets": [{"type": "project", "id": f"p{count}"}],
            "metadata": {"writer": self.number, "count": count},
        }

    async def _until_acknowledged(self, client: httpx2.AsyncClient, batch: list[dict[str, Any]]) -> None:
        left = batch
        first = True
        while left:
            if not first:
                self.ledger.repeats += 1
                await asyncio.sleep(0.02 + self.chance.random() * 0.2)
            # One answer in fifty is lost on the way: the client gives up and sends the same again.
            patience = 0.004 if first and self.chance.random() < 0.02 else PATIENCE_SECONDS
            left = await self._send(client, left, patience)
            first = False

    async def _send(
        self, client: httpx2.AsyncClient, batch: list[dict[str, Any]], patience: float
    ) -> list[dict[str, Any]]:
        """Send once and return what has to be sent again."""
        url = self.chance.choice(self.urls)
        path, body = ("/v1/events", batch[0]) if len(batch) == 1 else ("/v1/events:batch", batch)
        try:
            answer = await client.post(url + path, json=body, timeout=patience)
        except (httpx2.TransportError, httpx2.TimeoutException) as error:
            self.ledger.answers[type(error).__name__] += 1
            return batch
        self.ledger.answers[str(answer.status_code)] += 1
        # 408 is for a machine that stood still for a while: nothing was stored, and the answer says so.
        if answer.status_code == 408:
            return batch
        if answer.status_code == 503:
            if not answer.headers.get("retry-after", "").isdigit():
                self.ledger.violate(f"a 503 without Retry-After: {answer.text[:200]}")
            return batch
        if answer.status_code not in (200, 201):
            self.ledger.violate(f"a valid event was answered with {answer.status_code}: {answer.text[:300]}")
            await asyncio.sleep(1)
            return batch
        return self._one(batch, answer.json()) if len(batch) == 1 else self._many(batch, answer.json())

    def _one(self, batch: list[dict[str, Any]], found: dict[str, Any]) -> list[dict[str, Any]]:
        if found["id"] != batch[0]["id"]:
            self.ledger.violate(f"{batch[0]['id']} was answered as {found['id']}")
        self.ledger.accept(UUID(batch[0]["id"]), found["position"], found["receipt"], covers=True)
        return []

    def _many(self, batch: list[dict[str, Any]], found: dict[str, Any]) -> list[dict[str, Any]]:
        again = []
        stored = [result for result in found["results"] if result["status"] in ("created", "duplicate")]
        for event, result in zip(batch, found["results"], strict=True):
            if result["status"] in ("created", "duplicate"):
                self.ledger.duplicates_told += result["status"] == "duplicate"
                covers = result is stored[-1]
                self.ledger.accept(UUID(event["id"]), result["position"], found["receipt"], covers=covers)
            elif result.get("error", {}).get("retry"):
                again.append(event)
            else:
                self.ledger.violate(f"a valid event of a batch was rejected: {result}")
        return again


@dataclass
class Reader:
    """One client that follows the feed from the beginning, at any server, and must see every position once."""

    urls: list[str]
    key: str
    ledger: Ledger
    chance: random.Random
    stopping: asyncio.Event
    seen: list[UUID] = field(default_factory=list)
    owed: int = 0  # how many events there were when it was told to catch up

    async def run(self) -> None:
        """Read until told to stop."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as client:
            while not self.stopping.is_set():
                try:
                    await self._page(client)
                except (httpx2.TransportError, httpx2.TimeoutException):
                    await asyncio.sleep(0.1)

    async def read_up_to(self, size: int) -> None:
        """Read on until `size` events were seen."""
        self.owed = size
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as client:
            while len(self.seen) < size:
                await self._page(client)

    async def _page(self, client: httpx2.AsyncClient) -> None:
        url = self.chance.choice(self.urls)
        after = len(self.seen) - 1
        answer = await client.get(
            f"{url}/v1/feed", params={"after": after, "limit": self.chance.randint(1, 1000)}
        )
        if answer.status_code == 200:
            for event in answer.json()["events"]:
                if event["position"] != len(self.seen):
                    self.ledger.violate(
                        f"a reader expected position {len(self.seen)} and got {event['position']}"
                    )
                    return
                self.seen.append(UUID(event["id"]))
        elif answer.status_code not in (503, 404):
            self.ledger.violate(f"the feed answered with {answer.status_code}: {answer.text[:300]}")
        await asyncio.sleep(0.05)


@dataclass
class LiveReader(Reader):
    """The same over server-sent events: one long answer, resumed by Last-Event-ID wherever it breaks."""

    async def run(self) -> None:
        """Follow until told to stop."""
        timeout = httpx2.Timeout(PATIENCE_SECONDS, read=20.0)
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "text/event-stream"}
        async with httpx2.AsyncClient(headers=headers, timeout=timeout) as client:
            while not self.stopping.is_set():
                with contextlib.suppress(httpx2.TransportError, httpx2.TimeoutException):
                    await self._follow(client)
                await asyncio.sleep(0.1)

    async def _follow(self, client: httpx2.AsyncClient) -> None:
        url = self.chance.choice(self.urls)
        resume = {"Last-Event-ID": str(len(self.seen) - 1)} if self.seen else {}
        async with client.stream("GET", f"{url}/v1/feed", headers=resume) as answer:
            if answer.status_code != 200:
                if answer.status_code not in (503, 404):
                    self.ledger.violate(f"the live feed answered with {answer.status_code}")
                return
            position = -1
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    position = int(line[4:])
                elif line.startswith('data: {"id":"'):
                    if position != len(self.seen):
                        self.ledger.violate(f"a live reader expected {len(self.seen)} and got {position}")
                        return
                    self.seen.append(UUID(line[13:49]))
                if self.stopping.is_set():
                    return
