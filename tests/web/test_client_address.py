"""Whose address a call comes from: what trusted proxies say, and never what a caller writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from own_events import own_events
from postgres import Cluster, fresh_database
from server import Server, Servers, server_folder
from tallystick.client.proxies import TrustedProxies
from tallystick.web.client_address import ClientAddress, behind, told

PROXY, CLIENT, FORGED = "10.0.0.1", "198.51.100.7", "192.0.2.66"


def seen(
    headers: list[tuple[str, str]], *, peer: str | None = PROXY, networks: tuple[str, ...] = ("10.0.0.0/8",)
) -> Any:
    """Return the address that an application sees."""
    found: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["client"][0] if scope["client"] else None)

    scope = {
        "type": "http",
        "client": (peer, 4711) if peer else None,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(behind(application, networks)(scope, None, None))  # type: ignore[arg-type]
    return found[0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], PROXY),
        ([("X-Forwarded-For", CLIENT)], CLIENT),
        ([("X-Forwarded-For", f"{FORGED}, {CLIENT}")], CLIENT),
        ([("X-Forwarded-For", FORGED), ("X-Forwarded-For", CLIENT)], CLIENT),
        ([("X-Forwarded-For", f"{FORGED}, {CLIENT}, 10.9.9.9")], CLIENT),
        ([("X-Forwarded-For", "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
        ([("X-Forwarded-For", f"{CLIENT}:4711")], CLIENT),
        ([("X-Forwarded-For", "[2001:db8::7]:4711")], "2001:db8::7"),
        ([("X-Forwarded-For", f"::ffff:{CLIENT}")], CLIENT),
        ([("X-Forwarded-For", f"{FORGED}, nonsense")], PROXY),
        ([("X-Forwarded-For", f"{FORGED}, ")], PROXY),
        ([("X-Forwarded-For", f"{FORGED}, nonsense, 10.9.9.9")], "10.9.9.9"),
        ([("Forwarded", f"for={FORGED}, for={CLIENT};proto=https;by={PROXY}")], CLIENT),
        ([("Forwarded", 'FOR="[2001:db8::7]:4711"')], "2001:db8::7"),
        ([("Forwarded", f'host="a,for={FORGED}";for={CLIENT}')], CLIENT),
        ([("Forwarded", f'for={FORGED}, for="_hidden"')], PROXY),
        ([("Forwarded", f"for={FORGED}, proto=https")], PROXY),
        ([("Forwarded", f'for={FORGED}, for="{CLIENT}')], PROXY),
        ([("Forwarded", f"for={CLIENT}"), ("X-Forwarded-For", CLIENT)], CLIENT),
        # A proxy that writes one of them hands on the other as the client wrote it.
        ([("Forwarded", f"for={FORGED}"), ("X-Forwarded-For", CLIENT)], PROXY),
        ([("Forwarded", f"for={CLIENT}"), ("X-Forwarded-For", FORGED)], PROXY),
        ([("X-Real-IP", FORGED)], PROXY),
    ],
)  # fmt: skip
def test_what_a_proxy_says(headers: list[tuple[str, str]], expected: str) -> None:
    """A caller behind the proxy would choose the address that limits and events go by."""
    assert seen(headers) == expected


@pytest.mark.parametrize("header", [("X-Forwarded-For", FORGED), ("Forwarded", f"for={FORGED}")])
def test_nobody_else_is_believed(header: tuple[str, str]) -> None:
    """Whoever reaches the server directly would claim to be anybody."""
    assert seen([header], peer=CLIENT) == CLIENT
    assert seen([header], networks=()) == PROXY
    assert seen([header], peer=None) is None


def test_without_proxies_nothing_stands_between() -> None:
    """Every call would pay for what only few need."""
    application: Any = object()
    assert behind(application, ()) is application
    assert isinstance(behind(application, ("10.0.0.0/8",)), ClientAddress)


@settings(max_examples=100)
@given(st.text(st.characters(max_codepoint=255), max_size=200), st.booleans())
def test_what_an_attacker_writes_before_changes_nothing(text: str, named: bool) -> None:
    """A header could be written so that its end, which is the proxy's, is read as something else."""
    headers = [("forwarded", f"{text},for={CLIENT}")] if named else [("x-forwarded-for", f"{text}, {CLIENT}")]
    found = told([(name.encode(), value.encode("latin-1")) for name, value in headers])
    address = TrustedProxies(["10.0.0.0/8"]).client_ip(PROXY, found)
    # An open quotation mark swallows the proxy's part: then nobody is believed.
    assert address == CLIENT or (named and '"' in text and address == PROXY)


@pytest.fixture(scope="module")
def behind_proxy(postgres_cluster: Cluster, template_database: str) -> Iterator[Server]:
    """A server that believes what comes from this machine's own addresses."""
    for database in fresh_database(postgres_cluster, template_database):
        running = Servers(server_folder())
        try:
            yield running.start(
                database=database.logins.owner,
                environment={"TALLYSTICK_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"},
            )
        finally:
            running.stop()


def test_events_and_last_uses_go_by_it(behind_proxy: Server) -> None:
    """Everything that people do would seem to come from the proxy."""
    headers = {"X-Forwarded-For": f"{FORGED}, {CLIENT}, 10.0.0.9"}
    key = behind_proxy.key("auditLogs:read")
    with behind_proxy.client(key) as client:
        assert client.get("/v1/events", headers=headers).status_code == 200
        assert client.get("/v1/keys", headers=headers).status_code == 403
    with behind_proxy.client() as client:
        used = [one["last_used_ip"] for one in client.get("/v1/keys").json()["keys"] if one["last_used_ip"]]
    assert CLIENT in used
    assert FORGED not in used
    (denied,) = [one for one in own_events(behind_proxy) if one["outcome"] == "denied"]
    assert denied["context"]["ip"] == CLIENT


def test_limits_go_by_it(behind_proxy: Server) -> None:
    """Everybody behind the proxy would share one limit, or nobody would have any."""

    def guess(address: str) -> int:
        headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"203.0.113.9, {address}"}
        return client.get("/v1/events", headers=headers).status_code

    tried = 0
    with behind_proxy.client(None) as client:
        while guess("198.51.100.8") == 401:
            tried += 1
            assert tried < 5_000, "there is no limit"
        assert guess("198.51.100.9") == 401, "another client of the proxy guessed nothing yet"


def test_a_server_that_trusts_nobody(server: Server) -> None:
    """The default must be that nobody is believed."""
    key = server.key("auditLogs:read")
    with server.client(key) as client:
        assert client.get("/v1/keys", headers={"X-Forwarded-For": "203.0.113.77"}).status_code == 403
    assert "203.0.113.77" not in [
        one["context"].get("ip") for one in own_events(server) if one.get("context")
    ]
