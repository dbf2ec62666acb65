"""A server of its own for these tests, since they lock addresses and change its people; and real identity providers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest

from people import browser, sign_in
from postgres import Cluster, fresh_database
from server import Server, server_folder, start


@pytest.fixture(scope="module")
def house(postgres_cluster: Cluster, template_database: str) -> Iterator[Server]:
    """A server whose first owner has signed in once."""
    databases = fresh_database(postgres_cluster, template_database)
    folder = server_folder()
    running: Server | None = None
    try:
        running = start(folder / "data", database=next(databases).logins.owner)
        sign_in(running)
        yield running
    finally:
        if running is not None:
            running.stop()
        databases.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Provider:
    """A running identity provider, and what it is asked to say of people."""

    url: str
    process: subprocess.Popen[bytes] | None = None
    people: dict[str, dict[str, Any]] = field(default_factory=dict)

    def knows(self, subject: str, **claims: Any) -> None:
        """Have the provider know somebody."""
        answer = httpx2.put(f"{self.url}/users/{quote(subject)}", json=claims)
        assert answer.status_code == 204, answer.text

    def consent(self, address: str, subject: str) -> str:
        """Do what a person does at the provider; return where it sends the browser."""
        answer = httpx2.post(address, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """oidc-provider-mock, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    log = tmp_path_factory.mktemp("provider") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(program, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    made = Provider(f"http://localhost:{port}", process)
    try:
        for _ in range(200):
            try:
                httpx2.get(f"{made.url}/.well-known/openid-configuration", timeout=5)
                break
            except httpx2.HTTPError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        yield made
    finally:
        process.terminate()
        process.wait(10)


def trust(server: Server, url: str, **more: Any) -> str:
    """Have the organization trust a provider; return the path that leads to it."""
    wish = {
        "display_name": "Example ID",
        "issuer": url,
        "client_id": "tallystick",
        "client_secret": "s3cret",
        **more,
    }
    with server.client() as client:
        made = client.post("/v1/identity-providers", json=wish)
    assert made.status_code == 201, made.text
    return f"/sign-in/single/{server.organization_id}/{made.json()['id']}"


def go(server: Server, provider: Provider, path: str, subject: str) -> tuple[httpx2.Client, httpx2.Response]:
    """Sign in through a provider; return the browser and the answer to its way back."""
    client = browser(server)
    out = client.get(path)
    assert out.status_code == 303, out.text
    back = provider.consent(out.headers["location"], subject)
    parts = urlsplit(back)
    return client, client.get(f"{parts.path}?{parts.query}")


def query_of(address: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
