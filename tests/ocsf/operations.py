"""Neutral events as `event.render` gives them: one builder, and the twenty operations of the examples.

The operations are those of the example renderings, told in the fields of docs/reference/event.md. What the
neutral event has no field for is in `metadata` under the keys of docs/reference/ocsf.md.
"""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]

ORGANIZATION = "8a1f6f0e-3c0b-4a55-9a2e-0d1f6f3b7c11"
LOG_NAME = f"audit.example.com/o/{ORGANIZATION}"
LEAF_HASH = bytes(range(32))
PRODUCT_VERSION = "0.1.0"
TIED: JSON = {"leaf_hash": LEAF_HASH, "log_name": LOG_NAME, "product_version": PRODUCT_VERSION}

ALICE: JSON = {
    "type": "user",
    "id": "usr-alice",
    "name": "alice",
    "email": "alice@example.com",
    "roles": {"organization": "OWNER", "workspace": "ADMIN"},
}
CI: JSON = {"type": "service", "id": "svc-ci", "name": "ci-pipeline", "credential_id": "key-51c0"}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"

# What a platform that knows its sessions and its own address writes into every event.
PLATFORM: JSON = {
    "app_name": "web-ui",
    "api_version": "v1",
    "service": "platform-api",
    "client_port": 51822,
    "x_forwarded_for": ["198.51.100.7"],
    "url_scheme": "https",
    "url_hostname": "audit.example.com",
}
SESSION: JSON = {
    "full_name": "Alice Ng",
    "organization_name": "Acme",
    "idp": {"id": "idp-okta", "name": "Okta"},
    "session_issuer": "https://idp.example.com",
    "is_mfa": True,
    "is_remote": True,
}
SERVER: JSON = {"server": {"hostname": "audit.example.com", "port": 443, "service": "platform-api"}}


def event(action: str, **fields: Any) -> JSON:
    """Return a neutral event of `action`; every field can be given, the others are as small as they may be."""
    position = fields.pop("position", 1000)
    return {
        "id": f"0192f0c4-0000-7000-8000-{position:012d}",
        "action": action,
        "actor": {"type": "user", "id": "usr-alice"},
        "targets": [],
        "occurred_at": "2026-11-20T10:31:01.130000Z",
        "stream": "platform",
        "outcome": "success",
        "organization": ORGANIZATION,
        "position": position,
        "received_at": "2026-11-20T10:31:01.134000Z",
        "source": "key:tst",
        **fields,
    }


def request(number: int, method: str, path: str, status: int | None = None, agent: str = BROWSER) -> JSON:
    """Return a context: an HTTP request from one address."""
    http: JSON = {"method": method, "path": path}
    if status is not None:
        http["status"] = status
    return {"ip": "203.0.113.24", "user_agent": agent, "request_id": f"req-{number:04d}", "http": http}


def by_alice(number: int, method: str, path: str, status: int | None = None) -> JSON:
    """Return actor, context and position of something Alice did in her browser."""
    context = request(number, method, path, status) | {"session_id": "ses-9f2"}
    return {"actor": ALICE, "context": context, "position": 1000 + number}


def target(kind: str, uid: str, name: str | None = None) -> JSON:
    """Return a target, without the name when there is none."""
    return {"type": kind, "id": uid} | ({} if name is None else {"name": name})


WORKSPACE = target("workspace", "ws-4c2d", "Research")
BOB = target("user", "usr-bob", "bob@example.com")

