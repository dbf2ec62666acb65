"""HTTP below the API: oddities, abuse and bombs, sent byte by byte over real sockets."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator

import httpx2
import pytest
import zstandard

from server import Server, Servers, event
from tallystick.web.protocol import HEADER_BYTES_MAX

MIB = 1 << 20


def body() -> bytes:
    """Return the JSON of an event of its own."""
    return json.dumps(event()).encode()


def head(
    server: Server, line: str = "POST /v1/events HTTP/1.1", *lines: str | bytes, more: bytes = b""
) -> bytes:
    """Return a request's head with a good key, and `more` after it."""
    known = [line, "Host: x", f"Authorization: Bearer {server.admin_key}", *lines]
    encoded = [one if isinstance(one, bytes) else one.encode("latin-1") for one in known]
    return b"\r\n".join(encoded) + b"\r\n\r\n" + more


def post(
    server: Server, content: bytes, *lines: str, path: str = "/v1/events", kind: str = "application/json"
) -> bytes:
    """Return a whole request that records `content` and closes the connection."""
    length = () if any(line.lower().startswith(("content-length", "transfer-enc")) for line in lines) else (
        f"Content-Length: {len(content)}",
    )  # fmt: skip
    start = f"POST {path} HTTP/1.1"
    return head(server, start, f"Content-Type: {kind}", "Connection: close", *length, *lines, more=content)


def chunk(content: bytes, extension: bytes = b"") -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


def status(answer: bytes) -> int:
    """Return the status of the first answer; a refusal must come as a problem."""
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    found = int(answer[9:12])
    if found >= 400:
        assert b"content-type: application/problem+json" in answer.partition(b"\r\n\r\n")[0], answer[:500]
        problem = json.loads(answer.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0])
        assert problem["status"] == found
        assert problem["detail"]
    return found


CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


@pytest.mark.parametrize(
    "framed",
    [
        lambda raw: ((f"Content-Length: {len(raw)}",), raw),
        lambda raw: ((CHUNKED,), chunk(raw) + END),
        lambda raw: ((CHUNKED,), b"".join(chunk(raw[at : at + 1]) for at in range(len(raw))) + END),
        lambda raw: ((CHUNKED,), chunk(raw, b";name=value") + END),
        lambda raw: ((CHUNKED,), chunk(raw) + b"0\r\nX-Trailer: late\r\nContent-Encoding: gzip\r\n\r\n"),
        lambda raw: (("Expect: 100-continue",), raw),
        lambda raw: (("Content-Encoding: gzip",), gzip.compress(raw)),
        lambda raw: (("Content-Encoding: zstd",), zstandard.compress(raw[:9]) + zstandard.compress(raw[9:])),
        lambda raw: (("Content-Encoding: zstd",), b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(raw)),
        lambda raw: (("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMA"), raw),
    ],
)  # fmt: skip
def test_odd_but_right_is_recorded(server: Server, framed) -> None:
    """A proxy or an unusual client would lose its events to a server that is too strict."""
    lines, content = framed(body())
    answer = server.say(post(server, content, *lines))
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert status(answer) == 201


def test_http_1_0_and_absolute_addresses(server: Server) -> None:
    """An old client, or one behind a forward proxy, would not be understood."""
    for line in ("POST /v1/events HTTP/1.0", "POST http://elsewhere.example/v1/events HTTP/1.1"):
        content = body()
        more = ("Content-Type: application/json", "Connection: close", f"Content-Length: {len(content)}")
        assert status(server.say(head(server, line, *more, more=content))) == 201


