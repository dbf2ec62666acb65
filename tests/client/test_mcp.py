"""MCP: real clients call real servers, in process and over stdio, and the log says who called what for whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tallystick
from tallystick import Agent, User
from tallystick.errors import Misconfigured

from .fake import Fake

mcp = pytest.importorskip("mcp", reason="mcp is not installed")
ROOT = Path(__file__).parents[2]
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


def orders(audit: tallystick.Audit, **chosen: Any) -> Any:
    """A server with tools that work, fail, deny and tell more."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    from tallystick.mcp import audit_event, audited

    server = MCPServer("orders")

    @server.tool()
    def refund(order: str, password: str = "") -> str:
        """Refund an order."""
        if order == "large":
            raise PermissionError("over the limit")
        if order == "odd":
            raise ToolError("no such order")
        if order == "broken":
            raise ZeroDivisionError("a bug")
        audit.record("order.touch", target=tallystick.Target("order", order))
        event = audit_event()
        event.after = {"state": "refunded"}
        event.targets.append(tallystick.Target("order", order))
        return "done"

    @server.resource("orders://all")
    def everything() -> str:
        """All orders."""
        return "[]"

    return audited(server, audit, **chosen)


async def test_each_call_is_an_event(audit: tallystick.Audit, recorded: Events) -> None:
    """Which tool was called with what, by which client, and whether it worked, failed or was denied must be told."""
    from mcp import Client

    async with Client(orders(audit)) as client:
        assert not (await client.call_tool("refund", {"order": "o-1", "password": "hunter2hunter2"})).is_error
        for order in ("large", "odd", "broken"):
            assert (await client.call_tool("refund", {"order": order})).is_error
        assert (await client.call_tool("refund", {})).is_error
        assert (await client.call_tool("no-such-tool", {})).is_error
        await client.list_tools()
        await client.read_resource("orders://all")
    inner, done, denied, failed, broken, invalid, unknown = recorded()
    assert (inner["action"], inner["actor"]["type"]) == ("order.touch", "agent")
    assert inner["actor"] == done["actor"]
    assert (done["action"], [t["id"] for t in done["targets"]]) == ("tool.call", ["refund", "o-1"])
    assert (done["after"], done.get("outcome", "success")) == ({"state": "refunded"}, "success")
    assert done["metadata"]["arguments"]["order"] == "o-1"
    assert done["metadata"]["mcp"]["client"] == done["actor"]["id"]
    assert "hunter2" not in str(done)
    assert (denied["outcome"], denied["error"]["type"]) == ("denied", "PermissionError")
    assert (failed["outcome"], failed["error"]["message"]) == ("failure", "no such order")
    assert (broken["outcome"], broken["error"]["type"]) == ("failure", "ZeroDivisionError")
    assert invalid["outcome"] == unknown["outcome"] == "failure"
    assert unknown["targets"] == [{"type": "tool", "id": "no-such-tool"}]


async def test_on_whose_behalf(audit: tallystick.Audit, recorded: Events) -> None:
    """The person an agent works for must be in the event, as the application or the token says."""
    from mcp import Client
    from mcp.server.auth.middleware.auth_context import auth_context_var
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    said = Agent("support-bot", model="m-1", run_id="r-1", on_behalf_of=User("usr_1", name="Ada"))
    async with Client(orders(audit, resolve_actor=lambda ctx: said, reads=True)) as client:
        await client.call_tool("refund", {"order": "large"})
        await client.read_resource("orders://all")
    token = AccessToken(token="t", client_id="claude", scopes=[], subject="usr_7")
    held = auth_context_var.set(AuthenticatedUser(token))
    try:
        async with Client(orders(audit, arguments=False)) as client:
            await client.call_tool("refund", {"order": "large"})
    finally:
        auth_context_var.reset(held)
    called, read, by_token = recorded()
    assert (called["actor"]["id"], called["actor"]["on_behalf_of"][0]["name"]) == ("support-bot", "Ada")
    assert called["metadata"]["agent"] == {"model": "m-1", "run_id": "r-1"}
    assert (read["action"], read["targets"][0]["id"]) == ("resource.read", "orders://all")
    assert (by_token["actor"]["id"], by_token["actor"]["on_behalf_of"][0]["id"]) == ("claude", "usr_7")
    assert "arguments" not in by_token["metadata"]


async def test_the_lower_server(audit: tallystick.Audit, recorded: Events) -> None:
    """A server without decorators must be audited too; what its handler raises reaches the log, not the client."""
    from mcp import Client
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError

    from tallystick.mcp import AuditMiddleware

    async def called(ctx: Any, params: Any) -> Any:
        raise PermissionError("not you")

    server: Any = Server("low", on_call_tool=called)
    server.middleware.append(AuditMiddleware(audit))
    async with Client(server) as client:
        with pytest.raises(MCPError):
            await client.call_tool("x", {})
    (event,) = recorded()
    assert (event["outcome"], event["error"]) == ("denied", {"type": "PermissionError", "message": "not you"})


def test_outside_of_a_call() -> None:
    """A tool's function called by something else must say why there is no event to fill."""
    from tallystick.mcp import audit_event

    with pytest.raises(Misconfigured, match="no tool is being called"):
        audit_event()
