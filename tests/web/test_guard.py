"""The door: who gets in, what everyone else is told, and that guessing is slow while honest callers are not."""

from __future__ import annotations

import hashlib
import itertools

import httpx2
import pytest

from server import Server, event
from tallystick.web.app import OPERATIONS
from web.shapes import problem

_addresses = itertools.count(1)
PUBLIC = [
    operation
    for operation in OPERATIONS
    if operation.permission is None and operation.name != "exchangeViewer"
]
GUARDED = [operation for operation in OPERATIONS if operation.permission is not None]


@pytest.fixture
def stranger(server: Server) -> httpx2.Client:
    """A client without a key at an address of its own, so that its failures are nobody else's."""
    transport = httpx2.HTTPTransport(local_address=f"127.0.1.{next(_addresses)}")
    return server.client(None, transport=transport)


def path_of(operation: object) -> str:
    """Return a path of the operation with something in its place holders."""
    path = operation.path.replace("{tile:path}", "0/000").replace("{id}", "key_0")
    return path.replace("{file}", "docs.css").replace("{name}", "a.b").replace("{position}", "0")


@pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)
def test_without_a_key_nothing_is_told(server: Server, operation) -> None:
    """An operation would answer a stranger, or tell him more than that he has no key."""
    # One address, and one key, may fail sixty times; there are more operations than that.
    number = GUARDED.index(operation)
    stranger = server.client(
        None, transport=httpx2.HTTPTransport(local_address=f"127.0.2.{number % 250 + 1}")
    )
    missing = stranger.request(operation.method, path_of(operation))
    wrong = stranger.request(
        operation.method, path_of(operation), headers={"X-API-Key": f"tst_{number:03}".ljust(53, "x")}
    )
    assert missing.status_code == wrong.status_code == 401, (missing.text, wrong.text)
    assert missing.content == wrong.content
    assert missing.headers["www-authenticate"]


def test_401_is_the_same_bytes_for_every_reason(server: Server, stranger: httpx2.Client) -> None:
    """The difference between two refusals would tell which keys exist."""
    revoked = server.key("read")
    with server.client() as admin:
        (listed,) = [key for key in admin.get("/v1/keys").json()["keys"] if revoked.startswith(key["prefix"])]
        assert admin.delete(f"/v1/keys/{listed['id']}").status_code == 200
    well_formed = "tst_3Z0000000000000000000000000000000000000000000000000000"
    credentials = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dGVzdDp0ZXN0"},
        {"Authorization": f"Bearer {server.write_key[:-1]}"},
        {"Authorization": f"Bearer {server.write_key[:12]}"},
        {"Authorization": f"Bearer {hashlib.sha256(server.write_key.encode()).hexdigest()}"},
        {"Authorization": f"Bearer {well_formed}"},
        {"Authorization": f"Bearer {revoked}"},
        {"X-API-Key": "ünïcödé".encode("latin-1")},
        {"X-API-Key": "x" * 10_000},
        {"Cookie": f"key={server.write_key}"},
    ]
    answers = {stranger.post("/v1/events", json=event(), headers=headers).content for headers in credentials}
    answers.add(stranger.post("/v1/events", json=event(), params={"api_key": server.write_key}).content)
    assert len(answers) == 1
    found = problem(stranger.post("/v1/events", json=event()), 401, "unauthorized")
    assert "request_id" not in found