def _wrong(server: Server) -> Iterator[tuple[str, bytes, set[int]]]:
    raw = body()
    gz, zs = "Content-Encoding: gzip", "Content-Encoding: zstd"
    bad, kind, large, slow, long_head = {400}, {415}, {413}, {408}, {431}
    yield "both lengths", post(server, chunk(raw) + END, "Content-Length: 5", CHUNKED), bad
    yield "two equal lengths", post(server, raw, *[f"Content-Length: {len(raw)}"] * 2), bad
    yield "two lengths", post(server, raw, f"Content-Length: {len(raw)}", "Content-Length: 5"), bad
    yield "negative length", post(server, raw, "Content-Length: -5"), bad
    yield "signed length", post(server, raw, "Content-Length: +5"), bad
    yield "endless length", post(server, raw, "Content-Length: " + "9" * 30), bad
    yield "largest length", post(server, raw, f"Content-Length: {2**63 - 1}"), large
    yield "length cuts the event", post(server, raw, "Content-Length: 5"), bad
    yield (
        "no length",
        head(server, "POST /v1/events HTTP/1.1", "Content-Type: application/json", "Connection: close"),
        bad,
    )
    yield (
        "unknown coding",
        post(server, chunk(gzip.compress(raw)) + END, "Transfer-Encoding: gzip, chunked"),
        bad,
    )
    yield "identity coding", post(server, raw, "Transfer-Encoding: identity"), bad
    yield "chunk size no number", post(server, b"zz\r\n" + raw, CHUNKED), bad
    yield "chunk size negative", post(server, b"-5\r\n" + raw, CHUNKED), bad
    yield "chunk size overflow", post(server, b"f" * 18 + b"\r\n" + raw, CHUNKED), bad
    yield "chunked without an end", post(server, chunk(raw), CHUNKED), slow
    yield "body shorter than said", post(server, raw, f"Content-Length: {len(raw) + 5}"), slow
    yield "a MiB of chunk extension", post(server, chunk(raw, b";" + b"x" * MIB) + END, CHUNKED), long_head
    yield (
        "a MiB of trailers",
        post(server, chunk(raw) + b"0\r\n" + b"X-A: b\r\n" * (MIB // 8) + b"\r\n", CHUNKED),
        long_head,
    )
    yield "two types", post(server, raw, "Content-Type: text/plain"), kind
    yield "two encodings", post(server, raw, gz, "Content-Encoding: identity"), kind
    yield (
        "nested encodings",
        post(server, gzip.compress(gzip.compress(raw)), "Content-Encoding: gzip, gzip"),
        kind,
    )
    yield "brotli", post(server, raw, "Content-Encoding: br"), kind
    yield "deflate", post(server, zlib.compress(raw), "Content-Encoding: deflate"), kind
    yield "charset", post(server, raw, kind="application/json; charset=utf-16"), kind
    for name, content in {
        "cut": gzip.compress(raw)[:-5], "empty": b"", "no": b"junk", "two members": gzip.compress(raw) * 2,
        "wrong sum": gzip.compress(raw)[:-8] + bytes(8), "more behind": gzip.compress(raw) + b"x",
    }.items():  # fmt: skip
        yield f"gzip: {name}", post(server, content, gz), bad
    wide = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27))
    for name, content in {
        "cut": zstandard.compress(raw)[:-3], "empty": b"", "no": b"junk", "more behind": zstandard.compress(raw) + b"x",
        "empty frames": zstandard.compress(b"") * 100_000, "wide window": wide.compress(bytes(200 * MIB)),
    }.items():  # fmt: skip
        yield f"zstd: {name}", post(server, content, zs), bad
    yield "gzip bomb", post(server, gzip.compress(bytes(256 * MIB), 9), gz), large
    yield "zstd bomb", post(server, zstandard.compress(bytes(256 * MIB)), zs), large
    for line in (
        "get /healthz HTTP/1.1", "FOO /healthz HTTP/1.1", "GET /healthz HTTP/9.9", "GET  HTTP/1.1", "CONNECT x:80 HTTP/1.1",
        "GET /v1/events/\xff HTTP/1.1", "GET /v1/events?action=\xff HTTP/1.1", "GET /v1/events?action=%ff HTTP/1.1",
        "GET /v1/events?action=%ed%a0%80 HTTP/1.1", "GET /v1/events?user=a%00b HTTP/1.1",
        "GET /v1/events?" + "&".join(f"action={n}" for n in range(1000)) + " HTTP/1.1",
        "GET /v1/events?action=" + "a" * 15_000 + " HTTP/1.1",
    ):  # fmt: skip
        yield f"line: {line[:40]!r}", head(server, line, "Connection: close"), bad
    yield "PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bad
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", bad
    yield "bare line feeds", b"GET /healthz HTTP/1.1\nHost: a\n\n", bad
    for name, line in {"folded": "X-A: b\r\n c", "spaced": "X-A : b", "nul": "X-A: a\x00b"}.items():
        yield f"header: {name}", head(server, "GET /healthz HTTP/1.1", line), bad
    yield "a MiB header", head(server, "GET /healthz HTTP/1.1", "X-A: " + "a" * MIB), long_head
    yield "a MiB of headers", head(server, "GET /healthz HTTP/1.1", *["X-A: b"] * (MIB // 8)), long_head
    yield "a MiB address", head(server, f"GET /{'a' * MIB} HTTP/1.1"), long_head
    yield (
        "one byte too many",
        head(server, "GET /healthz HTTP/1.1", "X-A: " + "a" * HEADER_BYTES_MAX),
        long_head,
    )


def test_wrong_requests_get_a_clear_answer_and_leave_nothing(server: Server) -> None:
    """A malformed or oversized request would crash, hang, be half stored, or be answered in a shape nobody reads."""
    before = server.recorded()
    found = {name: (status(server.say(request)), expected) for name, request, expected in _wrong(server)}
    assert {name: got for name, (got, expected) in found.items() if got not in expected} == {}
    assert server.recorded() == before


def test_headers_in_small_pieces_are_431_before_they_end(server: Server) -> None:
    """A header sent in small pieces would grow in memory until its sender tires."""
    with socket.create_connection(server.address, timeout=10) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        sent = 0
        try:
            while sent < 4 * HEADER_BYTES_MAX:
                sent += line.send(b"a" * 512)
                time.sleep(0.002)
        except OSError:
            pass
        answer = line.recv(65536)
    assert status(answer) == 431


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """A refusal would overtake, and so replace, the answers of the requests sent before it."""
    raw = body()
    first = head(
        server,
        "POST /v1/events HTTP/1.1",
        "Content-Type: application/json",
        f"Content-Length: {len(raw)}",
        more=raw,
    )
    for last, expected in (
        (head(server, "GET /healthz HTTP/1.1", "Connection: close"), b"HTTP/1.1 200"),
        (head(server, "GET /healthz HTTP/1.1", "X-A: " + "a" * 20_000), b"HTTP/1.1 431"),
        (head(server, "GET /healthz HTTP/1.1", "X-A: " + "a" * MIB), b"HTTP/1.1 431"),
        (b"junk\r\n\r\n", b"HTTP/1.1 400"),
        (post(server, b"zz\r\n", CHUNKED), b"HTTP/1.1 400"),
    ):
        answer = server.say(first + last)
        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")), answer[:100]
        assert answer.count(b"HTTP/1.1 ") == 2, answer
        assert expected in answer[20:], answer


def test_body_a_byte_a_second_is_408(server: Server) -> None:
    """A client that sends a byte a second would hold its connection for months."""
    before = server.recorded()
    raw = body()
    with socket.create_connection(server.address, timeout=10) as line:
        line.sendall(post(server, b"", f"Content-Length: {len(raw)}"))
        began = time.monotonic()
        line.settimeout(0.5)
        answer = b""
        for at in range(20):
            line.sendall(raw[at : at + 1])
            try:
                answer = line.recv(65536)
                break
            except TimeoutError:
                continue
    assert status(answer) == 408
    assert time.monotonic() - began < 10  # the whole body would have taken minutes
    assert server.recorded() == before


def test_client_that_leaves_cancels_nothing(server: Server) -> None:
    """An event whose producer hung up right after sending would be lost, or half there."""
    sent = event()
    raw = json.dumps(sent).encode()
    with socket.create_connection(server.address) as line:
        line.sendall(post(server, raw))
    with server.client() as client:
        answers = [client.post("/v1/events", json=sent).status_code for _ in range(2)]
    assert answers in ([200, 200], [201, 200])


def test_full_queue_is_503_with_retry_after(servers: Servers, database) -> None:
    """More events than the database takes would fill the memory, or be dropped."""
    small = servers.start(database=database.logins.owner, environment={"TALLYSTICK_QUEUE_EVENTS_MAX": "1"})
    with httpx2.Client(base_url=small.url, headers={"X-API-Key": small.write_key}, timeout=30) as client:
        sent = [event() for _ in range(100)]
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda one: client.post("/v1/events", json=one), sent))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {201, 503}, statuses
        refused = [
            (one, answer) for one, answer in zip(sent, answers, strict=True) if answer.status_code == 503
        ]
        assert all(answer.headers["retry-after"].isdigit() for _, answer in refused)
        for one, _ in refused:
            answer = client.post("/v1/events", json=one)
            assert answer.status_code == 201, answer.text  # nothing of a refused call had been stored
    assert small.check_whole_log() >= 100
    assert small.recorded() == 100


def test_whole_log_holds_after_all_of_this(server: Server) -> None:
    """Something of the above would have left the log inconsistent."""
    assert server.check_whole_log() <= server.size()
