"""Recording: what an application says is what the log holds, and what it must not say never leaves it."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tallystick
from server import Server
from tallystick import Agent, Anonymous, ApiKey, Secret, Service, System, Target, User, snapshot
from tallystick.event.identity import uuid7, uuid7_text
from tallystick.event.limits import EVENT_BYTES_MAX
from tallystick.event.outgoing import SDK_FLAGS

ADA = User("usr_1", name="Ada", email="ada@acme.com", role="admin", workspace_role="owner")
Logged = Callable[[str], dict[str, Any]]
MakeAudit = Callable[..., tallystick.Audit]


def test_what_is_recorded_is_in_the_log(audit: tallystick.Audit, logged: Logged) -> None:
    """Every argument must arrive under its own name, or an auditor reads something nobody said."""
    receipt = audit.record(
        "api_key.create", actor=ADA, target=Target("api_key", "key_9", name="ci"), targets=[Target("team", "t1")],
        workspace="prj_9", after={"scopes": ["read"]}, before=None, outcome="failure", error={"code": "E1"},
        metadata={"via": "ui"}, context={"ip": "192.0.2.7", "request_id": "req_1"}, stream="gateway",
        occurred_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
    )  # fmt: skip
    assert receipt.durable
    assert UUID(receipt.id).version == 7
    assert audit.flush()
    found = logged(receipt.id)
    assert found["actor"] == {
        "type": "user", "id": "usr_1", "name": "Ada", "email": "ada@acme.com",
        "roles": {"organization": "admin", "workspace": "owner"},
    }  # fmt: skip
    assert [target["id"] for target in found["targets"]] == ["key_9", "t1"]
    assert (found["workspace"], found["stream"], found["outcome"]) == ("prj_9", "gateway", "failure")
    assert (found["before"], found["after"]) == (None, {"scopes": ["read"]})
    assert (found["error"], found["metadata"]) == ({"code": "E1"}, {"via": "ui"})
    assert (found["context"]["ip"], found["context"]["request_id"]) == ("192.0.2.7", "req_1")
    assert found["occurred_at"].startswith("2026-06-01T12:00:00")


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (ApiKey("key_1", name="ci"), {"type": "api_key", "id": "key_1", "name": "ci"}),
        (Service("svc"), {"type": "service", "id": "svc"}),
        (System(), {"type": "system"}),
        (Anonymous(), {"type": "anonymous"}),
        (
            Agent("agt_1", model="m", run_id="r", on_behalf_of=User("u", on_behalf_of=Service("s"))),
            {"type": "agent", "id": "agt_1", "on_behalf_of": [{"type": "user", "id": "u"}, {"type": "service", "id": "s"}]},
        ),
    ],
)  # fmt: skip
def test_actors(audit: tallystick.Audit, logged: Logged, actor: Any, expected: dict[str, Any]) -> None:
    """Each kind of actor, and on whose behalf it acts, must be told apart in the log."""
    committed = audit.record("run.start", actor=actor, wait=True)
    found = logged(committed.id)
    assert found["actor"] == expected
    if isinstance(actor, Agent):
        assert found["metadata"] == {"agent": {"model": "m", "run_id": "r"}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"action": "no spaces"}, "/action"),
        ({"actor": None}, "/actor"),
        ({"actor": {"type": "user"}}, "/actor"),
        ({"actor": User("")}, "/actor/id"),
        ({"actor": User(None)}, "/actor/id"),  # type: ignore[arg-type]
        ({"target": Target("dataset", "")}, "/targets/0/id"),
        ({"target": Target("dataset", None)}, "/targets/0/id"),  # type: ignore[arg-type]
        ({"target": Target("", "x")}, "/targets/0/type"),
        ({"target": "ds_1"}, "/targets/0"),
        ({"outcome": "ok"}, "/outcome"),
        ({"occurred_at": datetime(2026, 1, 1)}, "/occurred_at"),
        ({"id": "not-a-uuid"}, "/id"),
        ({"stream": "Not A Slug"}, "/stream"),
        ({"workspace": ""}, "/workspace"),
        ({"targets": [Target("a", str(n)) for n in range(101)]}, "/targets"),
        ({"context": {"port": 1}}, "/context/port"),
    ],
)
def test_mistakes_are_told_where_they_are_made(
    audit: tallystick.Audit, fields: dict[str, Any], path: str
) -> None:
    """A mistake found only by the server would be found only by whoever reads dead letters."""
    arguments = {"action": "dataset.delete", "actor": ADA, **fields}
    action = arguments.pop("action")
    with pytest.raises(tallystick.ValidationError) as caught:
        audit.record(action, **arguments)
    assert caught.value.path == path
    assert audit.stats().queued == 0


def test_a_circle_of_delegation_is_refused(audit: tallystick.Audit) -> None:
    """A chain of nine, or one without end, cannot be written down and must not hang."""
    link: Any = User("u0")
    for number in range(9):
        link = User(f"u{number + 1}", on_behalf_of=link)
    with pytest.raises(tallystick.ValidationError):
        audit.record("run.start", actor=link)


CANARY = "sk-proj-abcdefABCDEF0123456789abcdef"


def test_secrets_never_touch_the_disk(make_audit: MakeAudit, tmp_path: Path) -> None:
    """A secret in the spool is a secret in every backup of that disk."""
    audit = make_audit(url="http://127.0.0.1:9", profile="durable")
    audit.record(
        "key.create", actor=User("usr_1", name=f"Ada {CANARY}"), target=Target("key", f"k {CANARY}"),
        before={"password": "hunter2hunter2", "nested": [{"api_key": "plainvalue77"}]},
        after={"note": f"use {CANARY} please", "wrapped": Secret("wrapped-value-99")},
        metadata={"authorization": "Bearer zzzzyyyyxxxx", "dsn": "postgres://u:p4ssw0rdX@db/x"},
        error=ValueError(f"bad key {CANARY}"), context={"user_agent": f"x {CANARY}"},
    )  # fmt: skip
    written = b"".join(path.read_bytes() for path in (tmp_path / "spool").iterdir())
    assert b"key.create" in written
    for secret in (
        CANARY, "hunter2hunter2", "plainvalue77", "wrapped-value-99", "zzzzyyyyxxxx", "p4ssw0rdX",
    ):  # fmt: skip
        assert secret.encode() not in written, secret


def test_equal_secrets_have_equal_fingerprints(audit: tallystick.Audit) -> None:
    """Whether a secret changed must be visible without the secret being so."""
    import json

    _, raw = audit.compose(
        "key.rotate", actor=ADA, before={"a": Secret("x"), "b": Secret("x"), "c": Secret("y")}
    )
    before = json.loads(raw)["before"]
    assert before["a"] == before["b"] != before["c"]
    assert "x" not in repr(Secret("x"))


def test_the_same_id_is_in_the_log_once(audit: tallystick.Audit, search: Callable[..., Any]) -> None:
    """A job that is run again must not be two acts."""
    id = uuid4()
    at = datetime(2026, 6, 1, tzinfo=UTC)
    for _ in range(3):
        audit.record("job.idempotent", actor=ADA, id=id, occurred_at=at)
    assert audit.flush()
    assert [event["id"] for event in search(action="job.idempotent")] == [str(id)]
    assert audit.stats().dead == 0


def test_waiting_gives_a_place_and_a_proof(audit: tallystick.Audit, server: Server) -> None:
    """ "No log, no action" needs proof that there is a log."""
    committed = audit.record("model.delete", actor=ADA, wait=True)
    assert committed.position >= 0
    assert f"index {committed.position}\n" in committed.receipt
    assert server.verifier.name in committed.receipt
    assert audit.stats().queued == 0


def test_waiting_is_told_what_the_server_refuses(make_audit: MakeAudit, server: Server) -> None:
    """A refusal must reach whoever waits, and the event must not be gone."""
    audit = make_audit(api_key=server.key("auditLogs:write", workspace="mine"))
    with pytest.raises(tallystick.ServerRejected):
        audit.record("model.delete", actor=ADA, workspace="theirs", wait=True)
    assert audit.flush(30), "the news of it is sent"
    assert audit.stats().dead == 1


def test_waiting_in_vain_keeps_the_event(make_audit: MakeAudit) -> None:
    """When nobody answers, the caller must know, and the event must still be sent one day."""
    audit = make_audit(url="http://127.0.0.1:9")
    with pytest.raises(tallystick.NotConfirmed):
        audit.record("model.delete", actor=ADA, wait=True, timeout=0.3)
    assert audit.stats().queued == 1


def test_an_event_too_large_is_cut_and_says_so(audit: tallystick.Audit, logged: Logged) -> None:
    """An act with a large state must be in the log, with the length and hash of what is not."""
    texts = audit.record("doc.write", actor=ADA, after={"text": "ä" * EVENT_BYTES_MAX, "n": 1})
    many = audit.record("doc.write", actor=ADA, before={"n": 1}, after={str(n): n for n in range(40_000)})
    assert audit.flush()
    assert f"[truncated {EVENT_BYTES_MAX} characters, sha256 " in logged(texts.id)["after"]["text"]
    assert logged(texts.id)["after"]["n"] == 1
    assert logged(many.id)["after"]["$truncated"]["bytes"] > EVENT_BYTES_MAX
    assert logged(many.id)["before"] == {"n": 1}


def test_what_an_attacker_writes_does_not_stop_his_record(audit: tallystick.Audit, logged: Logged) -> None:
    """Whoever can choose a name or header must not be able to prevent the event about himself."""
    receipt = audit.record(
        "user.login", actor=User("u" * 5_000, name="n\0ul \ud800"), metadata={"big": 2**70, "not": float("nan")},
        context={"ip": "nonsense", "user_agent": "x" * 10_000},
    )  # fmt: skip
    assert audit.flush()
    found = logged(receipt.id)
    assert len(found["actor"]["id"]) <= 512
    assert found["actor"]["name"] == "n\ufffdul \ufffd"
    assert (found["metadata"]["big"], found["metadata"]["not"]) == (str(2**70), "NaN")
    kinds = {flag["kind"] for flag in found["metadata"][SDK_FLAGS]}
    assert {"truncated", "nul", "surrogate", "number_as_string"} <= kinds


# Snapshots


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    at: datetime


@dataclasses.dataclass
class Config:
    name: str
    price: Decimal
    inner: Inner
    secret: str = "s3cret"
    tags: set[str] = dataclasses.field(default_factory=lambda: {"b", "a"})
    colour: Colour = Colour.RED
    hook: Any = len


@attrs.define
class Attrs:
    x: int = 1


class Model(pydantic.BaseModel):
    token: pydantic.SecretStr = pydantic.SecretStr("hidden-value")
    nested: dict[str, int] = {"a": 1}


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("do not touch")


def test_snapshots_are_plain_and_independent(audit: tallystick.Audit) -> None:
    """A state that changes after it was taken would show a change that never was, or hide one."""
    import json

    config = Config("n", Decimal("1.10"), Inner(datetime(2026, 1, 1, tzinfo=UTC)))
    before = snapshot(config, exclude={"secret"})
    config.inner.at = datetime(2027, 1, 1, tzinfo=UTC)
    config.tags.add("c")
    assert before == {
        "name": "n", "price": "1.10", "inner": {"at": "2026-01-01T00:00:00+00:00"}, "tags": ["a", "b"], "colour": "red",
        "hook": "[function builtins.len]",
    }  # fmt: skip
    assert snapshot(Attrs()) == {"x": 1}
    _, raw = audit.compose(
        "x.y", actor=ADA, before=snapshot(Model()), after=Model(), metadata={"h": Hostile()}
    )
    event = json.loads(raw)
    assert event["before"] == event["after"]
    assert "hidden-value" not in raw.decode()
    assert event["metadata"]["h"].startswith("[object ")


def test_circles_and_depths_end(audit: tallystick.Audit) -> None:
    """An object graph without an end must cost a marker, not the process."""
    circle: dict[str, Any] = {"a": 1}
    circle["self"] = [circle, circle]
    deep: Any = "bottom"
    for _ in range(3_000):
        deep = [deep]
    assert audit.record("x.y", actor=ADA, before=circle, after=deep).durable


# Context


def test_context_holds_inside_and_ends_outside(audit: tallystick.Audit) -> None:
    """An actor left behind by one request would sign the acts of the next."""
    import json

    with audit.context(actor=ADA, workspace="w", request_id="r1", metadata={"a": 1}):
        with audit.context(actor=Service("job"), on_behalf_of=ADA, ip="192.0.2.1"):
            event = json.loads(audit.compose("x.y", metadata={"b": 2})[1])
        assert json.loads(audit.compose("x.y")[1])["actor"]["id"] == "usr_1"
    assert event["actor"]["on_behalf_of"][0]["id"] == "usr_1"
    assert event["context"] == {"request_id": "r1", "ip": "192.0.2.1"}
    assert (event["metadata"], event["workspace"]) == ({"a": 1, "b": 2}, "w")
    with pytest.raises(tallystick.ValidationError):
        audit.record("x.y")
    with pytest.raises(tallystick.ValidationError), audit.context(request="r"):
        pass


async def test_tasks_do_not_share_what_they_bind(audit: tallystick.Audit) -> None:
    """Two requests on one event loop must never be recorded under each other's name."""
    import json

    async def request(name: str) -> str:
        audit.bind(actor=User(name))
        await asyncio.sleep(0.01)
        return json.loads(audit.compose("x.y")[1])["actor"]["id"]

    names = [f"u{n}" for n in range(20)]
    assert await asyncio.gather(*map(request, names)) == names


