"""uvicorn's HTTP/1.1 protocol with what it lacks: a limit on headers and on the time they may take."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES_MAX = 16 * 1024
HEADER_SECONDS_MAX = 10.0


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 to headers over 16 KiB and 408 to headers that take over ten seconds, then closes."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that never speaks is closed too."""
        super().connection_made(transport)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head before they are parsed; a head never grows beyond its limit in memory."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._start_head_timer()
        super().data_received(data)
        # Still in the head after all this: no body byte has been counted yet.
        if self._in_head and self._head_bytes > HEADER_BYTES_MAX and not self.transport.is_closing():
            self._refuse(
                b"431 Request Header Fields Too Large", b"header_too_large", b"Headers are over 16 KiB."
            )

    def on_headers_complete(self) -> None:
        """Stop counting; refuse a head that came whole in one read but is over the limit."""
        self._in_head = False
        self._stop_head_timer()
        if sum(len(n) + len(v) for n, v in self.headers) + len(self.url) > HEADER_BYTES_MAX:
            self._refuse(
                b"431 Request Header Fields Too Large", b"header_too_large", b"Headers are over 16 KiB."
            )
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes, if any, are the head of another request."""
        if self.cycle is not None:
            super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Ignore the body of a request whose head was refused."""
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock with the connection."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_SECONDS_MAX, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes == 0:
            self.transport.close()
        else:
            self._refuse(b"408 Request Timeout", b"header_timeout", b"The headers came too slowly.")

    def _refuse(self, status: bytes, rule: bytes, detail: bytes) -> None:
        body = (
            b'{"type":"urn:tallystick:problem:%s","title":"%s","status":%s,"detail":"%s Nothing was stored.","rule":"%s"}'
            % (rule, status[4:], status[:3], detail, rule)
        )
        head = b"HTTP/1.1 %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()
