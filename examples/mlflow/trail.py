"""What a call of MLflow's REST API did, in the words of a trail: `registered_model.set_alias` on `fraud`.

MLflow names its routes for itself; the paths are its public contract. Most follow two forms, `<things>/<verb>` and
`<things>/<id>/<parts>`, so few of them need a line of their own, and a path of a newer MLflow is named by its form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from tallystick import Anonymous, Target
from tallystick.client.act import Draft
from tallystick.client.web_act import Call

# Sent as POST because their filters are long; they change nothing.
READS: Final = frozenset({
    "search", "search-datasets", "batchGetInfos", "get-latest-versions", "calculate-filter-correlation",
    "presigned-download-url", "graphql", "ui-telemetry",
})  # fmt: skip
_READ_PATHS: Final = frozenset({"traces/metrics"})

# What is named by neither form: the path after `/api/<version>/mlflow/`, or all of it where it is not below that.
_ODD: Final = tuple(
    (re.compile(pattern), action)
    for pattern, action in (
        (r"experiments/set-experiment-tag", "experiment.set_tag"),
        (r"experiments/delete-experiment-tag", "experiment.delete_tag"),
        (r"runs/log-parameter", "run.log_param"),
        (r"runs/outputs", "run.log_outputs"),
        (r"traces/delete-traces", "trace.delete"),
        (r"/v1/traces", "trace.export"),
        (r"jobs/cancel/(?P<id>.+)", "job.cancel"),
        (r"upload-artifact", "artifact.upload"),
        (r"gateway-proxy", "gateway.call"),
        (
            r"/gateway/(?:proxy/)?(?P<id>(?!openai/|anthropic/|gemini/|mlflow/|typesafe/)[^/]+)/.+",
            "gateway.call",
        ),
        (r"/gateway/gemini/v1beta/models/(?P<id>[^:]+):.+", "gateway.call"),
        (r"/gateway/(?:openai|anthropic|mlflow|typesafe)/.+", "gateway.call"),
        (r"assistant/sessions/(?P<id>[^/]+)/permission", "assistant_session.resolve_permission"),
        (r"assistant/sessions/(?P<id>[^/]+)/tool-result", "assistant_session.resolve_tool"),
        (r"assistant/sessions/(?P<id>[^/]+)", "assistant_session.update"),
        (r"assistant/message", "assistant.message"),
        (r"assistant/config", "assistant.configure"),
        (r"assistant/skills/install", "assistant.install_skills"),
        (r"genai/evaluate/invoke", "evaluation.run"),
        (r"issues/invoke", "issue.detect"),
        (r"scorer/invoke", "scorer.run"),
    )
)
_PREFIX: Final = re.compile(r"^/(?:ajax-)?api/[0-9.]+/?(?:mlflow-artifacts/|mlflow/)?")
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")

# Collections whose singular, or whose place below another, says too little.
_KINDS: Final[dict[str, str]] = {
    "gateway/secrets": "gateway_secret", "gateway/endpoints/models": "gateway_endpoint_model",
    "gateway/endpoints/bindings": "gateway_endpoint_binding", "gateway/endpoints": "gateway_endpoint",
    "gateway/model-definitions": "gateway_model_definition", "gateway/budgets": "gateway_budget",
    "gateway/guardrails": "gateway_guardrail", "prompt-optimization/jobs": "prompt_optimization_job",
    "review-queues/items": "review_queue_item", "roles/permissions": "role_permission",
    "users/permissions": "user_permission", "mpu": "artifact", "gateway": "gateway_endpoint",
}  # fmt: skip
# What lies below a thing with an id in the path: its kind where it is a thing of its own, else a word for the verb.
_BELOW: Final[dict[str, str]] = {
    "tags": "tag", "aliases": "alias", "params": "params", "records": "records", "alias": "alias",
}  # fmt: skip
_OWN: Final[dict[str, str]] = {"assessments": "assessment", "versions": "version", "endpoints": "endpoint"}
_CREATES_BELOW: Final = {"params": "log", "records": "upsert"}
_BY_METHOD: Final = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
_VERBS: Final = frozenset({
    "create", "delete", "update", "restore", "rename", "test", "cancel", "add", "remove", "assign", "unassign", "grant",
    "revoke", "register", "attach", "detach", "outputs", "link-to-run", "link-prompts", "transition-stage", "complete",
    "abort", "add-experiments", "remove-experiments", "delete-traces", "create-ui", "generate",
})  # fmt: skip

# The keys of an id, where they are not `<kind>_id`.
_ID_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "run": ("run_id", "run_uuid"), "registered_model": ("name",), "model_version": ("name",), "user": ("username",),
    "logged_model": ("model_id",), "trace": ("trace_id", "request_id"), "workspace": ("name",), "scorer": ("name",),
    "user_permission": ("username",), "mcp_server": ("name",), "model": ("model_id",),
}  # fmt: skip
# What else a call may name: further targets of its event.
_ALSO: Final = {
    "experiment_id": "experiment", "run_id": "run", "model_id": "logged_model", "dataset_id": "dataset", "role_id": "role",
}  # fmt: skip
_SAID: Final = (
    "key",
    "version",
    "alias",
    "stage",
    "status",
    "new_name",
    "new_experiment_name",
    "path",
    "permission",
)
_KEYS_MAX: Final = 50


class Named(NamedTuple):
    """What a path says: the action, the kind of thing, and its id where the path has one."""

    action: str
    kind: str
    id: str | None


def named(method: str, path: str) -> Named | None:
    """Return what a call did, None for one that only reads."""
    said = unquote(_PREFIX.sub("", path)).rstrip("/")
    parts = said.lstrip("/").split("/")
    if parts[-1] in READS or said in _READ_PATHS:
        return None
    for pattern, action in _ODD:
        if found := pattern.fullmatch(said):
            kind = action.partition(".")[0]
            return Named(action, _KINDS.get(kind, kind), found.groupdict().get("id"))
    collection = next((one for one in _KINDS if said == one or said.startswith(f"{one}/")), parts[0])
    kind = _KINDS.get(collection) or _word(_singular(collection))
    rest = parts[collection.count("/") + 1 :]
    if kind == "artifact":
        return _artifact(method, collection, rest)
    if not rest:
        return Named(f"{kind}.{_BY_METHOD[method]}", kind, None)
    if len(rest) == 1 and (rest[0] in _VERBS or "-" in rest[0]) and not _is_id(kind, rest[0]):
        return Named(f"{kind}.{_word(rest[0])}", kind, None)
    return _below(method, kind, rest)


def _below(method: str, kind: str, rest: list[str]) -> Named:
    """Name `<id>`, `<id>/<parts>`, `<id>/<parts>/<part>` and `<id>/<verb>`; an id may have slashes of its own."""
    at = next((n for n, one in enumerate(rest) if n and one in _OWN | _BELOW), None)
    if at is None and rest[0] in _BELOW:  # registered-models/alias: the id is in the body
        return Named(f"{kind}.{_set(method)}_{_BELOW[rest[0]]}", kind, None)
    if at is None:
        if len(rest) > 1 and rest[-1] in _VERBS:
            return Named(f"{kind}.{_word(rest[-1])}", kind, "/".join(rest[:-1]))
        return Named(f"{kind}.{_BY_METHOD[method]}", kind, "/".join(rest))
    id, word, further = "/".join(rest[:at]), rest[at], rest[at + 1 :]
    if word in _OWN:
        own = _OWN[word] if word == "assessments" else f"{kind}_{_OWN[word]}"
        return _below(method, own, [f"{id}/{further[0]}", *further[1:]]) if further else Named(
            f"{own}.{_BY_METHOD[method]}", own, None
        )  # fmt: skip
    verb = _set(method) if word not in _CREATES_BELOW or method == "DELETE" else _CREATES_BELOW[word]
    return Named(f"{kind}.{verb}_{_BELOW[word]}", kind, id)


def _set(method: str) -> str:
    return "delete" if method == "DELETE" else "set"


def _artifact(method: str, collection: str, rest: list[str]) -> Named:
    if collection == "mpu":
        return Named(f"artifact.multipart_{_word(rest[0])}", "artifact", "/".join(rest[1:]) or None)
    if rest == ["presigned-upload-url"]:
        return Named("artifact.presigned_upload_url", "artifact", None)
    verb = "delete" if method == "DELETE" else "upload"
    return Named(f"artifact.{verb}", "artifact", "/".join(rest) or None)


def _is_id(kind: str, text: str) -> bool:
    """Tell whether what stands after a collection is an id: where MLflow addresses the things by their path."""
    return kind in ("trace", "logged_model", "webhook", "mcp_server", "dataset", "issue", "workspace") and (
        text not in _VERBS
    )


def _singular(plural: str) -> str:
    return plural[:-1] if plural.endswith("s") and not plural.endswith("ss") else plural


def _word(text: str) -> str:
    return _NOT_A_WORD.sub("_", text.lower()).strip("_")


def describe(draft: Draft, call: Call) -> None:
    """Give the event of a request to MLflow its action, its targets and what was said in the call."""
    what = named(call.method, call.path)
    if what is None:
        draft.drop()
        return
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    draft.action = what.action
    draft.targets = list(_targets(what, arguments, call.result))
    draft.metadata.update(_said(arguments))
    if call.status == 401:
        draft.actor = Anonymous()  # whoever gave a name did not prove it
    if (call.status or 500) >= 400:
        draft.error = _error(call)
        if "name" in arguments and not draft.targets:
            draft.metadata["name"] = arguments["name"]


def _targets(what: Named, arguments: Mapping[str, Any], result: Any) -> Iterator[Target]:
    main = _main(what, arguments, result)
    if main is not None:
        yield main
    if what.kind == "model_version" and "name" in arguments:
        yield Target("registered_model", str(arguments["name"]), str(arguments["name"]))
    for key, kind in _ALSO.items():
        if arguments.get(key) and kind != what.kind:
            yield Target(kind, str(arguments[key]))


def _main(what: Named, arguments: Mapping[str, Any], result: Any) -> Target | None:
    if what.id:
        return Target(what.kind, what.id)
    keys = _ID_KEYS.get(what.kind, (f"{what.kind}_id", "id"))
    for source in (arguments, *_objects(result)):
        id = next((source[key] for key in keys if isinstance(source.get(key), str | int)), None)
        if id is None or id == "":
            continue
        if what.kind == "model_version":
            if not source.get("version"):
                continue  # a new one gets its number in the answer
            return Target(what.kind, f"{id}/{source['version']}", f"{id} {source['version']}")
        name = source.get(f"{what.kind}_name") or source.get("name")
        return Target(what.kind, str(id), name if isinstance(name, str) else None)
    return None


def _objects(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of an answer, the outermost first."""
    if isinstance(value, dict) and depth < 4:
        yield value
        for below in value.values():
            yield from _objects(below, depth + 1)


def _said(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader wants to know of a call; values of parameters and tags stay where they are."""
    said: dict[str, Any] = {key: arguments[key] for key in _SAID if isinstance(arguments.get(key), str | int)}
    for name in ("params", "metrics", "tags"):
        given = arguments.get(name)
        if isinstance(given, list) and given:
            said[name] = [one["key"] for one in given[:_KEYS_MAX] if isinstance(one, dict) and "key" in one]
    return said


def _error(call: Call) -> dict[str, str]:
    if isinstance(call.result, dict) and "error_code" in call.result:
        return {"type": str(call.result["error_code"]), "message": str(call.result.get("message", ""))[:500]}
    return {"type": "HTTP", "message": f"MLflow answered {call.status}"}