# Acts


def test_a_block_records_how_it_ended(
    audit: tallystick.Audit, logged: Logged, search: Callable[..., Any]
) -> None:
    """A failure that is not recorded is what an attacker tries until it succeeds."""
    with audit.action("sso.update", actor=ADA, target=Target("sso", "1")) as event:
        event.before = {"on": False}
        event.after = {"on": True}
    with pytest.raises(KeyError), audit.action("sso.fail", actor=ADA):
        raise KeyError("nope")
    with pytest.raises(PermissionError), audit.action("sso.deny", actor=ADA):
        raise PermissionError("not yours")
    with pytest.raises(KeyboardInterrupt), audit.action("sso.interrupt", actor=ADA):
        raise KeyboardInterrupt
    with audit.action("sso.nothing", actor=ADA) as event:
        event.drop()
    assert audit.flush()
    found = {event["action"]: event for event in search(action="^sso.")}
    assert {name: event["outcome"] for name, event in found.items()} == {
        "sso.update": "success", "sso.fail": "failure", "sso.deny": "denied", "sso.interrupt": "unknown",
    }  # fmt: skip
    assert found["sso.fail"]["error"] == {"type": "KeyError", "message": "'nope'"}
    assert found["sso.update"]["after"] == {"on": True}
    assert found["sso.update"]["metadata"]["duration_ms"] >= 0


