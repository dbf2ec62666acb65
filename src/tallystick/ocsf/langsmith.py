"""The LangSmith view: OCSF 1.7.0 API Activity exactly as `GET /api/v1/audit-logs` of LangSmith shapes it.

The nineteen properties its items have and no others, each always there. Clients generated from its API
description read some keys without asking whether they exist, so this view alone fills them with null;
`NULL_FILLED` lists them. Without its nulls an item is valid OCSF 1.7.0.
"""

from __future__ import annotations

from typing import Any

from tallystick.ocsf.render import LEAF_HASH, render

PROPERTIES = (
    "class_uid", "class_name", "category_uid", "category_name", "activity_id", "activity_name", "type_uid",
    "severity_id", "status_id", "status", "time", "metadata", "api", "http_request", "http_response", "actor",
    "src_endpoint", "resources", "unmapped",
)  # fmt: skip

# Null when the event does not say; these and no other keys.
NULL_FILLED: tuple[tuple[str, ...], ...] = (
    ("actor", "user", "uid"),
    ("actor", "user", "credential_uid"),
    ("src_endpoint", "ip"),
    ("src_endpoint", "port"),
    ("src_endpoint", "intermediate_ips"),
    ("http_request", "http_method"),
    ("http_request", "url", "path"),
    ("http_response", "code"),
)


def langsmith_item(
    event: dict[str, Any], *, leaf_hash: bytes | None, log_name: str, product_version: str
) -> dict[str, Any]:
    """Return `event` as one item of LangSmith's audit-log page; every event renders, wherever it came from.

    Arguments as for `render`. `actor.user.uid` is the id as recorded, which is a UUID for events of
    LangSmith. `severity_id` is the real one, not the 99 of LangSmith's own items.
    """
    rendered = render(
        event,
        version="1.7.0",
        view="api_activity",
        leaf_hash=None,
        log_name=log_name,
        product_version=product_version,
    )
    item: dict[str, Any] = {key: rendered[key] for key in PROPERTIES if key in rendered}
    item.setdefault("resources", [])
    credential = event["actor"].get("credential_id")
    if credential is not None:
        item["actor"]["user"]["credential_uid"] = credential
    for path in NULL_FILLED:
        _fill(item, path)
    unmapped: dict[str, Any] = {"original_audit_log": _original(event, item)}
    if leaf_hash is not None:
        unmapped[LEAF_HASH] = leaf_hash.hex()
    item["unmapped"] = unmapped
    return item


def _fill(item: dict[str, Any], path: tuple[str, ...]) -> None:
    holder = item
    for key in path[:-1]:
        holder = holder.setdefault(key, {})
    holder.setdefault(path[-1], None)


def _original(event: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """Return the row as LangSmith's own log would hold it."""
    actor, context = event["actor"], event.get("context") or {}
    user_id = actor.get("id") if actor["type"] == "user" else None
    return {
        "id": event["id"],
        "operation_name": event["action"],
        "operation_succeeded": event["outcome"] == "success",
        "request_time": event["occurred_at"],
        "api_key_id": actor.get("credential_id") or (actor.get("id") if actor["type"] == "api_key" else None),
        "user_id": user_id,
        "ls_user_id": user_id,
        "organization_id": event["organization"],
        "workspace_id": event.get("workspace"),
        "enrichments": {
            "request_method": (context.get("http") or {}).get("method"),
            "request_path": item["http_request"]["url"]["path"],
            "client_host": context.get("ip"),
            "client_port": item["src_endpoint"]["port"],
            "x_forwarded_for": item["src_endpoint"]["intermediate_ips"],
            "response_status_code": item["http_response"]["code"],
            "resource_ids": [target["id"] for target in event["targets"]],
        },
    }
