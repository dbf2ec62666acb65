"""The route table on one screen, and the application built from it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.errors import NotFound, Refused
from tallystick.services.permissions import (
    ANYONE,
    EXPORT,
    HOLDS,
    KEYS,
    MANAGE,
    MEMBERS,
    READ,
    RETENTION,
    WRITE,
)
from tallystick.web import assets, catalogue_page, cross_origin, docs, openapi, replies
from tallystick.web.api import (
    actions,
    anthropic,
    cloudevents,
    evidence_bundles,
    export,
    feed,
    groups,
    health,
    instance_log,
    keeping,
    keys,
    langsmith,
    langwatch,
    log,
    members,
    mistral,
    openai,
    organization,
    otlp,
    producers,
    record,
    scim,
    search,
    sign_in,
    viewers,
    workspaces,
)
from tallystick.web.api.contract import fastapi_errors
from tallystick.web.call import Call
from tallystick.web.guard import Guarded, problem
from tallystick.web.operation import Operation
from tallystick.web.parameters import (
    BATCH,
    COUNT,
    EVENT,
    EVENT_ID,
    EXPORT_FORMAT,
    FEED,
    FILTERS,
    KEY,
    KEY_END,
    KEY_ROTATION,
    ONE_EVENT,
    PAGE,
    PROOF_CONSISTENCY,
    PROOF_INCLUSION,
    TILE,
)  # fmt: skip
from tallystick.web.recorded import Recorder
from tallystick.web.ui.page import lost
from tallystick.web.ui.routes import PAGES, behind_its_door


def op(
    method: str, path: str, name: str, handler: Any, permission: str | None, tag: str, **more: Any
) -> Operation:
    """Declare an operation; its summary is the first line of the handler's docstring."""
    summary, _, description = (handler.__doc__ or "").strip().partition("\n")
    return Operation(
        method=method, path=path, name=name, handler=handler, permission=permission, tag=tag,
        summary=summary, description=" ".join(description.split()), **more,
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    op("POST", "/v1/events", "recordEvent", record.record_event, WRITE, "Record", **EVENT),
    op("POST", "/v1/events:batch", "recordBatch", record.record_batch, WRITE, "Record", **BATCH),
    op("POST", "/v1/logs", "exportLogs", otlp.export_logs, WRITE, "Record", answer_of=otlp.otlp_errors, **otlp.LOGS),
    op("POST", "/v1/cloudevents", "receiveCloudEvents", cloudevents.receive, WRITE, "Record",
       **cloudevents.CLOUDEVENTS),
    op("GET", "/v1/events", "searchEvents", search.search_events, READ, "Search", parameters=FILTERS + PAGE),
    op("GET", "/v1/events:count", "countEvents", search.count_events, READ, "Search", parameters=FILTERS + COUNT),
    op("GET", "/v1/events:histogram", "histogram", search.histogram_of_events, READ, "Search", parameters=FILTERS),
    op("GET", "/v1/events:facets", "facets", search.facets_of_events, READ, "Search", parameters=FILTERS),
    op("GET", "/v1/events/{id}", "getEvent", search.get_event, READ, "Search", parameters=ONE_EVENT),
    op("GET", "/v1/events/{id}/evidence", "getEvidence", search.get_evidence, READ, "Search", parameters=EVENT_ID),
    op("GET", "/v1/feed", "feed", feed.get_feed, READ, "Feed and export", parameters=FEED, replies=replies.FEED),
    op("GET", "/v1/export", "export", export.export_events, EXPORT, "Feed and export",
       parameters=EXPORT_FORMAT + FILTERS, replies=replies.EXPORT),
    op("POST", "/v1/evidence", "issueEvidence", evidence_bundles.issue_evidence, EXPORT, "Evidence", parameters=FILTERS,
       **evidence_bundles.ISSUE),
    op("GET", "/v1/evidence", "listEvidence", evidence_bundles.list_evidence, EXPORT, "Evidence"),
    op("GET", "/v1/evidence/{id}", "getEvidenceBundle", evidence_bundles.get_evidence_bundle, EXPORT, "Evidence",
       **evidence_bundles.ID),
    op("GET", "/v1/evidence/{id}/file", "fetchEvidence", evidence_bundles.fetch_evidence, EXPORT, "Evidence",
       **evidence_bundles.FILE),
    op("GET", "/v1/evidence-packs", "listPacks", evidence_bundles.list_packs, EXPORT, "Evidence"),
    op("POST", "/v1/evidence-packs/{name}", "issuePack", evidence_bundles.issue_pack, EXPORT, "Evidence",
       parameters=(evidence_bundles.PACK_NAME, *FILTERS[:3]), **evidence_bundles.PACK),
    op("GET", "/v1/log/checkpoint", "checkpoint", log.get_checkpoint, READ, "Log", replies=replies.CHECKPOINT),
    op("GET", "/v1/log/key", "verifierKeys", log.get_verifier_keys, READ, "Log"),
    op("GET", "/v1/log/tile/{tile:path}", "tile", log.get_tile, READ, "Log", parameters=TILE, replies=replies.TILE),
    op("GET", "/v1/log/proof/inclusion", "inclusionProof", log.get_inclusion_proof, READ, "Log",
       parameters=PROOF_INCLUSION),
    op("GET", "/v1/log/proof/consistency", "consistencyProof", log.get_consistency_proof, READ, "Log",
       parameters=PROOF_CONSISTENCY),
    op("GET", "/v1/log/anchor", "anchor", instance_log.get_anchor, READ, "Log", parameters=instance_log.ANCHOR_PARAMETERS,
       replies=replies.ANCHOR),
    op("GET", "/v1/log/time-stamp", "timeStamp", instance_log.get_time_stamp, READ, "Log", replies=replies.STAMP),
    *(op(*declared, **more) for *declared, more in instance_log.OPERATIONS),
    op("GET", "/v1/keys", "listKeys", keys.list_keys, KEYS, "Keys"),
    op("POST", "/v1/keys", "createKey", keys.create_key, KEYS, "Keys", **KEY),
    op("POST", "/v1/keys/{id}:rotate", "rotateKey", keys.rotate_key, KEYS, "Keys", **KEY_ROTATION),
    op("DELETE", "/v1/keys/{id}", "revokeKey", keys.revoke_key, KEYS, "Keys", **KEY_END),
    op("GET", "/v1/me", "whoAmI", members.who_am_i, ANYONE, "People"),
    op("GET", "/v1/members", "listMembers", members.list_members, MEMBERS, "People", **members.LIST),
    op("POST", "/v1/members", "inviteMember", members.invite_member, MEMBERS, "People", **members.INVITE),
    op("GET", "/v1/members/{id}", "getMember", members.get_member, MEMBERS, "People", **members.ONE),
    op("PATCH", "/v1/members/{id}", "changeMember", members.change_member, MEMBERS, "People", **members.CHANGE),
    op("DELETE", "/v1/members/{id}", "removeMember", members.remove_member, MEMBERS, "People", **members.REMOVE),
    op("PUT", "/v1/members/{id}/workspaces/{workspace}", "setWorkspaceRole", members.set_workspace_role, MEMBERS,
       "People", **members.WORKSPACE_ROLE),
    op("DELETE", "/v1/members/{id}/workspaces/{workspace}", "removeWorkspaceRole", members.remove_workspace_role,
       MEMBERS, "People", **members.NO_WORKSPACE_ROLE),
    op("GET", "/v1/roles", "listRoles", members.list_roles, ANYONE, "People"),
    op("POST", "/v1/roles", "createRole", members.create_role, MEMBERS, "People", **members.ROLE),
    op("PATCH", "/v1/roles/{id}", "changeRole", members.change_role, MEMBERS, "People", **members.ROLE_CHANGE),
    op("DELETE", "/v1/roles/{id}", "removeRole", members.remove_role, MEMBERS, "People", **members.REMOVE),
    op("GET", "/v1/workspaces", "listWorkspaces", workspaces.list_workspaces, ANYONE, "Workspaces", **workspaces.LIST),
    op("POST", "/v1/workspaces", "createWorkspace", workspaces.create_workspace, MEMBERS, "Workspaces",
       **workspaces.CREATE),
    op("GET", "/v1/workspaces/{id}", "getWorkspace", workspaces.get_workspace, ANYONE, "Workspaces", **workspaces.ONE),
    op("PATCH", "/v1/workspaces/{id}", "changeWorkspace", workspaces.change_workspace, MEMBERS, "Workspaces",
       **workspaces.CHANGE),
    op("DELETE", "/v1/workspaces/{id}", "deleteWorkspace", workspaces.delete_workspace, MEMBERS, "Workspaces",
       **workspaces.REMOVE),
    op("GET", "/v1/teams", "listTeams", workspaces.list_teams, ANYONE, "Workspaces"),
    op("POST", "/v1/teams", "createTeam", workspaces.create_team, MEMBERS, "Workspaces", **workspaces.TEAM),
    op("PATCH", "/v1/teams/{id}", "renameTeam", workspaces.rename_team, MEMBERS, "Workspaces", **workspaces.TEAM_CHANGE),
    op("DELETE", "/v1/teams/{id}", "deleteTeam", workspaces.delete_team, MEMBERS, "Workspaces", **workspaces.REMOVE),
    op("GET", "/v1/retention", "getRetention", keeping.get_retention, RETENTION, "Keeping"),
    op("PUT", "/v1/retention", "changeRetention", keeping.change_retention, RETENTION, "Keeping", **keeping.POLICY),
    op("POST", "/v1/retention:preview", "previewRetention", keeping.preview_retention, RETENTION, "Keeping",
       **keeping.POLICY_PREVIEW),
    op("POST", "/v1/retention:run", "runRetention", keeping.run_retention, RETENTION, "Keeping"),
    op("GET", "/v1/holds", "listHolds", keeping.list_holds, HOLDS, "Keeping"),
    op("POST", "/v1/holds", "setHold", keeping.set_hold, HOLDS, "Keeping", **keeping.HOLD),
    op("POST", "/v1/holds:preview", "previewHold", keeping.preview_hold, HOLDS, "Keeping", **keeping.HOLD_PREVIEW),
    op("POST", "/v1/holds/{id}:release", "releaseHold", keeping.release_hold, HOLDS, "Keeping", **keeping.RELEASE),
    op("GET", "/v1/erasures", "listErasures", keeping.list_erasures, MANAGE, "Keeping"),
    op("POST", "/v1/erasures", "erase", keeping.erase, MANAGE, "Keeping", **keeping.ERASURE),
    op("POST", "/v1/erasures:preview", "previewErasure", keeping.preview_erasure, MANAGE, "Keeping",
       **keeping.ERASURE_PREVIEW),
    op("GET", "/v1/approvals", "listApprovals", keeping.list_approvals, MANAGE, "Keeping"),
    op("PUT", "/v1/approvals", "switchDualControl", keeping.switch_dual_control, MANAGE, "Keeping",
       **keeping.DUAL_CONTROL),
    op("POST", "/v1/approvals/{id}:approve", "approve", keeping.approve, MANAGE, "Keeping", **keeping.APPROVAL),
    op("POST", "/v1/approvals/{id}:refuse", "refuse", keeping.refuse, MANAGE, "Keeping", **keeping.APPROVAL),
    op("GET", "/v1/viewer-sessions", "listViewers", viewers.list_viewers, READ, "Delegated reading"),
    op("POST", "/v1/viewer-sessions", "createViewer", viewers.create_viewer, READ, "Delegated reading", **viewers.VIEWER),
    op("POST", "/v1/viewer-sessions:exchange", "exchangeViewer", viewers.exchange_viewer, None, "Delegated reading",
       **viewers.EXCHANGE),
    op("DELETE", "/v1/viewer-sessions/{id}", "revokeViewer", viewers.revoke_viewer, READ, "Delegated reading",
       parameters=viewers.VIEWER_ID),
    op("POST", "/v1/sign-in-links", "createSignInLink", sign_in.create_link, MEMBERS, "Sign-in", **sign_in.LINK),
    op("GET", "/v1/sessions", "listSessions", sign_in.list_sessions, MEMBERS, "Sign-in"),
    op("DELETE", "/v1/sessions/{id}", "revokeSession", sign_in.revoke_session, MEMBERS, "Sign-in",
       parameters=sign_in.ID),
    op("DELETE", "/v1/members/{id}/second-factor", "resetSecondFactor", sign_in.reset_second_factor, MEMBERS, "Sign-in",
       parameters=sign_in.ID),
    op("GET", "/v1/identity-providers", "listIdentityProviders", sign_in.list_providers, MANAGE, "Sign-in"),
    op("POST", "/v1/identity-providers", "createIdentityProvider", sign_in.create_provider, MANAGE, "Sign-in",
       **sign_in.PROVIDER),
    op("PUT", "/v1/identity-providers/{id}", "changeIdentityProvider", sign_in.change_provider, MANAGE, "Sign-in",
       **sign_in.PROVIDER_CHANGE),
    op("DELETE", "/v1/identity-providers/{id}", "removeIdentityProvider", sign_in.remove_provider, MANAGE, "Sign-in",
       parameters=sign_in.ID),
    op("GET", "/v1/producers", "listProducers", producers.list_producers, READ, "Producers", **producers.LIST),
    op("GET", "/v1/producers/{id}", "getProducer", producers.get_producer, READ, "Producers", **producers.ONE),
    op("PUT", "/v1/producers/{id}/heartbeat", "producerHeartbeat", producers.beat, WRITE, "Producers",
       **producers.HEARTBEAT),
    op("GET", "/v1/organization", "getOrganization", organization.get_organization, MANAGE, "Organization"),
    op("PATCH", "/v1/organization", "switchOrganization", organization.switch_organization, MANAGE,
       "Organization", **organization.SWITCHES),
    op("GET", "/v1/actions", "listActions", actions.list_actions, READ, "Own actions"),
    op("POST", "/v1/actions", "registerAction", actions.register_action, MANAGE, "Own actions", **actions.ACTION),
    op("GET", "/v1/actions/{name:path}", "getAction", actions.list_versions, READ, "Own actions",
       parameters=actions.NAME),
    op("GET", "/v1/quarantine", "listQuarantine", actions.list_quarantine, READ, "Own actions",
       parameters=actions.QUARANTINE),
    op("POST", "/v1/quarantine:reprocess", "reprocessQuarantine", actions.reprocess_quarantine, MANAGE,
       "Own actions", **actions.REPROCESS),
    *(
        op("GET", prefix + "/info", name, langsmith.get_info, None, "Other products", answer_of=fastapi_errors)
        for prefix, name in (("", "info"), ("/api/v1", "langsmithInfo"))
    ),
    op("GET", "/api/v1/audit-logs", "langsmithAuditLogs", langsmith.list_audit_logs, READ, "Other products",
       parameters=langsmith.PARAMETERS, replies=langsmith.REPLIES, answer_of=fastapi_errors),
    op("GET", "/api/v1/audit-logs/operations", "langsmithOperations", langsmith.list_operations, READ,
       "Other products", replies=langsmith.OPERATIONS_REPLIES, answer_of=fastapi_errors),
    *(
        op("GET", path, name, mistral.list_audit_logs, READ, "Other products", parameters=mistral.PARAMETERS, replies=mistral.REPLIES,
           answer_of=fastapi_errors)
        for path, name in (("/v1/admin/audit-logs", "mistralAuditLogs"), ("/api/admin/audit-logs", "mistralAuditLogsBeta"))
    ),
    op("GET", "/v1/organization/audit_logs", "openaiAuditLogs", openai.list_audit_logs, READ, "Other products",
       parameters=openai.PARAMETERS, replies=openai.REPLIES, answer_of=openai.openai_errors),
    op("GET", "/v1/compliance/activities", "anthropicActivities", anthropic.list_activities, READ, "Other products",
       parameters=anthropic.PARAMETERS, replies=anthropic.REPLIES, answer_of=anthropic.anthropic_errors),
    op("GET", "/api/governance/ocsf", "langwatchPull", langwatch.pull_events, READ, "Other products",
       parameters=langwatch.PARAMETERS, replies=langwatch.REPLIES, answer_of=langwatch.langwatch_errors),
    op("GET", "/v1/groups", "listGroups", groups.list_groups, MEMBERS, "People", **groups.LIST),
    op("PATCH", "/v1/groups/{id}", "changeGroup", groups.change_group, MEMBERS, "People", **groups.CHANGE),
    *(op(*declared, **more) for *declared, more in scim.OPERATIONS),
    op("GET", "/healthz", "healthz", health.healthz, None, "Health"),
    op("GET", "/readyz", "readyz", health.readyz, None, "Health", replies=replies.READY),
    op("GET", "/metrics", "metrics", health.metrics, None, "Health", replies=replies.METRICS),
    op("GET", "/openapi.json", "openapi", openapi.get_openapi, None, "Docs"),
    op("GET", "/v1/schema/event.json", "eventSchema", openapi.get_event_schema, None, "Docs", replies=replies.SCHEMA),
    op("GET", "/docs", "docs", docs.get_docs, None, "Docs", replies=replies.PAGE),
    op("GET", "/docs/catalogue", "catalogue", catalogue_page.get_catalogue, None, "Docs",
       parameters=catalogue_page.PARAMETERS, replies=catalogue_page.REPLIES),
    op("GET", "/static/{file}", "static", assets.get_static, None, "Docs", replies=replies.STATIC),
)  # fmt: skip