async def test_decorated_functions(audit: tallystick.Audit, search: Callable[..., Any]) -> None:
    """What a decorator wraps must behave as before, and every way it ends must be in the log."""

    @audit.audited("deco.dataset.delete", target=lambda dataset_id, **_: Target("dataset", dataset_id))
    def delete_dataset(dataset_id: str, *, fail: bool = False) -> str:
        """Delete."""
        if fail:
            raise ValueError("no")
        return dataset_id.upper()

    @audit.audited("deco.prompt.update")
    async def update_prompt(prompt_id: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"prompt": {"id": prompt_id, "name": "greeting"}}

    with audit.context(actor=ADA):
        assert delete_dataset("ds_1") == "DS_1"
        with pytest.raises(ValueError, match="no"):
            delete_dataset("ds_2", fail=True)
        await update_prompt("p1")
    assert delete_dataset.__doc__ == "Delete."
    assert audit.flush()
    found = {(e["action"], e["outcome"]): e for e in search(action="^deco.")}
    assert found["deco.dataset.delete", "success"]["targets"] == [{"type": "dataset", "id": "ds_1"}]
    assert found["deco.dataset.delete", "failure"]["targets"] == [{"type": "dataset", "id": "ds_2"}]
    assert found["deco.prompt.update", "success"]["targets"] == [
        {"type": "prompt", "id": "p1", "name": "greeting"}
    ]