def test_a_second_credential_voids_the_first(server: Server) -> None:
    """A proxy would check one of two credentials and the server believe the other."""
    key = server.write_key.encode()
    for second in (b"Authorization: Bearer tst_other", b"Authorization: Bearer " + key):
        head = (
            b"GET /v1/log/checkpoint HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + key
        )
        assert server.say(head + b"\r\n" + second + b"\r\n\r\n").startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("permission", "method", "path", "status"),
    [
        ("write", "GET", "/v1/events", 403),
        ("write", "GET", "/v1/feed", 403),
        ("write", "GET", "/v1/log/checkpoint", 403),
        ("write", "GET", "/v1/export", 403),
        ("write", "GET", "/v1/keys", 403),
        ("read", "POST", "/v1/events", 403),
        ("read", "POST", "/v1/events:batch", 403),
        ("read", "POST", "/v1/keys", 403),
        ("auditLogs:read", "GET", "/v1/export", 403),
        ("read", "GET", "/v1/events", 200),
        ("admin", "GET", "/v1/keys", 200),
    ],
)
def test_permissions(server: Server, permission: str, method: str, path: str, status: int) -> None:
    """A key would do what it was not given, or not do what it was."""
    with server.client(server.key(permission)) as client:
        answer = client.request(method, path)
    if status == 403:
        problem(answer, 403, "forbidden")
    else:
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("operation", PUBLIC, ids=lambda operation: operation.name)
def test_public_operations_need_no_key(stranger: httpx2.Client, operation) -> None:
    """A load balancer's check, or the docs, would need a key."""
    status = stranger.request(operation.method, path_of(operation)).status_code
    # A log that is not 256 entries long has no whole tile yet, and says so to anybody.
    assert status == 200 or (status == 404 and "{tile:path}" in operation.path)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_other_methods_are_405_with_those_that_work(server: Server, operation) -> None:
    """A wrong method would be a 404, or not say which ones there are."""
    with server.client() as client:
        known = {one.method for one in OPERATIONS if one.path == operation.path}
        for method in {"PUT", "PATCH", "TRACE", "PROPFIND"} - known:
            answer = client.request(method, path_of(operation))
            problem(answer, 405, "method")
            assert operation.method in answer.headers["allow"].split(", ")


@pytest.mark.parametrize(
    "path",
    [
        "/nope", "/v1", "/v1/", "/v1/events/", "//v1/events", "/V1/events", "/v1/events;x=1", "/v1%2fevents", "/v1/events%00",
        "/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/..%5capp.py", "/static/", "/v1/events/not-a-uuid",
        "/v1/log/tile/0/1", "/v1/log/tile/64/000", "/v1/log/tile/entries/000", "/v1/log/tile/0/x999/999", "/docs/",
    ],
)  # fmt: skip
def test_404(server: Server, path: str) -> None:
    """A path that does not exist would be redirected, guessed, or read from the disk."""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {server.admin_key}\r\n\r\n"
    answer = server.say(head.encode())
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]
    assert b"application/problem+json" in answer
    assert b"import" not in answer


def test_guessing_is_slowed_and_valid_keys_are_not(server: Server, stranger: httpx2.Client) -> None:
    """Whoever guesses would go on at full speed, or lock out everyone behind the same address."""
    statuses = [
        stranger.get("/v1/events", headers={"X-API-Key": f"guess {n}"}).status_code for n in range(100)
    ]
    assert statuses[0] == 401
    assert 429 in statuses
    answer = stranger.get("/v1/events")
    problem(answer, 429, "attempts")
    assert answer.headers["retry-after"]
    good = {"Authorization": f"Bearer {server.admin_key}"}
    assert stranger.get("/v1/events", headers=good).status_code == 200
    assert (
        stranger.post("/v1/events", json=event(), headers={"X-API-Key": server.write_key}).status_code == 201
    )


def test_revoked_key_stops_within_five_seconds_here_at_once(server: Server) -> None:
    """A revoked key would go on working."""
    key = server.key("read")
    with server.client(key) as client, server.client() as admin:
        assert client.get("/v1/events").status_code == 200
        (listed,) = [one for one in admin.get("/v1/keys").json()["keys"] if key.startswith(one["prefix"])]
        assert admin.delete(f"/v1/keys/{listed['id']}").status_code == 200
        assert client.get("/v1/events").status_code == 401
        problem(admin.delete("/v1/keys/key_0000000000000000"), 404)


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({"name": "", "permissions": ["read"]}, "/name"),
        ({"name": "x" * 129, "permissions": ["read"]}, "/name"),
        ({"name": "x", "permissions": []}, "/permissions"),
        ({"name": "x", "permissions": ["everything"]}, "/permissions"),
        ({"name": "x", "permissions": ["read"], "expires_in_days": 0}, "/expires_in_days"),
        ({"name": "x", "permissions": ["read"], "colour": 1}, None),
        ({"name": "x\x00", "permissions": ["read"]}, "/name"),
        ({"name": "x", "permissions": ["read"], "workspace": "a\x00"}, "/workspace"),
        ({"name": "x", "permissions": ["read"], "workspace": "w" * 600}, "/workspace"),
        ({"name": "x", "permissions": ["read"], "workspace": ""}, "/workspace"),
        ([], None),
    ],
)
def test_wishes_for_keys_are_checked(server: Server, wish: object, path: str | None) -> None:
    """A key would be made that nobody meant, or a slip end in a server error."""
    with server.client() as admin:
        problem(admin.post("/v1/keys", json=wish), 400, path=path)
