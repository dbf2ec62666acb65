"""The limits of time of a connection, reached in half a second because here the clock's limits are shortened."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import uvicorn

from tallystick.web import protocol

SHORT = 0.5


async def endless(scope, receive, send) -> None:
    """An application that answers with bytes until nobody takes them."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await asyncio.sleep(0)
        if scope["path"] == "/short":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return


@pytest_asyncio.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int]]:
    """Where a server with short limits listens."""
    monkeypatch.setattr(protocol, "UNREAD_SECONDS_MAX", SHORT)
    monkeypatch.setattr(protocol, "HEADER_SECONDS_MAX", SHORT)
    monkeypatch.setattr(protocol, "LINGER_SECONDS", SHORT)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        endless, http=protocol.LimitedProtocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield listener.getsockname()
    server.should_exit = server.force_exit = True
    await task


async def closed_after(reader: asyncio.StreamReader, seconds: float) -> tuple[bytes, float]:
    """Return what comes until the connection is closed, and when that was."""
    began = time.monotonic()
    answer = b""
    try:
        async with asyncio.timeout(seconds):
            while piece := await reader.read(65536):
                answer += piece
    except ConnectionError:
        pass
    return answer, time.monotonic() - began


async def test_a_head_that_never_ends_is_408(address: tuple[str, int]) -> None:
    """A client that sends a header a minute would hold its connection for ever."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nX-A: b\r\n")
    answer, seconds = await closed_after(reader, 5)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert b"header_timeout" in answer
    assert SHORT * 0.8 < seconds < 4
    writer.close()


async def test_a_connection_that_never_speaks_is_closed(address: tuple[str, int]) -> None:
    """Connections that are opened and forgotten would use up the server's."""
    reader, writer = await asyncio.open_connection(*address)
    answer, seconds = await closed_after(reader, 5)
    assert answer == b""
    assert SHORT * 0.8 < seconds < 4
    writer.close()


async def test_the_second_head_on_a_connection_is_timed_too(address: tuple[str, int]) -> None:
    """Whoever was served once could then stall for ever."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
    served = b""
    while not served.endswith(b"\r\n0\r\n\r\n"):
        piece = await reader.read(65536)
        assert piece, "the connection was closed too early"
        served += piece
    writer.write(b"GET /short HTTP/1.1\r\n")
    answer, seconds = await closed_after(reader, 5)
    assert answer.startswith(b"HTTP/1.1 408")
    assert SHORT * 0.8 < seconds < 4
    writer.close()


async def test_an_answer_nobody_reads_is_given_up(address: tuple[str, int]) -> None:
    """A client that asks for much and reads nothing would hold a connection and its buffers for ever."""
    loop = asyncio.get_running_loop()
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    await loop.sock_connect(line, address)
    await loop.sock_sendall(line, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(3 * SHORT)
    ended = False
    try:
        async with asyncio.timeout(5):
            while await loop.sock_recv(line, 1 << 20):
                pass
            ended = True
    except ConnectionError:
        ended = True
    assert ended, "the server still sends"
    line.close()


async def test_a_reader_that_is_slow_but_reads_is_served(address: tuple[str, int]) -> None:
    """A slow link would be taken for a client that does not read."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    began = time.monotonic()
    while time.monotonic() - began < 4 * SHORT:
        assert await reader.read(1 << 20)
        await asyncio.sleep(SHORT / 10)
    writer.close()


async def test_a_refused_sender_reads_the_refusal(address: tuple[str, int]) -> None:
    """Whoever is refused in the middle of sending would see a reset connection instead of the reason."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nX-A: " + b"a" * (8 << 20))
    answer, _ = await closed_after(reader, 5)
    assert answer.startswith(b"HTTP/1.1 431")
    writer.close()
