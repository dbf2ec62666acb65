"""LangChain and LangGraph: each tool call of an agent is an event, with the agent, the run and on whose behalf.

graph.invoke(inputs, config={"callbacks": [AuditCallback(audit, agent=Agent("support-bot", on_behalf_of=user))]})
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from msgspec import structs

from tallystick.client.act import outcome_of
from tallystick.client.actors import Agent, Target
from tallystick.client.audit import Audit


class AuditCallback(BaseCallbackHandler):
    """Records tool calls (`tool.call`) and, if asked to, whole runs (`agent.run`).

    Args:
        audit: where to record. agent: who acts; its `run_id` is that of the outermost run.
        runs: record the outermost run as well.
        arguments: record what a tool was called with (as `metadata.arguments`; secrets are redacted).
    """

    raise_error = True  # what cannot be recorded must not look recorded

    def __init__(self, audit: Audit, *, agent: Agent, runs: bool = False, arguments: bool = True) -> None:
        self._audit = audit
        self._agent = agent
        self._runs = runs
        self._arguments = arguments
        self._root_of: dict[UUID, UUID] = {}
        self._tools: dict[UUID, tuple[str, Any]] = {}

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        """Note where a run belongs."""
        self._began(run_id, parent_run_id)

    def on_chain_end(
        self, outputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        """Record the end of the outermost run."""
        self._ended(run_id, parent_run_id, None)

    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        """Record the failure of the outermost run."""
        self._ended(run_id, parent_run_id, error)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None,
        inputs: dict[str, Any] | None = None, name: str | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """Note what is called with what."""
        self._began(run_id, parent_run_id)
        called = name or (serialized or {}).get("name") or "unknown_tool"
        self._tools[run_id] = (called, inputs if inputs is not None else input_str)

    def on_tool_end(self, output: Any, *, run_id: UUID, **more: Any) -> None:
        """Record a tool call that came back."""
        self._called(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """Record a tool call that failed, or was denied."""
        self._called(run_id, error)

    def _began(self, run_id: UUID, parent: UUID | None) -> None:
        self._root_of[run_id] = self._root_of.get(parent, parent) if parent else run_id

    def _ended(self, run_id: UUID, parent: UUID | None, error: BaseException | None) -> None:
        if parent is None and self._runs:
            self._record("agent.run", run_id, Target("agent_run", str(run_id)), {}, error)
        self._root_of.pop(run_id, None)

    def _called(self, run_id: UUID, error: BaseException | None) -> None:
        name, arguments = self._tools.pop(run_id, ("unknown_tool", None))
        said = {"tool": name, "run_id": str(run_id), **({"arguments": arguments} if self._arguments else {})}
        self._record("tool.call", run_id, Target("tool", name), said, error)
        self._root_of.pop(run_id, None)

    def _record(
        self, action: str, run_id: UUID, target: Target, metadata: dict[str, Any], error: BaseException | None
    ) -> None:
        root = str(self._root_of.get(run_id, run_id))
        agent = self._agent if self._agent.run_id else structs.replace(self._agent, run_id=root)
        self._audit.record(
            action, actor=agent, target=target, metadata=metadata, error=error,
            outcome="success" if error is None else outcome_of(error),
        )  # fmt: skip
