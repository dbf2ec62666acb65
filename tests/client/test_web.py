"""Middleware in real frameworks: who, from where, what, on what and how it ended, for every request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tallystick
from tallystick.client.proxies import TrustedProxies
from tallystick.errors import Misconfigured

from .fake import Fake

Events = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def audit(make_audit: Callable[..., tallystick.Audit], fake: Fake) -> tallystick.Audit:
    return make_audit(url=fake.url, profile="fast")


@pytest.fixture
def recorded(audit: tallystick.Audit, fake: Fake) -> Events:
    """Returns what was recorded, in order, and forgets it."""

    def take() -> list[dict[str, Any]]:
        assert audit.flush(10)
        found = list(fake.stored.values())
        fake.stored.clear()
        return found

    return take


HEADERS = {
    "x-forwarded-for": "203.0.113.9, 198.51.100.7", "user-agent": "curl/8", "x-request-id": "req-1", "x-user": "ada",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}  # fmt: skip


def user_of(name: str | None) -> tallystick.User | None:
    return tallystick.User(name, email=f"{name}@acme.com") if name else None


def check_delete(event: dict[str, Any], action: str = "delete_dataset") -> None:
    """What every framework must say about the same request."""
    assert (event["action"], event.get("outcome", "success")) == (action, "success")
    assert event["actor"]["id"] == "ada"
    assert [(t["type"], t["id"]) for t in event["targets"]] == [("dataset", "ds_1")]
    context = event["context"]
    assert (context["user_agent"], context["request_id"]) == ("curl/8", "req-1")
    assert context["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert context["http"]["method"] == "DELETE"
    assert context["http"]["path"].endswith("/datasets/ds_1")
    assert context["http"]["status"] in (200, 204)


# Addresses


@pytest.mark.parametrize(
    ("trusted", "peer", "header", "expected"),
    [
        ([], "10.0.0.1", "203.0.113.9", "10.0.0.1"),
        (["10.0.0.0/8"], "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        (["10.0.0.0/8"], "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, nonsense, 10.0.0.2", "10.0.0.2"),
        (["10.0.0.0/8"], "10.0.0.1", "", "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", "10.0.0.9", "10.0.0.9"),
        (["10.0.0.0/8", "::1/128"], "::1", "[2001:db8::5]:443", "2001:db8::5"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", "203.0.113.9:5000", "203.0.113.9"),
        (["10.0.0.0/8"], None, "203.0.113.9", None),
    ],
)
def test_who_is_believed_about_addresses(trusted: list[str], peer: str, header: str, expected: str) -> None:
    """Anybody can write X-Forwarded-For; believing the wrong part of it frames somebody else."""
    assert TrustedProxies(trusted).client_ip(peer, header) == expected


def test_a_wrong_network_is_told() -> None:
    """A network that is not one would silently trust nobody."""
    with pytest.raises(Misconfigured):
        TrustedProxies(["10.0.0.0/99"])


# Starlette and FastAPI


@pytest.fixture
def starlette(audit: tallystick.Audit) -> Iterator[Any]:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from tallystick.asgi import AuditMiddleware, audit_event

    async def delete_dataset(request: Request) -> Response:
        audit.record("inside", target=tallystick.Target("x", "1"))
        return Response(status_code=204)

    async def create_prompt(request: Request) -> Response:
        body = await request.json()
        return JSONResponse({"prompt": {"id": "p9", "name": body["name"]}}, 201)

    async def refuse(request: Request) -> Response:
        raise HTTPException(403)

    async def crash(request: Request) -> Response:
        raise ValueError("it broke")

    async def late(request: Request) -> Response:
        async def body() -> Any:
            yield b"first"
            raise ValueError("too late")

        return StreamingResponse(body())

    async def read(request: Request) -> Response:
        return JSONResponse([1])

    async def read_but_matters(request: Request) -> Response:
        audit_event().action = "dataset.export"
        return JSONResponse([1])

    async def not_worth_it(request: Request) -> Response:
        audit_event().drop()
        return JSONResponse([1])

    routes = [
        Route("/datasets/{dataset_id}", delete_dataset, methods=["DELETE"]),
        *(Route(f"/{f.__name__}", f, methods=["GET", "POST"])
          for f in (create_prompt, refuse, crash, late, read, read_but_matters, not_worth_it)),
    ]  # fmt: skip
    middleware = Middleware(
        AuditMiddleware, audit=audit, auto="mutations", trusted_proxies=["127.0.0.0/8"],
        resolve_actor=lambda scope: user_of(dict(scope["headers"]).get(b"x-user", b"").decode()),
        skip=lambda path, method: path.startswith("/health"),
    )  # fmt: skip
    app = Starlette(routes=routes, middleware=[middleware])
    with TestClient(app, client=("127.0.0.1", 5000), raise_server_exceptions=False) as client:
        yield client


def test_starlette(starlette: Any, recorded: Events) -> None:
    """A state-changing request must be in the log with everything an auditor asks about."""
    assert starlette.delete("/datasets/ds_1", headers=HEADERS).status_code == 204
    inside, outside = recorded()
    check_delete(outside)
    assert outside["context"]["ip"] == "198.51.100.7"
    assert (inside["action"], inside["actor"]["id"]) == ("inside", "ada")
    assert inside["context"]["request_id"] == "req-1"


def test_targets_out_of_bodies(starlette: Any, recorded: Events) -> None:
    """What was created has no id in the address; it is in the answer."""
    answer = starlette.post("/create_prompt", json={"name": "greeting"})
    assert answer.json() == {"prompt": {"id": "p9", "name": "greeting"}}
    (event,) = recorded()
    assert event["targets"] == [{"type": "prompt", "id": "p9", "name": "greeting"}]
    assert event["actor"] == {"type": "anonymous"}
    assert "after" not in event


@pytest.mark.parametrize(
    ("path", "status", "outcome"),
    [
        ("/refuse", 403, "denied"),
        ("/crash", 500, "failure"),
        ("/nowhere", 404, "failure"),
        ("/read", 200, "success"),
    ],
)
def test_outcomes(starlette: Any, recorded: Events, path: str, status: int, outcome: str) -> None:
    """Denied and failed attempts are what an investigation looks for."""
    assert starlette.post(path).status_code == status
    (event,) = recorded()
    assert event.get("outcome", "success") == outcome
    if path == "/crash":
        assert event["error"] == {"type": "ValueError", "message": "it broke"}
    if path == "/nowhere":
        assert event["action"] == "http.post"


def test_an_exception_after_the_answer(starlette: Any, recorded: Events) -> None:
    """A failure after the first byte must be told, and the act that was told already must stand."""
    starlette.post("/late")
    first, second = recorded()
    assert first.get("outcome", "success") == "success"
    assert second["outcome"] == "failure"
    assert second["metadata"]["after_answer"] is True


def test_only_what_matters(starlette: Any, recorded: Events) -> None:
    """Reading is not recorded unless the application says so; and it can say no."""
    starlette.get("/read")
    starlette.post("/health")
    starlette.post("/not_worth_it")
    assert recorded() == []
    starlette.get("/read_but_matters")
    assert [event["action"] for event in recorded()] == ["dataset.export"]


def test_request_ids_of_strangers(starlette: Any, recorded: Events) -> None:
    """A header that is no id must not become one; a request without one still gets one."""
    starlette.post("/read", headers={"x-request-id": "evil id\twith spaces"})
    starlette.post("/read")
    for event in recorded():
        assert len(event["context"]["request_id"]) == 36


def test_fastapi(audit: tallystick.Audit, recorded: Events) -> None:
    """The route's name is the action, and the event can be had as a dependency."""
    from fastapi import Depends, FastAPI
    from fastapi.testclient import TestClient

    from tallystick.asgi import AuditMiddleware, audit_event

    app = FastAPI()

    async def resolve(scope: Any) -> tallystick.User | None:
        return user_of(dict(scope["headers"]).get(b"x-user", b"").decode())

    app.add_middleware(AuditMiddleware, audit=audit, auto="mutations", resolve_actor=resolve)

    @app.delete("/datasets/{dataset_id}")
    async def delete_dataset(dataset_id: str) -> dict[str, bool]:
        return {"deleted": True}

    @app.put("/models/{model_id}", name="model.rename")
    def rename(model_id: str, event: tallystick.Draft = Depends(audit_event)) -> None:
        event.before, event.after = {"name": "a"}, {"name": "b"}

    with TestClient(app, client=("127.0.0.1", 1)) as client:
        client.delete("/datasets/ds_1", headers=HEADERS)
        client.put("/models/m1", headers=HEADERS)
        client.put("/models/m1/nothing", headers=HEADERS)
    deleted, renamed, nothing = recorded()
    check_delete(deleted)
    assert deleted["context"]["ip"] == "127.0.0.1"
    assert (renamed["action"], renamed["after"]) == ("model.rename", {"name": "b"})
    assert [(t["type"], t["id"]) for t in renamed["targets"]] == [("model", "m1")]
    assert (nothing["action"], nothing["outcome"]) == ("http.put", "failure")


