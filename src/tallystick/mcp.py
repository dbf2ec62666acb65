"""MCP servers: each tool call is an event, with the agent, the tool, on whose behalf, and how it ended.

server = audited(MCPServer("orders"), audit)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from tallystick.client.act import Act, Draft, outcome_of
from tallystick.client.actors import Actor, Agent, Anonymous, Target, User
from tallystick.client.audit import AsyncAudit, Audit
from tallystick.client.context import bind, extended, unbind
from tallystick.client.recording import Fields
from tallystick.errors import Misconfigured

Context = ServerRequestContext[Any, Any]
S = TypeVar("S", bound=MCPServer)

# What is recorded of each method: the action, the kind of target, the parameter that names it.
CALLS: Final = {"tools/call": ("tool.call", "tool", "name")}
READS: Final = {
    "resources/read": ("resource.read", "resource", "uri"),
    "prompts/get": ("prompt.get", "prompt", "name"),
}
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")
_MESSAGE_CHARACTERS_MAX: Final = 500

_event: ContextVar[Draft | None] = ContextVar("tallystick_tool_call", default=None)


def audit_event() -> Draft:
    """Return the event of the call being answered, for a tool to give it targets, before, after or an outcome.

    Raises Misconfigured outside of a call to a server that is audited.
    """
    draft = _event.get()
    if draft is None:
        raise Misconfigured(
            "no tool is being called here: give the server tallystick.mcp.audited(server, audit)"
        )
    return draft


def audited(server: S, audit: Audit | AsyncAudit, **chosen: Any) -> S:
    """Return `server` with every tool call recorded; `chosen` is what `AuditMiddleware` takes besides `audit`."""
    server.middleware.append(AuditMiddleware(audit, **chosen))
    inner = server.call_tool

    @functools.wraps(inner)
    async def call_tool(*args: Any, **kwargs: Any) -> Any:
        # The server turns what a tool raised into text for the model; "denied" can only be told from the exception.
        try:
            return await inner(*args, **kwargs)
        except Exception as error:
            draft = _event.get()
            if draft is not None:
                cause = error.__cause__ or error
                draft.error = cause
                draft.outcome = draft.outcome or outcome_of(cause)
            raise

    server.call_tool = call_tool  # a method of its public interface; subclasses do the same
    return server


class AuditMiddleware:
    """Records tool calls (`tool.call`); for `Server(…).middleware`, as `audited` adds it to an MCPServer.

    Who acts is, unless `resolve_actor` says otherwise, the agent that the access token was given to (`client_id`), on
    behalf of the token's `subject`. Without a token it is what the client calls itself, and nobody has proved that.

    Args:
        audit: where to record.
        resolve_actor: gets the request's context, returns who acts or None for nobody known.
        arguments: record what a tool was called with (as `metadata.arguments`; secrets are redacted).
        reads: record `resource.read` and `prompt.get` as well.
    """

    def __init__(
        self,
        audit: Audit | AsyncAudit,
        *,
        resolve_actor: Callable[[Context], Actor | None] | None = None,
        arguments: bool = True,
        reads: bool = False,
    ) -> None:
        self._recording = audit.recording
        self._resolve = resolve_actor or actor_of
        self._arguments = arguments
        self._recorded = {**CALLS, **(READS if reads else {})}

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Pass a message on; record it when it is one of those that are recorded."""
        known = self._recorded.get(ctx.method)
        if known is None or ctx.request_id is None:
            return await call_next(ctx)
        action, kind, key = known
        bound = bind(extended(actor=self._resolve(ctx) or Anonymous(), trace_id=_trace_of(ctx)))
        try:
            async with Act(self._recording, action, self._fields(ctx, kind, key)) as draft:
                entered = _event.set(draft)
                try:
                    result = await call_next(ctx)
                    _note(draft, result)
                    return result
                finally:
                    _event.reset(entered)
        finally:
            unbind(bound)

    def _fields(self, ctx: Context, kind: str, key: str) -> Fields:
        params = ctx.params or {}
        name = params.get(key)
        said: dict[str, Any] = {kind: name, "mcp": _client_of(ctx)}
        if self._arguments and params.get("arguments") is not None:
            said["arguments"] = params["arguments"]
        target = Target(kind, name) if isinstance(name, str) and name else None
        return {"target": target, "metadata": said}


def actor_of(ctx: Context) -> Actor:
    """Return the agent of a request and on whose behalf it acts, as its token says, else as it says itself."""
    token = get_access_token()
    client = _client_of(ctx)
    if token is None:
        name = client.get("client")
        return Agent(name, name=name) if name else Anonymous()
    for_whom = User(token.subject) if token.subject else None
    return Agent(token.client_id, name=client.get("client"), credential_id=None, on_behalf_of=for_whom)


def _client_of(ctx: Context) -> dict[str, str]:
    said = ctx.session.client_params
    if said is None:
        return {"protocol": ctx.protocol_version}
    info = said.client_info
    return {"client": info.name, "client_version": info.version, "protocol": ctx.protocol_version}


def _trace_of(ctx: Context) -> str | None:
    parent = (ctx.meta or {}).get("traceparent")
    found = _TRACE.match(parent) if isinstance(parent, str) else None
    return found[1] if found else None


def _note(draft: Draft, result: HandlerResult) -> None:
    """Note in the event what an answer says: an error that the model is told about, or a question back."""
    said: Mapping[str, Any] = (
        result if isinstance(result, dict) else result.model_dump(by_alias=True) if result else {}
    )
    if said.get("isError") is True:
        draft.outcome = draft.outcome or "failure"
        if draft.error is None:
            draft.error = {"type": "ToolError", "message": _text(said.get("content"))}
    elif said.get("resultType") == "input_required":
        draft.metadata["input_required"] = True


def _text(content: Any) -> str:
    parts = [
        one.get("text", "") for one in content or () if isinstance(one, dict) and one.get("type") == "text"
    ]
    return " ".join(parts)[:_MESSAGE_CHARACTERS_MAX] or "the tool said that it failed"
