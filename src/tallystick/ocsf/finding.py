"""2004 Detection Finding: what `metadata.finding` says about a breach or an anomaly, in OCSF's words.

`metadata.finding` is ours: the rules room writes it, and any producer may. What in it has another type than
the table of docs/reference/ocsf.md gives is not used here and stays readable in `unmapped.metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallystick.ocsf.dialect import OTHER
from tallystick.ocsf.plan import plan_for
from tallystick.ocsf.resources import resources
from tallystick.ocsf.scene import Scene, read_type
from tallystick.ocsf.values import fit, milliseconds_or_none

RELATED_EVENTS_MAX = 1_000

_ANALYTICS: dict[str, tuple[int, str]] = {
    "rule": (1, "Rule"),
    "behavioral": (2, "Behavioral"),
    "statistical": (3, "Statistical"),
    "learning": (4, "Learning (ML/DL)"),
}
_CONFIDENCES: dict[str, tuple[int, str]] = {"low": (1, "Low"), "medium": (2, "Medium"), "high": (3, "High")}
_RISKS: dict[str, tuple[int, str]] = {
    "info": (0, "Info"),
    "low": (1, "Low"),
    "medium": (2, "Medium"),
    "high": (3, "High"),
    "critical": (4, "Critical"),
}


def finding(out: dict[str, Any], scene: Scene) -> None:
    """Fill the attributes of 2004."""
    metadata = scene.event.get("metadata") or {}
    told = metadata.get("finding")
    told = told if isinstance(told, dict) else {}
    subjects = [target for target in scene.targets if read_type(target["type"]).family != "finding"]
    out["finding_info"] = _finding_info(told, scene)
    if "detection_finding.is_alert" in scene.dialect.newer:
        out["is_alert"] = True
    _word(out, "confidence", _CONFIDENCES, told)
    _word(out, "risk_level", _RISKS, told)
    if subjects:
        out["resources"] = resources(scene, subjects, affected=True)
    if len(subjects) < len(scene.targets):
        scene.unmapped["targets"] = scene.targets
    _evidence(out, scene)
    _anomaly(out, told, scene)


def _finding_info(told: dict[str, Any], scene: Scene) -> dict[str, Any]:
    event, limit, unmapped = scene.event, scene.dialect.text_max, scene.unmapped
    alerts = [target for target in scene.targets if read_type(target["type"]).family == "finding"]
    alert = alerts[0] if alerts else {"id": event["id"]}
    title: str = _text(told, "title") or alert.get("name") or scene.plan.info.title
    info: dict[str, Any] = {
        "uid": alert["id"],
        "title": fit(title, limit, "finding_info.title", unmapped),
        "created_time": scene.time,
    }
    if (description := _text(told, "description")) is not None:
        info["desc"] = fit(description, limit, "finding_info.desc", unmapped)
    kinds = told.get("types")
    if isinstance(kinds, list) and kinds and all(isinstance(kind, str) for kind in kinds):
        info["types"] = [
            fit(kind, limit, f"finding_info.types[{index}]", unmapped) for index, kind in enumerate(kinds)
        ]
    for key, attribute in (("first_seen_at", "first_seen_time"), ("last_seen_at", "last_seen_time")):
        if (moment := milliseconds_or_none(told.get(key))) is not None:
            info[attribute] = moment
    info["analytic"] = _analytic(told, scene)
    if related := _related(told, scene):
        info["related_events"] = related
        if "finding_info.related_events_count" in scene.dialect.newer:
            info["related_events_count"] = len(related)
    return info


def _analytic(told: dict[str, Any], scene: Scene) -> dict[str, Any]:
    rule = told.get("rule")
    rule = rule if isinstance(rule, dict) else {}
    analytic: dict[str, Any] = {}
    if (uid := _text(rule, "id")) is not None:
        analytic["uid"] = fit(uid, scene.dialect.text_max, "finding_info.analytic.uid", scene.unmapped)
    name = _text(rule, "name")
    if name is not None or not analytic:
        # Without a rule of its own, the finding was made by whatever logs under this name.
        analytic["name"] = fit(
            name or scene.event["action"],
            scene.dialect.text_max,
            "finding_info.analytic.name",
            scene.unmapped,
        )
    analytic["type_id"], analytic["type"] = _ANALYTICS.get(_text(rule, "kind") or "rule", (OTHER, "Custom"))
    return analytic


def _related(told: dict[str, Any], scene: Scene) -> list[dict[str, Any]]:
    events = told.get("related_events")
    if not isinstance(events, list):
        return []
    named = "related_event.type_name" in scene.dialect.newer
    related = []
    for event in events[:RELATED_EVENTS_MAX]:
        uid = _text(event, "id") if isinstance(event, dict) else event
        if not isinstance(uid, str) or not uid or len(uid) > 512:
            continue
        entry: dict[str, Any] = {"uid": uid}
        if isinstance(event, dict) and (action := _text(event, "action")) is not None:
            head = plan_for(action[:256], scene.dialect.version, "default").heads["success"]
            entry["type_uid"], entry["type"] = head["type_uid"], head["type_name"]
            if named:
                entry["type_name"] = head["type_name"]
        related.append(entry)
    return related


def _evidence(out: dict[str, Any], scene: Scene) -> None:
    """Put the address and the request, which the class itself has no place for, where it keeps evidence."""
    evidence: dict[str, Any] = {}
    if scene.endpoint is not None:
        evidence["src_endpoint"] = scene.endpoint
        scene.endpoint = None
        if scene.request is not None and "evidences.http_request" in scene.dialect.newer:
            evidence["http_request"] = scene.request
            scene.request = None
    if evidence:
        out["evidences"] = [evidence]


def _anomaly(out: dict[str, Any], told: dict[str, Any], scene: Scene) -> None:
    """Say what was measured: how much was seen and how much is usual."""
    measure, observed, usual = (_text(told, key) for key in ("measure", "observed", "usual"))
    if measure is None or observed is None or "detection_finding.anomaly_analyses" not in scene.dialect.newer:
        return
    user = scene.actor["user"]
    analysis: dict[str, Any] = {
        "analysis_targets": [{"name": user.get("uid") or user["name"], "type": user["type"]}],
        "anomalies": [{"observation_parameter": measure, "observations": [{"value": observed}]}],
    }
    if usual is not None:
        analysis["baselines"] = [{"observation_parameter": measure, "observations": [{"value": usual}]}]
    out["anomaly_analyses"] = [analysis]


def _word(out: dict[str, Any], key: str, words: Mapping[str, tuple[int, str]], told: dict[str, Any]) -> None:
    value = told.get(key)
    if isinstance(value, str) and value in words:
        out[f"{key}_id"], out[key] = words[value]


def _text(told: dict[str, Any], key: str) -> str | None:
    value = told.get(key)
    return value if isinstance(value, str) and value else None