def test_litestar(audit: tallystick.Audit, recorded: Events) -> None:
    """Litestar keeps its routes elsewhere; the event must be the same."""
    litestar = pytest.importorskip("litestar", reason="litestar is not installed")
    from litestar.middleware import DefineMiddleware
    from litestar.testing import TestClient

    from tallystick.asgi import AuditMiddleware

    @litestar.delete("/datasets/{dataset_id:str}")
    async def delete_dataset(dataset_id: str) -> None:
        pass

    middleware = DefineMiddleware(
        AuditMiddleware, audit=audit, auto="mutations",
        resolve_actor=lambda scope: user_of(dict(scope["headers"]).get(b"x-user", b"").decode()),
    )  # fmt: skip
    app = litestar.Litestar([delete_dataset], middleware=[middleware])
    with TestClient(app) as client:
        assert client.delete("/datasets/ds_1", headers=HEADERS).status_code == 204
    (event,) = recorded()
    check_delete(event)


# WSGI, Flask, Django


def test_wsgi(audit: tallystick.Audit, recorded: Events) -> None:
    """The plain protocol, without a framework that knows its routes."""
    from tallystick.wsgi import AuditMiddleware

    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        audit.record("inside", target=tallystick.Target("x", "1"))
        if environ["PATH_INFO"] == "/crash":
            raise ValueError("it broke")
        environ["tallystick.route"] = "dataset.delete"
        start_response("403 Forbidden" if environ["PATH_INFO"] == "/no" else "204 No Content", [])
        return Body([b""])

    app = AuditMiddleware(
        application, audit=audit, auto="mutations", trusted_proxies=["10.0.0.0/8"],
        resolve_actor=lambda environ: user_of(environ.get("HTTP_X_USER")),
    )  # fmt: skip
    environ = {
        "REQUEST_METHOD": "DELETE", "PATH_INFO": "/d/1", "REMOTE_ADDR": "10.0.0.1", "HTTP_X_USER": "ada",
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    }  # fmt: skip
    assert list(app(dict(environ), lambda *_: None)) == [b""]
    list(app({**environ, "PATH_INFO": "/no"}, lambda *_: None))
    with pytest.raises(ValueError, match="it broke"):
        list(app({**environ, "PATH_INFO": "/crash"}, lambda *_: None))
    found = recorded()
    outside = [event for event in found if event["action"] != "inside"]
    assert [(e["action"], e.get("outcome", "success")) for e in outside] == [
        ("dataset.delete", "success"), ("dataset.delete", "denied"), ("http.delete", "failure"),
    ]  # fmt: skip
    assert {event["context"]["ip"] for event in found} == {"203.0.113.9"}
    assert {event["actor"]["id"] for event in found} == {"ada"}
    assert closed == [True, True]
    with pytest.raises(tallystick.ValidationError):
        audit.record("nobody.left")


