"""Bridges: what an application already says to its logs, its traces and its agents becomes an event."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

import tallystick
from tallystick import Agent, Target, User

from .fake import Fake

ADA = User("usr_1", name="Ada")
Events = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def audit(make_audit: Callable[..., tallystick.Audit], fake: Fake) -> tallystick.Audit:
    return make_audit(url=fake.url, profile="fast")


@pytest.fixture
def recorded(audit: tallystick.Audit, fake: Fake) -> Events:
    def take() -> list[dict[str, Any]]:
        assert audit.flush(10)
        return list(fake.stored.values())

    return take


def test_logging(audit: tallystick.Audit, recorded: Events, capsys: Any) -> None:
    """A log line must become an event with its fields, a mistake must be seen and must not break the application."""
    from tallystick.logging import AuditHandler

    log = logging.Logger("audit")
    log.addHandler(AuditHandler(audit))
    log.info(
        "api_key.create",
        extra={"audit": {"actor": ADA, "target": Target("api_key", "k1"), "after": {"n": 1}}},
    )
    with audit.context(actor=ADA):
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("api_key.rotate")
        log.info("not an action")
        log.info("api_key.list", extra={"audit": {"no_such_field": 1}})
    created, failed = recorded()
    assert (created["targets"][0]["id"], created["after"], created["metadata"]) == (
        "k1",
        {"n": 1},
        {"logger": "audit"},
    )
    assert (failed["outcome"], failed["error"]["type"]) == ("failure", "ValueError")
    complaints = capsys.readouterr().err
    assert "/action" in complaints
    assert "no_such_field" in complaints


def test_the_sdk_does_not_record_itself(audit: tallystick.Audit, recorded: Events) -> None:
    """A handler on the root logger would record each complaint about recording, for ever."""
    from tallystick.logging import AuditHandler

    handler = AuditHandler(audit)
    with audit.context(actor=ADA):
        handler.handle(logging.LogRecord("tallystick", logging.ERROR, "", 0, "cannot.send", None, None))
    assert recorded() == []


def test_structlog(audit: tallystick.Audit, recorded: Events) -> None:
    """What carries audit=True is an event; every line tells who and within which request."""
    structlog = pytest.importorskip("structlog", reason="structlog is not installed")
    from tallystick.structlog import AuditProcessor

    lines: list[dict[str, Any]] = []

    def last(logger: Any, method: str, line: dict[str, Any]) -> Any:
        lines.append(dict(line))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[AuditProcessor(audit), last])
    with audit.context(actor=ADA, request_id="r1", workspace="w"):
        log.info("just.talk", n=1)
        log.error("budget.update", audit=True, target=Target("budget", "b1"), after={"n": 2}, why="because")
    (event,) = recorded()
    assert (event["action"], event["outcome"], event["after"]) == ("budget.update", "failure", {"n": 2})
    assert event["metadata"] == {"why": "because"}
    assert lines[0] == {
        "event": "just.talk",
        "n": 1,
        "request_id": "r1",
        "actor_id": "usr_1",
        "workspace": "w",
    }
    assert lines[1]["audit_id"] == event["id"]
    assert "target" not in lines[1]


def test_opentelemetry(audit: tallystick.Audit, recorded: Events, caplog: Any) -> None:
    """A log record with audit.action becomes an event, from whatever library it comes."""
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.resources import Resource

    from tallystick.otel import AuditLogProcessor

    provider = LoggerProvider(resource=Resource.create({"service.name": "billing"}))
    provider.add_log_record_processor(AuditLogProcessor(audit))
    logger = provider.get_logger("x")

    def emit(**attributes: Any) -> None:
        logger.emit(
            LogRecord(
                body="b", attributes={name.replace("__", "."): value for name, value in attributes.items()}
            )
        )

    emit(audit__action="invoice.pay", audit__actor__id="usr_1", audit__target__type="invoice", audit__target__id=7,
         audit__outcome="denied", audit__amount=5, other="x")  # fmt: skip
    emit(audit__action="invoice.sweep")
    emit(nothing="here")
    emit(audit__action="no spaces")
    paid, swept = recorded()
    assert (paid["actor"], paid["outcome"]) == ({"type": "user", "id": "usr_1"}, "denied")
    assert (paid["targets"], paid["metadata"]) == ([{"type": "invoice", "id": "7"}], {"amount": 5})
    assert swept["actor"] == {"type": "service", "id": "billing"}
    assert "could not be recorded" in caplog.text


def test_langchain(audit: tallystick.Audit, recorded: Events) -> None:
    """Which agent called which tool with what, in which run and for whom, must be in the log; failures too."""
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tools import tool

    from tallystick.langchain import AuditCallback

    @tool
    def refund(order: str, password: str = "") -> str:
        """Refund an order."""
        if order == "forbidden":
            raise PermissionError("over the limit")
        return "done"

    agent = Agent("support-bot", model="m-1", on_behalf_of=ADA)
    config: Any = {"callbacks": [AuditCallback(audit, agent=agent, runs=True)]}
    run = RunnableLambda(lambda order: refund.invoke({"order": order, "password": "hunter2hunter2"}))
    run.invoke("o-1", config=config)
    with pytest.raises(PermissionError):
        run.invoke("forbidden", config=config)
    called, ran, denied, failed = recorded()
    assert (called["action"], called["targets"]) == ("tool.call", [{"type": "tool", "id": "refund"}])
    assert called["actor"]["on_behalf_of"][0]["id"] == "usr_1"
    assert called["metadata"]["arguments"]["order"] == "o-1"
    assert "hunter2" not in str(called)
    assert called["metadata"]["agent"]["run_id"] == ran["targets"][0]["id"]
    assert (denied["action"], denied["outcome"]) == ("tool.call", "denied")
    assert (ran["action"], failed["outcome"]) == ("agent.run", "denied")
