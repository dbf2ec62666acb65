"""Reading a request body: bounded in size before and after decompression, and in time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from tallystick.errors import Refused, TooLarge, TryLater
from tallystick.web.call import Call

JSON_TYPES = ("application/json",)
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines")
BODY_BYTES_MAX = 8 * 1024 * 1024
# All bodies being read or worked on together; beyond it a caller is told to wait, so memory stays bounded.
IN_FLIGHT_BYTES_MAX = 96 * 1024 * 1024
# The slowest sender that is waited for, after a grace; one byte a second would hold a connection for months.
BYTES_PER_SECOND_MIN = 16 * 1024
_THREAD_ABOVE_BYTES = 256 * 1024
# Four bytes of zstd can stand for a block of 128 KiB, so that a piece of this size never makes more than 8 MiB.
_ZSTD_PIECE_BYTES = 256


class Bodies:
    """Reads bodies; counts the bytes of all that are in flight, from their arrival until their call is answered.

    Args:
        monotonic: a clock in seconds.
        grace_seconds: how long a sender may fall behind the slowest pace.
    """

    def __init__(self, monotonic: Callable[[], float], *, grace_seconds: float) -> None:
        self._monotonic = monotonic
        self._grace_seconds = grace_seconds
        self.in_flight_bytes = 0

    async def read(self, call: Call) -> bytes:
        """Return the body of a call, decompressed.

        Raises:
            TooLarge: over 8 MiB, before or after decompression.
            Refused: rule `body_timeout` (408) when it comes too slowly, `encoding` when it does not decompress.
            TryLater: too many bytes are in flight already.
        """
        announced = call.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > BODY_BYTES_MAX:
            raise _too_large()
        raw = await self._receive(call)
        encoding = (call.header(b"content-encoding") or "identity").strip().lower()
        if encoding == "identity":
            return raw
        decompress = _DECOMPRESS.get(encoding)
        if decompress is None:
            raise Refused(
                f"Content-Encoding '{encoding[:40]}' is not understood; send gzip, zstd or none.",
                rule="media_type",
            )
        out = await asyncio.to_thread(decompress, raw) if len(raw) > _THREAD_ABOVE_BYTES else decompress(raw)
        self._hold(call, len(out))
        return out

    def release(self, call: Call) -> None:
        """Give back what a call holds: its body is no longer worked on."""
        self.in_flight_bytes -= call.held_bytes
        call.held_bytes = 0

    def _hold(self, call: Call, size: int) -> None:
        call.held_bytes += size
        self.in_flight_bytes += size
        if self.in_flight_bytes > IN_FLIGHT_BYTES_MAX:
            raise TryLater("The server works on as many bytes as it may; nothing of this call was stored.")

    async def _receive(self, call: Call) -> bytes:
        patience = self._grace_seconds
        pieces: list[bytes] = []
        size = 0
        while True:
            asked = self._monotonic()
            message = await self._next(call, patience)
            piece = message.get("body", b"")
            size += len(piece)
            if size > BODY_BYTES_MAX:
                raise _too_large()
            self._hold(call, len(piece))
            pieces.append(piece)
            if not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            # Every byte earns patience and none is saved up: a fast start does not pay for standing still.
            patience += len(piece) / BYTES_PER_SECOND_MIN - (self._monotonic() - asked)
            patience = min(patience, self._grace_seconds)

    async def _next(self, call: Call, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                message = await call.receive()
        except TimeoutError:
            raise Refused(
                "The body came too slowly and was given up; nothing was stored. Send it again.",
                rule="body_timeout",
            ) from None
        if message["type"] == "http.disconnect":
            raise Refused(
                "The client went away before the body was complete; nothing was stored.", rule="disconnect"
            )
        return dict(message)


def _too_large() -> TooLarge:
    return TooLarge(
        f"A body has at most {BODY_BYTES_MAX} bytes, before and after decompression; nothing was stored. "
        "Send smaller batches."
    )


def _gunzip(raw: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        out = stream.decompress(raw, BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise Refused("The body is not valid gzip; nothing was stored.", rule="encoding") from error
    if len(out) > BODY_BYTES_MAX:
        raise _too_large()
    if not stream.eof or stream.unused_data:
        raise Refused(
            "The gzip body is cut off or has more than one member; nothing was stored.", rule="encoding"
        )
    return out


def _unzstd(raw: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**23)
    out: list[bytes] = []
    size = 0
    stream = None
    for start in range(0, len(raw), _ZSTD_PIECE_BYTES):
        piece = raw[start : start + _ZSTD_PIECE_BYTES]
        while piece:
            stream = stream or decompressor.decompressobj()
            try:
                out.append(stream.decompress(piece))
            except zstandard.ZstdError as error:
                raise Refused("The body is not valid zstd; nothing was stored.", rule="encoding") from error
            size += len(out[-1])
            if size > BODY_BYTES_MAX:
                raise _too_large()
            piece = stream.unused_data if stream.eof else b""
            stream = None if stream.eof else stream
    if stream is not None or not raw:
        raise Refused("The zstd body is cut off; nothing was stored.", rule="encoding")
    return b"".join(out)


_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": _gunzip, "zstd": _unzstd}


def require_type(call: Call, accepted: tuple[str, ...]) -> str:
    """Return the media type of a body, lower case without parameters.

    Raises:
        Refused: rule `media_type` (415): none was sent, it is not accepted, or its charset is not UTF-8.
    """
    declared = call.header(b"content-type") or ""
    kind, _, parameters = declared.partition(";")
    kind = kind.strip().lower()
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind not in accepted or charset not in ("", "utf-8", "utf8"):
        raise Refused(
            f"Content-Type '{declared[:80]}' is not accepted here; send {' or '.join(accepted[:2])} in UTF-8.",
            rule="media_type",
        )
    return kind