def test_flask(audit: tallystick.Audit, recorded: Events) -> None:
    """Flask's endpoints, view arguments, error handlers and aborts must all end in an event."""
    flask = pytest.importorskip("flask", reason="flask is not installed")
    from tallystick.flask import Audited, audit_event

    app = flask.Flask("tests")

    @app.before_request
    def guard() -> Any:
        if flask.request.headers.get("x-blocked"):
            flask.abort(401)

    Audited(
        app,
        audit=audit,
        auto="mutations",
        resolve_actor=lambda request: user_of(request.headers.get("x-user")),
    )

    @app.delete("/datasets/<dataset_id>")
    def delete_dataset(dataset_id: str) -> Any:
        return "", 204

    @app.post("/prompts")
    def create_prompt() -> Any:
        audit_event().after = {"name": "greeting"}
        return {"id": "p9", "name": flask.request.json["name"]}, 201

    @app.post("/crash")
    def crash() -> Any:
        raise ValueError("it broke")

    client = app.test_client()
    client.delete("/datasets/ds_1", headers=HEADERS)
    client.post("/prompts", json={"name": "greeting"})
    client.post("/prompts", headers={"x-blocked": "1"})
    client.post("/crash")
    app.testing = True
    with pytest.raises(ValueError, match="it broke"):
        client.post("/crash")
    client.get("/datasets/ds_1")
    deleted, created, blocked, crashed, raised = recorded()
    check_delete(deleted)
    assert (created["action"], created["targets"][0]) == (
        "create_prompt",
        {"type": "prompt", "id": "p9", "name": "greeting"},
    )
    assert created["after"] == {"name": "greeting"}
    assert (blocked["action"], blocked["outcome"]) == ("create_prompt", "denied")
    for event in (crashed, raised):
        assert (event["outcome"], event["error"]["type"]) == ("failure", "ValueError")


