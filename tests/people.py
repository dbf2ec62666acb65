"""People for the tests: the first owner through the printed link, further members, and browsers' worth of clients."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx2
import psycopg

from server import REQUEST_SECONDS, Server

OWNER = "ada@example.com"
PASSWORD = "correct horse battery staple"
COOKIE = "tallystick"
_owners: dict[str, str] = {}


def browser(server: Server, *, url: str = "", **headers: str) -> httpx2.Client:
    """Return a client that keeps cookies and sends its origin as a browser does; it follows no redirect."""
    base = url or server.url
    made = httpx2.Client(
        base_url=base, headers={"Origin": base, "User-Agent": "tests", **headers}, timeout=REQUEST_SECONDS, verify=False
    )  # fmt: skip
    server._clients.append(made)
    return made


def printed_link(server: Server) -> str:
    """Return the path of the link that makes the first owner, as the server printed it last."""
    found = re.findall(r"(?:https?://\S+)?(/sign-in/link/tsl_[\w-]+)", server.log())
    assert found, server.log()
    return found[-1]


def become_owner(
    server: Server, client: httpx2.Client, *, email: str = OWNER, password: str = PASSWORD
) -> httpx2.Response:
    """Use the printed link."""
    form = {"email": email, "name": "Ada Lovelace", "password": password, "again": password}
    return client.post(printed_link(server), data=form)


def with_password(
    client: httpx2.Client, email: str, password: str = PASSWORD, to: str = "/"
) -> httpx2.Response:
    """Send the sign-in form."""
    return client.post("/sign-in", data={"email": email, "password": password, "to": to})


def sign_in(server: Server, email: str = OWNER, password: str = PASSWORD) -> httpx2.Client:
    """Return a browser in which a member has signed in; the first call for a server makes its first owner."""
    client = browser(server)
    key = f"{server.url} {server.process.pid}"
    if email == OWNER and key not in _owners and "/sign-in/link/tsl_" in server.log():
        answer = become_owner(server, client)
        if answer.status_code == 303:
            _owners[key] = email
            return client
    answer = with_password(client, email, password)
    assert answer.status_code == 303, answer.text
    assert session_of(client) is not None
    return client


def session_of(client: httpx2.Client) -> str | None:
    """Return the session's token in a client's jar."""
    return next((one.value for one in client.cookies.jar if one.name in (COOKIE, f"__Host-{COOKIE}")), None)


def execute(server: Server, statement: str, *values: object) -> list[tuple]:
    """Run SQL as the owner of the tables."""
    assert server.database is not None
    with psycopg.connect(server.database.url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def add_member(
    server: Server, email: str, role: str = "MEMBER", *, password: str | None = PASSWORD, name: str = ""
) -> str:
    """Make a member, let it set its password through a link, and return its id."""
    member_id = "mbr_" + email.partition("@")[0].replace(".", "_")
    execute(
        server,
        "INSERT INTO members (organization_id, id, email, display_name, role) VALUES (%s, %s, %s, %s, %s)",
        server.organization_id, member_id, email, name or email.partition("@")[0].title(), role,
    )  # fmt: skip
    if password is not None:
        set_password(server, email, password)
    return member_id


def link_for(server: Server, **whom: str) -> str:
    """Make a link with the admin key and return its path."""
    with server.client() as client:
        made = client.post("/v1/sign-in-links", json=whom)
    assert made.status_code == 201, made.text
    return urlsplit(made.json()["url"]).path


def set_password(server: Server, email: str, password: str = PASSWORD) -> httpx2.Client:
    """Use a fresh link of a member to set its password; return the browser it is signed in with."""
    client = browser(server)
    path = link_for(server, email=email)
    answer = client.post(path, data={"name": "", "password": password, "again": password})
    if answer.status_code != 303:  # an invitation asks for the name too
        answer = client.post(
            path, data={"name": email.partition("@")[0].title(), "password": password, "again": password}
        )
    assert answer.status_code == 303, answer.text
    return client


def events_of(server: Server, action: str) -> list[dict]:
    """Return the events of one action in the log, newest first."""
    with server.client() as client:
        answer = client.get("/v1/events", params={"stream": "tallystick", "action": action, "limit": 100})
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["events"] if one["action"] == action]
