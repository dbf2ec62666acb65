"""An agent with tools: its own (LangChain) and an order desk's (MCP), all of it recorded on behalf of a customer.

    TALLYSTICK_URL=… TALLYSTICK_API_KEY=… python -m examples.agent.agent usr_1

The model is a script, so that the example runs without one; a real model takes its place in `decide`. With LangGraph the
same callback goes into `graph.invoke(…, config={"callbacks": […]})`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, tool
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tallystick import Agent, Audit, User
from tallystick.langchain import AuditCallback

SCRIPT = [
    ("look_up", {"order": "o-7"}),
    ("refund", {"order": "o-7", "amount": 20}),
    ("refund", {"order": "o-8", "amount": 5000}),
    ("look_up", {"order": "o-404"}),
]


@tool
def look_up(order: str) -> str:
    """Look an order up."""
    if order == "o-404":
        raise LookupError("there is no such order")
    return f"{order}: delivered"


def decide(messages: list[BaseMessage]) -> AIMessage:
    """Stand for a model: ask for one tool after the other."""
    step = sum(isinstance(one, ToolMessage) for one in messages)
    if step == len(SCRIPT):
        return AIMessage("done")
    name, arguments = SCRIPT[step]
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{step}"}])


def loop(desk: Client) -> Any:
    """Return the agent: ask the model, call what it asks for, until it asks for nothing."""

    async def call(wanted: Any, config: RunnableConfig) -> str:
        tools: dict[str, BaseTool] = {"look_up": look_up}
        if wanted["name"] in tools:
            try:
                return await tools[wanted["name"]].ainvoke(wanted["args"], config)
            except LookupError as error:
                return f"error: {error}"
        answer = await desk.call_tool(wanted["name"], wanted["args"])  # recorded by the server that does it
        return str(answer.content)

    async def run(question: str, config: RunnableConfig) -> list[BaseMessage]:
        messages: list[BaseMessage] = [HumanMessage(question)]
        while True:
            said = decide(messages)
            messages.append(said)
            if not said.tool_calls:
                return messages
            for wanted in said.tool_calls:
                messages.append(ToolMessage(await call(wanted, config), tool_call_id=wanted["id"] or ""))

    return RunnableLambda(run)


async def main(customer: str) -> None:
    """Answer one customer."""
    audit = Audit()
    agent = Agent("support-bot", model="m-1", on_behalf_of=User(customer))
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "examples.agent.orders"], env={**os.environ, "CUSTOMER": customer}
    )
    async with Client(stdio_client(server)) as desk:
        config: RunnableConfig = {"callbacks": [AuditCallback(audit, agent=agent, runs=True)]}
        for message in await loop(desk).ainvoke("where is my money?", config):
            print(f"{message.type}: {message.content or getattr(message, 'tool_calls', '')}")
    print("sent:", audit.flush(10))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