async def test_the_async_twin(server: Server, tmp_path: Path, logged: Logged) -> None:
    """The same arguments must have the same effect from an event loop, which is never held up."""
    audit = tallystick.AsyncAudit(
        url=server.url, api_key=server.write_key, spool=tmp_path, linger_seconds=0.01
    )
    receipts = await asyncio.gather(*(audit.record("async.many", actor=ADA) for _ in range(50)))
    committed = await audit.record("async.wait", actor=ADA, wait=True)
    async with audit.action("async.block", actor=ADA) as event:
        event.after = {"n": 1}
    with pytest.raises(tallystick.ValidationError):
        await audit.record("no spaces", actor=ADA)
    assert all(receipt.durable for receipt in receipts)
    assert await audit.flush()
    assert logged(committed.id)["position"] == committed.position
    assert (await asyncio.to_thread(audit.stats)).sent == 52
    assert await audit.close()


def test_the_spool_is_private(audit: tallystick.Audit, tmp_path: Path) -> None:
    """Events name people; nobody else on the machine may read them."""
    audit.record("x.y", actor=ADA)
    for path in (tmp_path / "spool").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name
    spool = next((tmp_path / "spool").glob("*.spool"))
    assert sqlite3.connect(spool).execute("PRAGMA journal_mode").fetchone() == ("wal",)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ids_are_written_as_the_library_writes_them(unix_ms: int, random: bytes) -> None:
    """An id that is no UUIDv7 would be refused, or sort where it does not belong."""
    assert uuid7_text(unix_ms, random) == str(uuid7(unix_ms, random))