DJANGO = """
import json, sys
import django
from django.conf import settings
import tallystick
audit = tallystick.Audit(linger_seconds=0.01)
settings.configure(
    DEBUG=False, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF="__main__", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["TALLYSTICK_SPOOL"] + "/db.sqlite"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["tallystick.django.AuditMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    TALLYSTICK={"audit": audit, "auto": "mutations", "trusted_proxies": ["127.0.0.0/8"]},
)
django.setup()
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
def delete_dataset(request, dataset_id):
    return JsonResponse({"deleted": True})
def refuse(request):
    raise PermissionDenied("no")
def crash(request):
    raise ValueError("it broke")
async def create_prompt(request):
    return JsonResponse({"id": "p9", "name": json.loads(request.body)["name"]}, status=201)
urlpatterns = [path("datasets/<str:dataset_id>", delete_dataset, name="delete_dataset"), path("refuse", refuse), path("crash", crash),
               path("prompts", create_prompt)]
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
user = User.objects.create_user("ada", "ada@acme.com", is_staff=True)
client = Client(raise_request_exception=False)
client.force_login(user)
headers = {"x-forwarded-for": "203.0.113.9, 198.51.100.7", "user-agent": "curl/8", "x-request-id": "req-1",
           "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
client.delete("/datasets/ds_1", headers=headers)
client.post("/refuse"); client.post("/crash"); client.get("/datasets/1"); client.post("/nowhere")
import asyncio
async def later():
    asynchronous = AsyncClient(); await asynchronous.aforce_login(user)
    await asynchronous.post("/prompts", {"name": "greeting"}, content_type="application/json")
asyncio.run(later())
assert audit.flush(10)
"""


def test_django(fake: Fake, tmp_path: Any) -> None:
    """Django's own users, routes, exceptions and both of its worlds, sync and async."""
    pytest.importorskip("django", reason="django is not installed")
    from .test_processes import run

    run(DJANGO, fake, tmp_path)
    deleted, refused, crashed, nowhere, created = fake.stored.values()
    assert deleted["actor"] == {
        "type": "user", "id": "1", "name": "ada", "email": "ada@acme.com", "roles": {"organization": "staff"},
    }  # fmt: skip
    deleted["actor"]["id"] = "ada"
    check_delete(deleted)
    assert deleted["context"]["ip"] == "198.51.100.7"
    assert (refused["action"], refused["outcome"]) == ("refuse", "denied")
    assert (crashed["outcome"], crashed["error"]["message"]) == ("failure", "it broke")
    assert (nowhere["action"], nowhere["outcome"]) == ("http.post", "failure")
    assert created["targets"] == [{"type": "prompt", "id": "p9", "name": "greeting"}]
    assert json.dumps(created["actor"]["id"]) == '"1"'


def test_describe_says_what_routes_do_not(
    make_audit: Callable[..., tallystick.Audit], fake: Fake, caplog: Any
) -> None:
    """An application of somebody else must get a readable trail; a mistake in describing it must not lose the event."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from tallystick.asgi import AuditMiddleware
    from tallystick.client.web_act import Call, Draft

    def describe(draft: Draft, call: Call) -> None:
        if call.arguments["name"] == "reads":
            draft.drop()
            return
        draft.action = "thing.create"
        draft.targets = [tallystick.Target("thing", call.result["made"], call.arguments["name"])]
        draft.metadata["status"] = call.status
        if call.arguments["name"] == "forged":
            draft.actor = tallystick.Anonymous()

    async def make(request: Request) -> JSONResponse:
        return JSONResponse({"made": 7} if (await request.json())["name"] != "odd" else [], 201)

    audit = make_audit(url=fake.url, profile="fast")
    app = AuditMiddleware(
        Starlette(routes=[Route("/x", make, methods=["POST"])]), audit=audit, auto="mutations", describe=describe,
        resolve_actor=lambda scope: user_of("ada"),
    )  # fmt: skip
    client = TestClient(app)
    for name in ("one", "reads", "odd", "forged"):
        assert client.post("/x", json={"name": name}).status_code == 201
    assert audit.flush(30)
    one, odd, forged = fake.stored.values()
    assert (one["action"], one["targets"]) == ("thing.create", [{"type": "thing", "id": "7", "name": "one"}])
    assert (one["actor"]["id"], one["metadata"]["status"]) == ("ada", 201)
    assert (odd["action"], odd.get("outcome", "success")) == ("thing.create", "success")
    assert "describe failed" in caplog.text
    assert forged["actor"] == {"type": "anonymous"}
