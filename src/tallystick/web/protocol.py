"""uvicorn's HTTP/1.1 protocol with what it lacks: limits on everything around a body, and on a peer's patience."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES_MAX = 16 * 1024
HEADER_SECONDS_MAX = 10.0
# What a chunked body may spend on sizes, extensions and trailers for each byte of its own, beyond a head's worth.
FRAMING_BYTES_FACTOR = 8
# How long a peer may leave our answer unread before its connection, and all that it holds, is given up.
UNREAD_SECONDS_MAX = 30.0
# How long a refused peer may go on sending, so that it reads the refusal instead of a reset connection.
LINGER_SECONDS = 2.0

_TOO_LARGE = (b"431 Request Header Fields Too Large", b"header_too_large", b"Headers are over 16 KiB.")
_FRAMING = (
    b"431 Request Header Fields Too Large",
    b"framing",
    b"The body is nearly all chunk sizes or trailers.",
)
_TOO_SLOW = (b"408 Request Timeout", b"header_timeout", b"The headers came too slowly.")
_NO_HTTP = (b"400 Bad Request", b"http", b"This is not well-formed HTTP.")


class JoiningTransport:
    """Sends the head of an answer together with the first bytes of its body: one call of the system, not two.

    A head whose body does not follow at once, as of a stream that has nothing to say yet, goes by itself.
    """

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        """Write `data`, or keep it for a moment when it is the head of an answer."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.endswith(b"\r\n\r\n") and data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._inner.write(data)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._inner.write(head)

    def write_eof(self) -> None:
        """Say that nothing more comes."""
        self._flush()
        self._inner.write_eof()

    def close(self) -> None:
        """Close once everything is written."""
        self._flush()
        self._inner.close()

    def is_closing(self) -> bool:
        """Tell whether the connection is closed or about to be."""
        return self._inner.is_closing()


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 to headers over 16 KiB, 408 to slow ones and 400 to what is no HTTP; then closes.

    A refusal waits for the answers of the requests before it on the same connection.
    """

    _head_bytes = 0
    _framing_bytes = 0
    _body_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _refused = False
    _last_words = b""

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a connection that never speaks is closed too."""
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type] - the parts of a transport uvicorn uses
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Count bytes before they are parsed; neither a head nor the framing of a body grows beyond its limit."""
        if self._refused or self.parser is None:
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._start_head_timer()
        else:
            self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(*_NO_HTTP)
        # Still in the head after all this: no byte of it belonged to a body.
        if self._in_head and self._head_bytes > HEADER_BYTES_MAX:
            self._refuse(*_TOO_LARGE)
        elif self._framing_bytes > HEADER_BYTES_MAX + FRAMING_BYTES_FACTOR * self._body_bytes:
            self._refuse(*_FRAMING)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come after the body, are dropped and change nothing."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop counting; refuse a head that came whole in one read but is over the limit."""
        self._stop_head_timer()
        if self._refused or sum(len(n) + len(v) for n, v in self.headers) + len(self.url) > HEADER_BYTES_MAX:
            self._refuse(*_TOO_LARGE)
            return
        if self.parser.should_upgrade():
            return  # read once more, by _decline
        self._in_head = False
        self._framing_bytes = self._body_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass the body on, unless its head was refused."""
        self._body_bytes += len(body)
        self._framing_bytes = max(0, self._framing_bytes - len(body))
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The next bytes, if any, are the head of another request."""
        if self.parser.should_upgrade():
            return
        if not self._refused:
            super().on_message_complete()
        self._in_head = True
        self._head_bytes = self._framing_bytes = 0

    def on_response_complete(self) -> None:
        """Go on with the next request, or say the last words where it was refused."""
        was_last = not self.pipeline
        super().on_response_complete()
        if self._last_words and was_last:
            self._part(self._last_words)

    def pause_writing(self) -> None:
        """Start the clock of a peer that does not read."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that clock."""
        super().resume_writing()
        self._stop_unread_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks with the connection."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self._stop_unread_timer()

    def _decline(self, rest: bytes) -> None:
        """Answer a request that offers another protocol as if it did not.

        The parser takes what follows such a head for that other protocol, although it may be the body: Java's
        client offers HTTP/2 with its first request, whatever it is. So the head is read again without the offer.
        """
        if self.parser.get_method() == b"CONNECT":
            self._refuse(*_NO_HTTP)
            return
        dropped = (b"upgrade", b"http2-settings", b"connection")
        kept = [name + b": " + value for name, value in self.headers if name not in dropped]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            kept.append(b"connection: close")
        line = b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._head_bytes = 0
        self.data_received(b"\r\n".join([line, *kept]) + b"\r\n\r\n" + rest)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_SECONDS_MAX, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes == 0:
            self.transport.close()
        else:
            self._refuse(*_TOO_SLOW)

    def _refuse(self, status: bytes, rule: bytes, detail: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_head_timer()
        body = (
            b'{"type":"urn:tallystick:problem:%s","title":"%s","status":%s,"detail":"%s Nothing of this request was '
            b'stored.","rule":"%s"}' % (rule, status[4:], status[:3], detail, rule)
        )
        head = b"HTTP/1.1 %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        words = head % (status, len(body)) + body
        newest = self.cycle
        if not self._in_head and self.pipeline:
            # Its body is what is wrong, and it has not begun: the requests before it are still being answered.
            self.pipeline.popleft()
            self._last_words = words
        elif self._in_head and newest is not None and not newest.response_complete:
            self._last_words = words
        else:
            self._part(words)

    def _part(self, words: bytes) -> None:
        """Say the last words and close, once the peer has stopped sending or its time is up."""
        self._last_words = b""
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            # A handler that waits for the rest of this body learns that it will not come.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self.transport.write(words)
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
