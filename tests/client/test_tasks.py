"""Tasks and jobs: who sent the work is who acts in it, whatever process does it, and each run can be an event."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import tallystick
from tallystick import Agent, ApiKey, Service, System, Target, User
from tallystick.client.context import Bound, bind, bound_carried, carried, current, within

from .fake import Fake
from .fake_redis import fake_redis

ADA = User("usr_1", name="Ada", email="ada@acme.com", role="admin")
Events = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def audit(make_audit: Callable[..., tallystick.Audit], fake: Fake) -> tallystick.Audit:
    return make_audit(url=fake.url, profile="fast")


@pytest.fixture
def recorded(audit: tallystick.Audit, fake: Fake) -> Events:
    def take() -> list[dict[str, Any]]:
        assert audit.flush(30)
        return list(fake.stored.values())

    return take


@pytest.mark.parametrize(
    "bound",
    [
        Bound(actor=ADA, workspace="w", stream="s", metadata={"a": {"b": [1]}}, places={"request_id": "r", "ip": "192.0.2.1"}),
        Bound(actor=Agent("bot", model="m", run_id="r", on_behalf_of=ApiKey("k", on_behalf_of=ADA)), on_behalf_of=ADA),
        Bound(actor=System()),
        Bound(places={"request_id": "r"}),
    ],
)  # fmt: skip
def test_a_context_survives_the_way(bound: Bound) -> None:
    """What is bound must arrive whole in another process, down to the end of a chain of delegation."""
    import json

    with within(bound):
        said = json.loads(json.dumps(carried()))
    assert bound_carried(said) == bound


def test_what_does_not_travel() -> None:
    """Nothing bound is nothing sent; no secret goes into a message; nonsense from a broker binds nothing."""
    assert carried() is None
    with within(Bound(actor=lambda: ADA, metadata={"key": tallystick.Secret("hunter2")})):
        said = carried()
    assert said is not None
    assert "hunter2" not in str(said)
    assert said["actor"]["id"] == "usr_1"
    for nonsense in (
        None,
        "x",
        {"actor": {"type": "king"}},
        {"actor": {"type": "user"}},
        {"places": 3},
        {"actor": []},
    ):
        assert bound_carried(nonsense) == Bound()


def test_celery(audit: tallystick.Audit, recorded: Events) -> None:
    """A task must be done in the name of whoever sent it, retried and failed runs must be told, schedules have a name."""
    celery = pytest.importorskip("celery", reason="celery is not installed")
    from celery.contrib.testing.worker import start_worker

    from tallystick.celery import Audited

    app = celery.Celery("reports", broker="memory://", backend="cache+memory://")
    app.conf.update(task_always_eager=False, broker_connection_retry_on_startup=True)
    Audited(app, audit=audit, record=True)

    @app.task(name="report.build")
    def build(id: str) -> str:
        audit.record("report.build", target=Target("report", id))
        return id

    @app.task(name="report.deny")
    def deny() -> None:
        raise PermissionError("not this one")

    @app.task(name="report.flaky", bind=True, max_retries=1, default_retry_delay=0)
    def flaky(self: Any) -> None:
        if self.request.retries == 0:
            raise self.retry(exc=ValueError("first time"))

    with start_worker(app, perform_ping_check=False, pool="solo", shutdown_timeout=60):
        with audit.context(actor=ADA, workspace="w", request_id="req-1"):
            chained = (build.s("7") | build.s()).apply_async()
            denied, again = deny.delay(), flaky.delay()
        alone = build.delay("8")
        chained.get(timeout=60)
        alone.get(timeout=60)
        again.get(timeout=60)
        with pytest.raises(PermissionError):
            denied.get(timeout=60)
    events = recorded()
    acts = [event for event in events if event["action"] == "report.build"]
    assert sorted((e["targets"][0]["id"], e["actor"]["id"]) for e in acts) == [
        ("7", "usr_1"),
        ("7", "usr_1"),
        ("8", "reports"),
    ]
    by_ada = [event for event in acts if event["actor"]["id"] == "usr_1"]
    assert {(e["workspace"], e["context"]["request_id"]) for e in by_ada} == {("w", "req-1")}
    assert next(e for e in acts if e["targets"][0]["id"] == "8")["actor"]["type"] == "service"
    runs: dict[str, list[Any]] = {}
    for event in events:
        if event["action"] == "task.run":
            said = (
                event.get("outcome", "success"),
                event["metadata"]["retries"],
                event.get("error", {}).get("type"),
            )
            runs.setdefault(event["targets"][0]["id"], []).append(said)
    assert runs == {
        "report.build": [("success", 0, None)] * 3,
        "report.deny": [("denied", 0, "PermissionError")],
        "report.flaky": [("failure", 0, "ValueError"), ("success", 1, None)],
    }
    assert current() == Bound()


def test_celery_without_a_broker(audit: tallystick.Audit, recorded: Events) -> None:
    """A task that runs where it is called must keep what is bound there, and leave it as it was."""
    celery = pytest.importorskip("celery", reason="celery is not installed")
    from tallystick.celery import Audited

    app = celery.Celery("reports")
    app.conf.task_always_eager = True
    Audited(app, audit=audit, actor_of=lambda name: Service(f"beat:{name}"))

    @app.task(name="report.build")
    def build() -> None:
        audit.record("report.build")

    with audit.context(actor=ADA):
        build.delay()
        assert current().actor == ADA
    build.delay()
    assert [event["actor"]["id"] for event in recorded()] == ["usr_1", "beat:report.build"]


async def test_arq_on_a_contract_fake(audit: tallystick.Audit, recorded: Events) -> None:
    """arq's own client and worker, over a fake that speaks Redis: the sender acts in the job, failures are told."""
    arq = pytest.importorskip("arq", reason="arq is not installed")
    from arq.connections import RedisSettings, create_pool

    from tallystick.arq import audited, deserializer, serializer

    @audited(audit, record=True)
    async def build(ctx: dict[str, Any], id: str) -> str:
        audit.record("report.build", target=Target("report", id))
        return id

    @audited(audit, record=True)
    async def deny(ctx: dict[str, Any]) -> None:
        raise PermissionError("not this one")

    ways = {"job_serializer": serializer(), "job_deserializer": deserializer()}
    async with fake_redis() as fake:
        pool = await create_pool(RedisSettings(port=fake.port), **ways)
        with audit.context(actor=ADA, request_id="req-1"):
            first = await pool.enqueue_job("build", "7")
            await pool.enqueue_job("deny")
        await pool.enqueue_job("build", "8")
        assert first is not None
        await first.info()
        assert current() == Bound()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own, about an old way of closing
            worker = arq.Worker(
                functions=[arq.func(build, name="build"), arq.func(deny, name="deny")],
                redis_pool=pool,
                burst=True,
                poll_delay=0.01,
                handle_signals=False,
                max_jobs=1,
                **ways,
            )
            await worker.async_run()
            assert await first.result(timeout=60) == "7"
            await worker.close()
    events = recorded()
    acts = {e["targets"][0]["id"]: e for e in events if e["action"] == "report.build"}
    assert (acts["7"]["actor"]["id"], acts["7"]["context"]["request_id"]) == ("usr_1", "req-1")
    assert acts["8"]["actor"] == {"type": "service", "id": "arq"}
    runs = sorted(
        (e["targets"][0]["id"], e.get("outcome", "success")) for e in events if e["action"] == "task.run"
    )
    assert runs == [("build", "success"), ("build", "success"), ("deny", "denied")]
    bind(Bound())