OPERATIONS: dict[str, JSON] = {
    "01_api_key_create": event(
        "create_api_key",
        **by_alice(1, "POST", "/api/v1/api-keys", 201),
        targets=[target("api_key", "key-51c0", "ci-pipeline"), WORKSPACE],
        workspace="ws-4c2d",
        metadata=PLATFORM | SESSION | SERVER,
    ),
    "02_api_key_delete_denied": event(
        "delete_api_key",
        actor=CI,
        context=request(2, "DELETE", "/api/v1/api-keys/key-51c0", 403, "python-sdk/1.4.2"),
        position=1002,
        targets=[target("api_key", "key-51c0")],
        workspace="ws-4c2d",
        outcome="denied",
        error={"code": "FORBIDDEN", "message": "the permission to delete keys is missing"},
        metadata=PLATFORM | SERVER | {"is_remote": True},
    ),
    "03_member_role_update": event(
        "update_workspace_member",
        **by_alice(3, "PATCH", "/api/v1/workspaces/ws-4c2d/members/usr-bob"),
        targets=[BOB, WORKSPACE],
        workspace="ws-4c2d",
        before={"role": "VIEWER"},
        after={"role": "WORKSPACE_ADMIN"},
        metadata=PLATFORM | SESSION,
    ),
    "04_member_added": event(
        "claim_pending_organization_invite",
        actor={"type": "user", "id": "usr-bob", "name": "bob", "email": "bob@example.com"},
        context=request(4, "POST", "/api/v1/orgs/pending/claim"),
        position=1004,
        targets=[target("organization", ORGANIZATION, "Acme")],
        after={"role": "ORG_MEMBER"},
        metadata=PLATFORM | {"invite_id": "inv-1"},
    ),
    "05_invites_create_bulk": event(
        "organization.createInvites",
        **by_alice(5, "POST", "/api/trpc/organization.createInvites", 200),
        targets=[
            target("membership_invitation", "inv-1", "bob@example.com"),
            target("membership_invitation", "inv-2", "carol@example.com"),
        ],
        metadata=PLATFORM
        | SESSION
        | {"targets": {"inv-1": {"role": "ORG_MEMBER"}, "inv-2": {"role": "ORG_ADMIN"}}},
    ),
    "06_sso_settings_update": event(
        "update_sso_settings",
        **by_alice(6, "PUT", "/api/v1/sso/sso-1"),
        targets=[target("sso_configuration", "sso-1", "Okta SAML")],
        before={"provider": "okta", "enforce_sso": False, "version": 3},
        after={"provider": "okta", "enforce_sso": True, "version": 4},
        metadata=PLATFORM | SESSION | {"comment": "rotate IdP certificate"},
    ),
    "07_login_sso": event(
        "login",
        **by_alice(7, "POST", "/auth/saml/callback"),
        metadata=PLATFORM
        | SESSION
        | SERVER
        | {"auth_protocol": "saml", "session_created_at": "2026-11-20T10:31:01.126Z"},
    ),
    "08_login_failed": event(
        "login",
        actor={"type": "anonymous"},
        context=request(8, "POST", "/auth/login"),
        position=1008,
        targets=[target("user", "mallory@example.com", "mallory@example.com")],
        outcome="failure",
        error={"code": "INVALID_CREDENTIALS", "message": "Password does not match"},
        metadata=PLATFORM | {"auth_protocol": "password"},
    ),
    "09_project_transfer": event(
        "project.transfer",
        **by_alice(9, "POST", "/api/trpc/projects.transfer"),
        targets=[target("project", "prj-77aa", "chatbot")],
        workspace="prj-77aa",
        before={"organization_id": ORGANIZATION},
        after={"organization_id": "org-2"},
        metadata=PLATFORM | SESSION,
    ),
    "10_workspace_secrets_update": event(
        "update_workspace_secrets",
        **by_alice(10, "POST", "/api/v1/workspaces/current/secrets", 200),
        targets=[target("workspace_secret", "ws-4c2d:OPENAI_API_KEY", "OPENAI_API_KEY")],
        workspace="ws-4c2d",
        metadata=PLATFORM | SESSION,
    ),
    "11_bulk_export": event(
        "create_bulk_export",
        **by_alice(11, "POST", "/api/v1/bulk-exports"),
        targets=[target("bulk_export", "exp-3", "traces 2026-11")],
        workspace="ws-4c2d",
        after={"destination": "s3://acme-exports/", "format": "Parquet"},
        metadata=PLATFORM | SESSION,
    ),
    "12_prompt_set_label": event(
        "prompt.setLabel",
        actor=CI,
        context=request(12, "PATCH", "/api/public/v2/prompts/support/versions/7", 200, "python-sdk/1.4.2"),
        position=1012,
        targets=[target("prompt", "prm-support:7", "support")],
        workspace="prj-77aa",
        before={"labels": ["staging"], "version": 7},
        after={"labels": ["staging", "production"], "version": 7},
        metadata=PLATFORM | {"is_remote": True},
    ),
    "13_trace_publish": event(
        "trace.publish",
        **by_alice(13, "POST", "/api/trpc/traces.publish"),
        targets=[target("trace", "trc-00ff")],
        workspace="prj-77aa",
        before={"public": False},
        after={"public": True},
        metadata=PLATFORM
        | SESSION
        | {"targets": {"trc-00ff": {"url": "https://audit.example.com/project/prj-77aa/traces/trc-00ff"}}},
    ),
    "14_gateway_budget_created_system": event(
        "gateway.budget.created",
        actor={"type": "system", "id": "system:gateway", "name": "gateway"},
        context={"request_id": "req-0015"},
        position=1014,
        stream="gateway",
        targets=[target("gateway_budget", "_pE3XIGR7XOoUwH8G3mcB", "monthly-research")],
        workspace="prj-77aa",
        metadata={
            "app_name": "ai-gateway",
            "api_version": "v1",
            "service": "platform-api",
            "original_event_id": "gw-evt-77",
            "targets": {"_pE3XIGR7XOoUwH8G3mcB": {"limit_usd": "500.00"}},
        },
    ),
    "15_routing_policy_update": event(
        "gateway.routingPolicy.applied",
        **by_alice(15, "POST", "/api/trpc/routingPolicies.update"),
        targets=[target("routing_policy", "rp-2", "eu-only")],
        workspace="prj-77aa",
        before={"version": "2"},
        after={"version": "3", "regions": ["eu-west-1"]},
        metadata=PLATFORM | SESSION,
    ),
    "16_conversation_delete": event(
        "le_chat.conversation.deleted",
        **by_alice(16, "DELETE", "/api/chat/conversations/cnv-1", 204),
        targets=[target("conversation", "cnv-1")],
        workspace="ws-4c2d",
        metadata=PLATFORM | SESSION,
    ),
    "17_anomaly_alert": event(
        "anomaly.alert",
        actor=ALICE,
        context={"session_id": "ses-9f2", "request_id": "req-0017"},
        position=1017,
        targets=[target("anomaly", "alr-9"), WORKSPACE],
        metadata={
            "app_name": "web-ui",
            **SESSION,
            "finding": {
                "title": "Spike of API key creation",
                "description": "12 keys in 5 minutes, usual is 0-1",
                "types": ["Anomaly"],
                "rule": {"id": "rule-3", "name": "api-key-burst", "kind": "statistical"},
                "related_events": [
                    {"id": "0192f0c4-0000-7000-8000-000000001001", "action": "create_api_key"}
                ],
                "first_seen_at": "2026-11-20T10:13:20.123Z",
                "last_seen_at": "2026-11-20T10:31:01.130Z",
                "confidence": "medium",
                "risk_level": "high",
                "measure": "api_key_creates_5m",
                "observed": "12",
                "usual": "1",
            },
        },
    ),
    "18_scim_user_disable": event(
        "update_scim_user",
        actor={"type": "service", "id": "scim-okta", "name": "okta-scim", "credential_id": "scimtok-1"},
        context=request(18, "PATCH", "/scim/v2/Users/usr-bob", agent="Okta SCIM Client 1.0.0"),
        position=1018,
        targets=[BOB],
        before={"active": True},
        after={"active": False},
        metadata=PLATFORM,
    ),
    "19_audit_log_export": event(
        "audit_log.export",
        **by_alice(19, "POST", "/api/v1/audit-logs/export"),
        targets=[target("audit_log", "audit_log", "audit_log")],
        metadata=PLATFORM | SESSION | {"format": "csv", "rows": "1532"},
    ),
    "20_langsmith_view_create_api_key": event(
        "create_api_key",
        **by_alice(1, "POST", "/api/v1/api-keys", 201),
        targets=[target("api_key", "key-51c0", "ci-pipeline"), WORKSPACE],
        workspace="ws-4c2d",
        metadata=PLATFORM | SESSION | SERVER,
    ),
}
OPERATIONS["20_langsmith_view_create_api_key"]["actor"] = ALICE | {"credential_id": "key-0001"}
