"""An MCP server with an order desk's tools; every call is on the record: which agent, for whom, and what came of it.

CUSTOMER=usr_1 python -m examples.agent.orders          # speaks MCP on standard input and output
"""

from __future__ import annotations

import os

from mcp.server import MCPServer

from tallystick import Agent, Audit, Target, User
from tallystick.mcp import audit_event, audited

LIMIT = 100
agent = Agent("support-bot", model="m-1", on_behalf_of=User(os.environ.get("CUSTOMER", "usr_1")))
# Over HTTP the access token says who the agent is and for whom it acts; a pipe has no token.
server = audited(MCPServer("orders"), Audit(), resolve_actor=lambda ctx: agent)


@server.tool()
def refund(order: str, amount: int) -> str:
    """Pay an order back, up to a limit."""
    audit_event().targets.append(Target("order", order))
    if amount > LIMIT:
        raise PermissionError(f"refunds above {LIMIT} need a person")
    audit_event().after = {"refunded": amount}
    return f"refunded {amount}"


if __name__ == "__main__":
    server.run()
