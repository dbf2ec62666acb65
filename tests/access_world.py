"""Two organizations that are twins on one server, and every kind of caller of the first: the world of the matrix.

Each tenant's texts hold a canary of its own, and so does each of its workspaces: what leaks can be told by a search.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from people import PASSWORD
from server import PROGRAM, REQUEST_SECONDS, Server, event

SESSION_ROLES = ("owner", "admin", "member", "viewer", "auditor", "workspace_auditor", "key_manager")
ROLES = (
    "anonymous", *SESSION_ROLES, "admin_key", "read_key", "write_key", "workspace_key", "operator_key", "viewer_token",
)  # fmt: skip
# Who sees a part of the log only.
NARROW = frozenset({"workspace_auditor", "workspace_key", "viewer_token"})
CONTEXTS = ("own", "other_workspace", "other_organization", "unknown")
# Each address may fail 60 times at once.
ADDRESSES = tuple(f"127.0.1.{number}" for number in range(1, 40))


@dataclass
class Tenant:
    """One organization: what its manager made in it, by kind and context."""

    name: str
    organization_id: str
    client: httpx2.Client
    things: dict[str, dict[str, str]] = field(default_factory=dict)

    def canary(self, place: str) -> str:
        """Return the text that stands in everything of a place: `one`, `two` (workspaces) or `level`."""
        return f"canary-{self.name}-{place}"

    def post(self, path: str, wish: Any = None, **more: Any) -> Any:
        """Make something as the tenant's manager."""
        answer = self.client.post(path, json=wish, **more)
        assert answer.status_code in (200, 201), f"{path}: {answer.text}"
        return answer.json()