# An escaped slash, backslash or NUL: nothing of ours needs one, and a proxy's rules about paths do not see it.
_HIDDEN = re.compile(rb"%(2f|5c|00)", re.IGNORECASE)


class Application:
    """Dispatches the two recording operations at once, everything else through Starlette's router."""

    def __init__(self, parts: Any, operations: tuple[Operation, ...] = OPERATIONS) -> None:
        self.operations = operations
        self._parts = parts
        guarded = {
            (o.method, o.path): Guarded(
                o.handler, permission=o.permission, services=parts, attempts=parts.attempts, answer_of=o.answer_of,
                name=o.name, recorder=Recorder(o.name, method=o.method, by_id="{" in o.path),
            )
            for o in operations
        }  # fmt: skip
        # Routing costs a third of a small request; the hot paths have no parameters, so a dictionary does.
        self._direct: dict[tuple[str, str], ASGIApp] = {
            key: app for key, app in guarded.items() if key[0] == "POST" and "{" not in key[1]
        }
        routes: list[BaseRoute] = [
            Route(path, ByMethod({m: app for (m, p), app in guarded.items() if p == path}))
            for path in dict.fromkeys(o.path for o in operations)
        ]
        routes += [
            Route(
                path,
                ByMethod({page.method: behind_its_door(page, parts) for page in PAGES if page.path == path}),
            )
            # A path with a parameter in it comes after those that it would swallow.
            for path in sorted(dict.fromkeys(page.path for page in PAGES), key=lambda path: "{" in path)
        ]
        nowhere = no_such_page(parts)
        self._rest = Starlette(routes=routes, exception_handlers={404: nowhere, HTTPException: nowhere})
        # A path with a slash too many is another path; redirecting would hide the caller's mistake.
        self._rest.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if b"%" in scope["raw_path"] and _HIDDEN.search(scope["raw_path"]):
                await _nothing_here()(scope, receive, send)
                return
            if scope["method"] == "OPTIONS" and (answer := await cross_origin.preflight(scope, self._parts)):
                await answer(scope, receive, send)
                return
            direct = self._direct.get((scope["method"], scope["path"]))
            await (direct or self._rest)(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


class ByMethod:
    """Everything a path answers to; another method gets 405 with the list of those it knows."""

    def __init__(self, apps: dict[str, ASGIApp]) -> None:
        self._apps = dict(apps)
        if "GET" in apps:
            self._apps["HEAD"] = apps["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps.get(scope["method"])
        if app is None:
            allowed = ", ".join(sorted(self._apps))
            app = problem(Refused(f"This path answers to {allowed}.", rule="method"))
            app.headers["Allow"] = allowed
        await app(scope, receive, send)


def no_such_page(parts: Any) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return what answers where there is nothing: a page for people, problem+json for programs."""

    async def answer(request: Request, error: Exception) -> Response:
        if request.url.path.startswith(f"{scim.BASE}/"):
            return scim.write(NotFound("There is nothing at this path."), "")
        if "text/html" not in request.headers.get("accept", ""):
            return _nothing_here()
        return await lost(Call(request.scope, request.receive, parts))

    return answer


def _nothing_here() -> Response:
    return problem(NotFound("There is nothing at this path. The paths that exist are listed at /docs."))
