"""A contract fake of Redis: as much of its protocol (RESP 2) as arq asks for, answered as the documentation says.

Not Redis: no persistence, no expiry, one database, transactions without optimistic locking.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class FakeRedis:
    """Values and sorted sets in memory."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.sorted: dict[bytes, dict[bytes, float]] = {}
        self.port = 0

    def answer(self, command: list[bytes]) -> Any:
        """Return what Redis says to a command; bytes, int, list, None, or a str for a status."""
        name, *words = command
        handler: Callable[..., Any] | None = getattr(self, f"do_{name.decode().lower()}", None)
        if handler is None:
            return Exception(f"ERR unknown command '{name.decode()}'")
        return handler(*words)

    def do_ping(self) -> Any:
        return "PONG"

    def do_hello(self, *words: bytes) -> Any:
        return Exception("ERR unknown command 'HELLO'")  # clients then speak RESP 2

    def do_client(self, *words: bytes) -> Any:
        return "OK"

    def do_info(self, *sections: bytes) -> Any:
        return b"# Server\r\nredis_version:7.0.0\r\nused_memory_human:1M\r\nconnected_clients:1\r\n"

    def do_dbsize(self) -> Any:
        return len(self.values) + len(self.sorted)

    def do_watch(self, *keys: bytes) -> Any:
        return "OK"

    do_unwatch = do_watch

    def do_get(self, key: bytes) -> Any:
        return self.values.get(key)

    def do_set(self, key: bytes, value: bytes, *more: bytes) -> Any:
        self.values[key] = value
        return "OK"

    def do_psetex(self, key: bytes, ms: bytes, value: bytes) -> Any:
        return self.do_set(key, value)

    do_setex = do_psetex

    def do_incrby(self, key: bytes, by: bytes) -> Any:
        made = int(self.values.get(key, b"0")) + int(by)
        self.values[key] = b"%d" % made
        return made

    def do_expire(self, key: bytes, seconds: bytes) -> Any:
        return int(key in self.values or key in self.sorted)

    do_pexpire = do_expire

    def do_exists(self, *keys: bytes) -> Any:
        return sum(key in self.values or key in self.sorted for key in keys)

    def do_del(self, *keys: bytes) -> Any:
        return sum(
            self.values.pop(key, None) is not None or self.sorted.pop(key, None) is not None for key in keys
        )

    def do_zadd(self, key: bytes, *pairs: bytes) -> Any:
        held = self.sorted.setdefault(key, {})
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            held[member] = float(score)
        return len(pairs) // 2

    def do_zincrby(self, key: bytes, by: bytes, member: bytes) -> Any:
        held = self.sorted.setdefault(key, {})
        held[member] = held.get(member, 0.0) + float(by)
        return b"%f" % held[member]

    def do_zcard(self, key: bytes) -> Any:
        return len(self.sorted.get(key, {}))

    def do_zscore(self, key: bytes, member: bytes) -> Any:
        score = self.sorted.get(key, {}).get(member)
        return None if score is None else b"%f" % score

    def do_zrem(self, key: bytes, *members: bytes) -> Any:
        held = self.sorted.get(key, {})
        return sum(held.pop(member, None) is not None for member in members)

    def do_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *more: bytes) -> Any:
        found = sorted((score, member) for member, score in self.sorted.get(key, {}).items())
        return [member for score, member in found if float(low) <= score <= float(high)]

    def do_zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> Any:
        return self.do_zrem(key, *self.do_zrangebyscore(key, low, high))


def _said(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, Exception):
        return f"-{value}\r\n".encode()
    if isinstance(value, str):
        return f"+{value}\r\n".encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n%s" % (len(value), b"".join(map(_said, value)))


@asynccontextmanager
async def fake_redis() -> AsyncIterator[FakeRedis]:
    """Run the fake on a port of its own."""
    fake = FakeRedis()
    lines: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        lines.add(task)
        held: list[list[bytes]] | None = None  # the commands of a transaction
        try:
            while line := await reader.readline():
                command = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    command.append((await reader.readexactly(size + 2))[:-2])
                name = command[0].upper()
                if name == b"MULTI":
                    held = []
                    answer: Any = "OK"
                elif name == b"EXEC":
                    answer, held = [fake.answer(one) for one in held or ()], None
                elif held is not None:
                    held.append(command)
                    answer = "QUEUED"
                else:
                    answer = fake.answer(command)
                writer.write(_said(answer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever spoke is gone, or the test is over
        finally:
            lines.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for task in list(lines):
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
