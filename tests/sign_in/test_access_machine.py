"""Who may do what, however rights come and go: a model beside two real servers on one database."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from people import PASSWORD, browser, session_of, sign_in
from postgres import Cluster, fresh_database
from server import Server, server_folder, start
from sign_in.test_sessions import copy_keys

FIVE_SECONDS = 5.0
READING = {"OWNER": True, "ADMIN": True, "AUDITOR": True, "MEMBER": False, "VIEWER": False}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def pair(postgres_cluster: Cluster, template_database: str) -> Iterator[tuple[Server, Server]]:
    """Two servers on one database."""
    databases = fresh_database(postgres_cluster, template_database)
    folder = server_folder()
    running: list[Server] = []
    try:
        logins = next(databases).logins
        running.append(start(folder / "one", database=logins.owner))
        copy_keys(running[0].data, folder / "two")
        running.append(start(folder / "two", database=logins.owner))
        sign_in(running[0])
        yield running[0], running[1]
    finally:
        for one in running:
            one.stop()
        databases.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(eq=False)
class Member:
    """A member as the model knows it."""

    id: str
    email: str
    role: str
    active: bool = True
    removed: bool = False
    workspaces: dict[str, str] = field(default_factory=dict)

    @property
    def reads(self) -> bool:
        """Whether it may read events somewhere."""
        return READING[self.role] or any(READING[role] for role in self.workspaces.values())


@dataclass(eq=False)
class Session:
    """A session as the model knows it."""

    member: Member
    token: str
    ended: bool = False
    elsewhere: bool = False  # ended on the other server, which this one may learn in five seconds

    @property
    def expected(self) -> int:
        """The status with which events are answered."""
        if self.ended or self.member.removed or not self.member.active:
            return 401
        return 200 if self.member.reads else 403


@dataclass(eq=False)
class Key:
    """A key as the model knows it."""

    id: str
    secret: str
    reads: bool
    revoked: bool = False
    rotated: bool = False

    @property
    def expected(self) -> int:
        """The status with which events are answered."""
        return 401 if self.revoked else 200 if self.reads else 403


class Access(RuleBasedStateMachine):
    """Grant, demote, revoke, sign in and out, rotate, archive; then ask both servers what still opens."""

    members = Bundle("members")
    sessions = Bundle("sessions")
    keys = Bundle("keys")
    workspaces = Bundle("workspaces")
    pair: tuple[Server, Server]

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = self.pair
        self.admin = self.one.client()
        self.all_sessions: list[Session] = []
        self.all_keys: list[Key] = []

    def call(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        """Call the first server as its operator."""
        answer = self.admin.request(method, path, json=body or None)
        assert answer.status_code == status, (method, path, body, answer.text)
        return answer.json()

    @rule(target=members, role=st.sampled_from(sorted(READING)))
    def invite(self, role: str) -> Member:
        """Somebody is invited and sets a password."""
        email = f"person{next(_numbers)}@example.com"
        made = self.call("POST", "/v1/members", 201, email=email, role=role)
        member = Member(made["member"]["id"], email, role)
        form = {"name": email.partition("@")[0], "password": PASSWORD, "again": PASSWORD}
        client = browser(self.one)
        answer = client.post(urlsplit(made["link"]["path"]).path, data=form)
        assert answer.status_code == 303, answer.text
        self.all_sessions.append(Session(member, str(session_of(client))))
        return member

    @rule(target=sessions, member=members, there=st.booleans())
    def signs_in(self, member: Member, there: bool) -> Any:
        """A member signs in on one of the servers."""
        if member.removed or not member.active:  # tried once at the end: failures of one address are limited
            return multiple()
        client = browser(self.two if there else self.one)
        answer = client.post("/sign-in", data={"email": member.email, "password": PASSWORD, "to": "/"})
        assert answer.status_code == 303, answer.text
        self.all_sessions.append(Session(member, str(session_of(client))))
        return self.all_sessions[-1]

    @rule(session=consumes(sessions), there=st.booleans())
    def signs_out(self, session: Session, there: bool) -> None:
        """A member signs out on one of the servers; a session that has ended already changes nothing."""
        server = self.two if there else self.one
        assert browser(server, Cookie=f"tallystick={session.token}").post("/sign-out").status_code == 303
        session.elsewhere = there and session.expected != 401
        session.ended = True

    @rule(member=members, role=st.sampled_from(sorted(READING)))
    def changes_role(self, member: Member, role: str) -> None:
        """A member is promoted or demoted."""
        if member.removed:
            self.call("PATCH", f"/v1/members/{member.id}", 404, role=role)
            return
        self.call("PATCH", f"/v1/members/{member.id}", role=role)
        member.role = role

    @rule(member=members, active=st.booleans())
    def is_switched(self, member: Member, active: bool) -> None:
        """An account is closed or opened again; its sessions do not come back."""
        if member.removed:
            return
        self.call("PATCH", f"/v1/members/{member.id}", active=active)
        member.active = active
        if not active:
            self._end_all(member)

    @rule(member=consumes(members))
    def is_removed(self, member: Member) -> None:
        """A member leaves for good."""
        if member.removed:
            return
        self.call("DELETE", f"/v1/members/{member.id}")
        member.removed = True
        self._end_all(member)

    def _end_all(self, member: Member) -> None:
        for session in self.all_sessions:
            if session.member is member:
                session.ended = True

    @rule(target=workspaces)
    def makes_workspace(self) -> str:
        """A workspace is made."""
        return str(self.call("POST", "/v1/workspaces", 201, display_name=f"Workspace {next(_numbers)}")["id"])

    @rule(
        member=members, workspace=workspaces, role=st.sampled_from(["ADMIN", "AUDITOR", "MEMBER", "VIEWER"])
    )
    def is_granted(self, member: Member, workspace: str, role: str) -> None:
        """A member gets a role in one workspace."""
        if member.removed:
            return
        self.call("PUT", f"/v1/members/{member.id}/workspaces/{workspace}", role=role)
        member.workspaces[workspace] = role

    @rule(member=members, workspace=workspaces)
    def loses_grant(self, member: Member, workspace: str) -> None:
        """A member loses its role in one workspace."""
        if member.removed or workspace not in member.workspaces:
            return
        self.call("DELETE", f"/v1/members/{member.id}/workspaces/{workspace}")
        del member.workspaces[workspace]

    @rule(workspace=workspaces)
    def archives(self, workspace: str) -> None:
        """A workspace is archived: its events stay readable, so nobody's rights change."""
        self.call("PATCH", f"/v1/workspaces/{workspace}", archived=True)

    @rule(target=keys, reads=st.booleans())
    def makes_key(self, reads: bool) -> Key:
        """A key is made."""
        made = self.call("POST", "/v1/keys", 201, name="machine", permissions=["read" if reads else "write"])
        key = Key(made["id"], made["key"], reads)
        self.all_keys.append(key)
        return key

    @rule(target=keys, key=keys)
    def rotates(self, key: Key) -> Any:
        """A key is replaced; the old one works on for a day."""
        if key.revoked or key.rotated:
            answer = self.admin.post(f"/v1/keys/{key.id}:rotate")
            assert answer.status_code in (400, 404, 409), answer.text
            return multiple()
        made = self.call("POST", f"/v1/keys/{key.id}:rotate", 201)
        key.rotated = True
        self.all_keys.append(Key(made["id"], made["key"], key.reads))
        return self.all_keys[-1]

    @rule(key=keys)
    def revokes_key(self, key: Key) -> None:
        """A key is revoked."""
        self.call("DELETE", f"/v1/keys/{key.id}")
        key.revoked = True

    @rule(session=consumes(sessions))
    def revokes_session(self, session: Session) -> None:
        """Those who manage members end somebody's session."""
        listed = self.call("GET", "/v1/sessions")["sessions"]
        before = [one["id"] for one in listed if one["member_id"] == session.member.id]
        for session_id in before:
            self.call("DELETE", f"/v1/sessions/{session_id}")
        self._end_all(session.member)

    @invariant()
    def the_first_server_agrees_at_once(self) -> None:
        """Where a change was made it counts with the next request."""
        near = [one for one in self.all_sessions[-4:] if not one.elsewhere]
        self._compare(self.one, near, self.all_keys[-3:])

    def _compare(self, server: Server, sessions: list[Session], keys: list[Key]) -> None:
        for session in sessions:
            answer = browser(server, Cookie=f"tallystick={session.token}").get("/v1/events?limit=1")
            assert answer.status_code == session.expected, (server.url, session, answer.text)
        for key in keys:
            with server.client(key.secret) as client:
                answer = client.get("/v1/events?limit=1")
            assert answer.status_code == key.expected, (server.url, key, answer.text)

    def teardown(self) -> None:
        """After five seconds both servers agree with the model about everything that ever opened something."""
        if self.all_sessions or self.all_keys:
            time.sleep(FIVE_SECONDS)
            for server in (self.two, self.one):
                self._compare(server, self.all_sessions, self.all_keys)
        closed = next(
            (one.member for one in self.all_sessions if one.member.removed or not one.member.active), None
        )
        if closed is not None:
            client = browser(self.two)
            answer = client.post("/sign-in", data={"email": closed.email, "password": PASSWORD, "to": "/"})
            assert answer.status_code == 401
            assert session_of(client) is None
        self.admin.close()


def test_what_the_model_forbids_never_succeeds(pair: tuple[Server, Server]) -> None:
    """Some order of grants, revocations and sign-ins would leave a door open that was closed."""
    Access.pair = pair
    run_state_machine_as_test(
        Access,
        settings=settings(
            max_examples=6, stateful_step_count=16, deadline=None, derandomize=True, database=None,
            phases=[Phase.generate],  # a step takes real time: a failure is told at once, not made smaller
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