class World:
    """The twins, and the callers of the first one."""

    def __init__(self, server: Server, database: str) -> None:
        self.server = server
        self._database = database
        self._unknown: dict[tuple[str, str], tuple[int, str, list[tuple[str, str]]]] = {}
        self._anonymous = itertools.cycle([self._client({}, address=one) for one in ADDRESSES])
        first = Tenant("ada", str(server.organization_id), server.client())
        made = _run(server, "organizations", "create", "Twin", database=database)
        key = made.stdout.strip()
        client = self._client({"Authorization": f"Bearer {key}"})
        second = Tenant("bob", client.get("/v1/me").json()["organization_id"], client)
        self.first, self.second = first, second
        for tenant in (first, second):
            self._furnish(tenant)
        self.callers = {**self._people(), **self._keys(key)}

    def _client(self, headers: dict[str, str], *, address: str | None = None) -> httpx2.Client:
        transport = httpx2.HTTPTransport(local_address=address) if address else None
        made = httpx2.Client(
            base_url=self.server.url, headers=headers, timeout=REQUEST_SECONDS, verify=False, transport=transport
        )  # fmt: skip
        self.server._clients.append(made)
        return made

    def caller(self, role: str) -> httpx2.Client:
        """Return the client of a role; whoever shows nothing comes from another address each time."""
        return next(self._anonymous) if role == "anonymous" else self.callers[role]

    def _furnish(self, tenant: Tenant) -> None:
        things = {
            "workspace": {"own": f"ws-{tenant.name}-1", "other_workspace": f"ws-{tenant.name}-2"},
            "event": {}, "position": {}, "name": {"own": f"acme.{tenant.name}.made"},
        }  # fmt: skip
        schema = {"type": "object", "properties": {"metadata": {"type": "object", "required": ["wanted"]}}}
        tenant.post("/v1/actions", {
            "name": things["name"]["own"], "version": 1, "title": f"Made by {tenant.name}", "verb": "create",
            "target_type": "thing", "schema": schema,
        })  # fmt: skip
        for place, context in (("one", "own"), ("two", "other_workspace"), ("level", "level")):
            workspace = things["workspace"].get(context)
            text = tenant.canary(place)
            if workspace is not None:
                tenant.post("/v1/workspaces", {"id": workspace, "display_name": text})
            recorded = tenant.post("/v1/events", _event(text, workspace, things["name"]["own"]))
            things["event"][context], things["position"][context] = recorded["id"], str(recorded["position"])
        tenant.things = things

    def _people(self) -> dict[str, httpx2.Client]:
        made: dict[str, httpx2.Client] = {}
        own_role = self.first.post("/v1/roles", {"name": "Key manager", "permissions": ["keys:manage"]})["id"]
        for role in SESSION_ROLES:
            of_organization = {"workspace_auditor": "MEMBER", "key_manager": own_role}.get(role, role.upper())
            wish: dict[str, Any] = {"email": f"{role}@ada.example", "role": of_organization}
            if role == "workspace_auditor":
                wish["workspaces"] = {self.first.things["workspace"]["own"]: "AUDITOR"}
            made[role] = self._sign_in(self.first.post("/v1/members", wish)["link"]["path"])
        return made

    def _sign_in(self, path: str) -> httpx2.Client:
        client = self._client({"Origin": self.server.url, "User-Agent": "tests"})
        answer = client.post(path, data={"name": "Some One", "password": PASSWORD, "again": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client

    def _keys(self, twins: str) -> dict[str, httpx2.Client]:
        server, own = self.server, self.first.things["workspace"]["own"]
        operator = _run(
            server, "operator-keys", "create", "the operator", "-p", "admin", database=self._database
        )
        viewer = self.first.post(
            "/v1/viewer-sessions", {"filters": {"workspace": own}, "expires_in_seconds": 3600}
        )
        exchanged = self._client({"Authorization": f"Bearer {viewer['token']}"}).post(
            "/v1/viewer-sessions:exchange"
        )
        assert exchanged.status_code == 201, exchanged.text
        secrets_of = {
            "admin_key": server.admin_key,
            "read_key": server.key("read"),
            "write_key": server.write_key,
            "workspace_key": server.key("read", "write", workspace=own),
            "operator_key": operator.stdout.strip(),
            "viewer_token": exchanged.json()["token"],
        }
        more = {"X-Organization-Id": str(server.organization_id)}
        return {
            role: self._client(
                {"Authorization": f"Bearer {secret}", **(more if role == "operator_key" else {})}
            )
            for role, secret in secrets_of.items()
        }

    def thing(self, kind: str, context: str) -> str | None:
        """Return the id of a thing of `kind` as it is in a context; None where there is no such thing.

        What can be used up is made anew each time.
        """
        if context == "unknown":
            return _UNKNOWN[kind]()
        if kind == "position" and context == "other_organization":
            return None  # every log has the same positions
        tenant = self.second if context == "other_organization" else self.first
        at = "own" if context == "other_organization" else context
        if kind in tenant.things:
            return tenant.things[kind].get(at)
        if kind == "fresh_workspace" and at == "other_workspace":
            return None
        return None if at == "other_workspace" else getattr(self, f"_{kind}")(tenant)

    def _key(self, tenant: Tenant) -> str:
        return tenant.post("/v1/keys", {"name": tenant.canary("level"), "permissions": ["read"]})["id"]

    def _member(self, tenant: Tenant) -> str:
        email = f"{secrets.token_hex(6)}@{tenant.name}.example"
        return tenant.post("/v1/members", {"email": email, "role": "VIEWER"})["member"]["id"]

    def _placed_member(self, tenant: Tenant) -> str:
        email = f"{secrets.token_hex(6)}@{tenant.name}.example"
        placed = {tenant.things["workspace"]["own"]: "VIEWER"}
        return tenant.post("/v1/members", {"email": email, "role": "VIEWER", "workspaces": placed})["member"][
            "id"
        ]

    def _role(self, tenant: Tenant) -> str:
        wish = {"name": f"{tenant.canary('level')} {secrets.token_hex(4)}", "permissions": ["auditLogs:read"]}
        return tenant.post("/v1/roles", wish)["id"]

    def _group(self, tenant: Tenant) -> str:
        schema = "urn:ietf:params:scim:schemas:core:2.0:Group"
        name = f"{tenant.canary('level')} {secrets.token_hex(4)}"
        return tenant.post("/scim/v2/Groups", {"schemas": [schema], "displayName": name})["id"]

    def _team(self, tenant: Tenant) -> str:
        return tenant.post("/v1/teams", {"display_name": tenant.canary("level")})["id"]

    def _fresh_workspace(self, tenant: Tenant) -> str:
        return tenant.post("/v1/workspaces", {"display_name": tenant.canary("level")})["id"]

    def _viewer(self, tenant: Tenant) -> str:
        wish = {"filters": {"workspace": tenant.things["workspace"]["own"]}}
        return tenant.post("/v1/viewer-sessions", wish)["id"]

    def _session(self, tenant: Tenant) -> str:
        member = self._member(tenant)
        made = f"ses_{secrets.token_hex(8)}"
        self._execute(
            "INSERT INTO sessions (organization_id, id, sha256, member_id, method, access_version, expires_at) "
            "VALUES (%s, %s, %s, %s, 'password', 0, now() + interval '1 hour')",
            (tenant.organization_id, made, os.urandom(32), member),
        )
        return made

    def _second_factor(self, tenant: Tenant) -> str:
        member = self._member(tenant)
        self._execute(
            "UPDATE members SET totp_secret = 'x', totp_enabled_at = now() WHERE organization_id = %s AND id = %s",
            (tenant.organization_id, member),
        )
        return member

    def _provider(self, tenant: Tenant) -> str:
        made = f"idp_{secrets.token_hex(8)}"
        self._execute(
            "UPDATE identity_providers SET deleted_at = now() WHERE organization_id = %s",
            (tenant.organization_id,),
        )
        self._execute(
            "INSERT INTO identity_providers (organization_id, id, display_name, issuer, client_id) "
            "VALUES (%s, %s, %s, 'https://id.example.com', 'x')",
            (tenant.organization_id, made, tenant.canary("level")),
        )
        return made

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute(statement, values)  # type: ignore[arg-type]

    def ask(
        self, row: dict[str, Any], role: str, context: str
    ) -> tuple[httpx2.Response, dict[str, str]] | None:
        """Send the request of a row of the matrix; None where nothing is like that. Returns what was put in too."""
        ids: dict[str, str] = {}

        def put_in(match: re.Match[str]) -> str:
            kind = match[1]
            # Of several things only the first is a stranger's: the others are the caller's own.
            made = self.thing(kind, context if not ids else "own")
            if made is None:
                raise LookupError(kind)
            ids[kind] = made
            return made

        method, _, target = row["request"].partition(" ")
        body = row.get("body")
        try:
            target = re.sub(r"<(\w+)>", put_in, target)
            body = None if body is None else re.sub(r"<(\w+)>", put_in, body)
        except LookupError:
            return None
        headers = dict(row.get("headers", {}))
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = body.replace("$random", secrets.token_hex(8)).replace("$uuid", str(uuid4()))
        return self.caller(role).request(method, target, content=body, headers=headers), ids

    def unknown(self, name: str, row: dict[str, Any], role: str) -> tuple[int, str, list[tuple[str, str]]]:
        """Return what a caller gets for an id that nobody has, asked once for each row and role."""
        if (name, role) not in self._unknown:
            asked = self.ask(row, role, "unknown")
            assert asked is not None
            self._unknown[name, role] = comparable(*asked)
        return self._unknown[name, role]

    def leaks(self, role: str, text: str) -> list[str]:
        """Return the canaries in an answer that its caller must not see."""
        forbidden = ["canary-bob-", "acme.bob.", "Made by bob", self.second.organization_id]
        if role in NARROW:
            forbidden += [self.first.canary("two"), self.first.canary("level")]
        return [one for one in forbidden if one in text]


def _event(text: str, workspace: str | None, action: str) -> dict[str, Any]:
    return event(
        action=action, workspace=workspace, metadata={"note": text}, before={"text": text}, after={"text": text + "!"},
        actor={"type": "user", "id": f"usr-{text}", "name": text, "email": f"{text}@example.com"},
        targets=[{"type": "thing", "id": f"id-{text}", "name": text}],
        context={"request_id": f"req-{text}", "user_agent": text},
    )  # fmt: skip


_UNKNOWN: dict[str, Callable[[], str]] = {
    "event": lambda: str(uuid4()), "position": lambda: "999999", "workspace": lambda: "ws-nobody-1",
    "fresh_workspace": lambda: "wsp_0000000000000000", "name": lambda: "acme.nobody.made",
    "key": lambda: "key_0000000000000000", "member": lambda: "mbr_0000000000000000",
    "placed_member": lambda: "mbr_0000000000000000", "second_factor": lambda: "mbr_0000000000000000",
    "role": lambda: "rol_0000000000000000", "team": lambda: "team_0000000000000000",
    "viewer": lambda: "vwt_0000000000000000", "session": lambda: "ses_0000000000000000",
    "provider": lambda: "idp_0000000000000000", "group": lambda: "grp_0000000000000000",
}  # fmt: skip


def _run(server: Server, *words: str, database: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    done = subprocess.run(
        [*PROGRAM, *words, "--data", str(server.data)],
        env=clean | {"TALLYSTICK_DATABASE_URL": database},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def comparable(answer: httpx2.Response, ids: dict[str, str]) -> tuple[int, str, list[tuple[str, str]]]:
    """Return what an answer says apart from the ids that were asked for and its own request's."""
    text = answer.text
    for made in ids.values():
        text = text.replace(made, "<id>") if len(made) > 6 else text
    text = re.sub(r'"request_id": ?"[^"]*"', "", text)
    # The log grows between two questions, and what is made has an id and a secret of its own.
    text = re.sub(r'"checkpoint": ?"[^"]*"', "", text)
    text = re.sub(r"\b(vwt|key|tst|mbr|rol|team|wsp|tsl|ses)_[\w-]+", r"\1_", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "<time>", text)
    headers = [(k, v) for k, v in answer.headers.items() if k not in ("date", "content-length")]
    return answer.status_code, text, headers


def cells(matrix: dict[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    """Yield (row, role, context, status) of a matrix; 0 in a row of statuses says that there is no such cell."""
    for name, row in matrix.items():
        for context in CONTEXTS:
            for role, status in zip(ROLES, row.get(context, ()), strict=context in row):
                yield name, role, context, status
