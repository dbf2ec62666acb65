"""The coverage report: what can never leave an event is named, what can is not, and CI fails below a threshold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tallystick.coverage.measure import measure
from tallystick.coverage.part import Coverage, Part, words
from tallystick.coverage.routes import routes_of
from tallystick.coverage.seen import Request, Seen
from tallystick.errors import Misconfigured

ROOT = Path(__file__).parents[2]


def how(app: Any, **more: Any) -> dict[str, tuple[str, ...]]:
    return {part.name: part.how for part in measure(app=app, **more).parts if part.kind == "route"}


@pytest.fixture
def audit(tmp_path: Path) -> Any:
    import tallystick

    made = tallystick.Audit(url="http://127.0.0.1:9", spool=tmp_path)
    yield made
    made.close(0)


def silent(**arguments: Any) -> None: ...


def telling(audit: Any, **arguments: Any) -> None:
    audit.record("thing.tell")


def test_starlette_and_fastapi(audit: Any) -> None:
    """Included routers, mounts, skipped paths and silent handlers must each be told for what they are."""
    from fastapi import APIRouter, FastAPI
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    from tallystick.asgi import AuditMiddleware

    router = APIRouter()
    router.post("/deep/{id}")(silent)
    router.get("/deep")(silent)
    bare = FastAPI()
    bare.include_router(router, prefix="/v1")
    bare.delete("/told")(telling)
    assert how(bare) == {"DELETE /told": ("handler",), "POST /v1/deep/{id}": ()}
    assert "GET /v1/deep" in how(bare, reads=True)
    bare.add_middleware(
        AuditMiddleware, audit=audit, auto="mutations", skip=lambda path, method: path == "/v1/deep/1"
    )
    assert how(bare) == {"DELETE /told": ("middleware", "handler"), "POST /v1/deep/{id}": ()}
    inner = Starlette(routes=[Route("/x", silent, methods=["PUT"])])
    outer = Starlette(routes=[Mount("/in", inner), Route("/y", silent, methods=["POST"])])
    assert how(outer) == {"PUT /in/x": (), "POST /y": ()}
    assert set(how(AuditMiddleware(outer, audit=audit, auto="mutations")).values()) == {("middleware",)}
    assert set(how(AuditMiddleware(outer, audit=audit)).values()) == {()}


def test_litestar(audit: Any) -> None:
    """Litestar has a table of its own kind."""
    litestar = pytest.importorskip("litestar", reason="litestar is not installed")
    from litestar.middleware import DefineMiddleware

    from tallystick.asgi import AuditMiddleware

    @litestar.post("/things/{id:int}", sync_to_thread=False)
    def change(id: int) -> None: ...

    assert how(litestar.Litestar([change])) == {"POST /things/{id:int}": ()}
    app = litestar.Litestar(
        [change], middleware=[DefineMiddleware(AuditMiddleware, audit=audit, auto="mutations")]
    )
    assert how(app) == {"POST /things/{id:int}": ("middleware",)}


def test_flask(audit: Any) -> None:
    """Flask's rules, with and without the middleware, and what was seen in a request to one of them."""
    from flask import Flask

    from tallystick.flask import Audited

    app = Flask("x")
    app.add_url_rule("/keys/<int:id>", "key", silent, methods=["PATCH"])
    app.add_url_rule("/files/<path:name>", "file", silent, methods=["PUT"])
    assert how(app) == {"PUT /files/<path:name>": (), "PATCH /keys/<int:id>": ()}
    seen = Seen()
    seen.requests = {
        Request("PATCH", "/keys/7", "key.update"),
        Request("PUT", "/files/a/b", "file.put"),
        Request("POST", "/keys/7", "no"),
    }
    assert {part.name: part.seen for part in measure(app=app, seen=seen).parts} == {
        "PATCH /keys/<int:id>": ("key.update",), "PUT /files/<path:name>": ("file.put",),
    }  # fmt: skip
    Audited(app, audit=audit, auto="mutations")
    assert set(how(app).values()) == {("middleware",)}


DJANGO = """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views import View
from django.views.decorators.http import require_http_methods
settings.configure(ROOT_URLCONF="__main__", MIDDLEWARE=[], INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
                   TALLYSTICK={"auto": "mutations"}, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
                   DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()
class Thing(View):
    def get(self, request, pk): ...
    def delete(self, request, pk): ...
@require_http_methods(["POST"])
def make(request): ...
urlpatterns = [path("api/", include([path("things/<int:pk>/", Thing.as_view(), name="thing")])), re_path(r"^make/\\d+$", make)]
from django.core.wsgi import get_wsgi_application
from tallystick.coverage.measure import measure
from tallystick.coverage.routes import routes_of
app = get_wsgi_application()
print(sorted((part.name, part.how) for part in measure(app=app).parts))
settings.MIDDLEWARE.append("tallystick.django.AuditMiddleware")
print(sorted((part.name, part.how) for part in measure(app=app).parts))
assert [one.name for one in measure(models=["django"]).parts if one.kind == "model" and "auth.User" == one.name]
make_route = next(one for one in routes_of(app) if one.method == "POST")
assert make_route.matches("POST", "/make/7") and not make_route.matches("POST", "/make/x")
"""


def test_django(tmp_path: Path) -> None:
    """Views, classes of views, included patterns and regular expressions of a project must all be asked."""
    pytest.importorskip("django", reason="django is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DJANGO],
        capture_output=True, text=True, timeout=100, env={**os.environ, "TALLYSTICK_SPOOL": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    routes = "DELETE /api/things/<int:pk>/", r"POST /^make/\d+$"
    expected = [str([(route, by) for route in routes]) for by in ((), ("middleware",))]
    assert done.stdout.splitlines() == expected


def test_permissions() -> None:
    """A permission is covered by an action on the same thing with its verb, or any where it stands for all of them."""
    names = [
        "models:promote",
        "models:write",
        "tokens:create",
        "datasets:write",
        "models:read",
        "apiKeys:write",
    ]
    seen = Seen(actions={"model.promote", "api_key.rotate", "dataset.view"})
    found = {part.name: part.is_covered for part in measure(permissions=names, seen=seen).parts}
    assert found == {
        "models:promote": True, "models:write": True, "tokens:create": False, "datasets:write": False, "apiKeys:write": True,
    }  # fmt: skip
    assert words("auditLogs:read_all") == ["audit", "log", "read", "all"]


def test_shares() -> None:
    """One kind must not make up for another; nothing at all is not a reason to fail."""
    parts = [
        Part(kind="route", name="a"),
        Part(kind="route", name="b", how=("handler",)),
        Part(kind="model", name="C", seen=("c.create",)),
    ]
    found = Coverage(parts)
    assert (found.share("route"), found.share("model"), found.share("permission")) == (50.0, 100.0, 100.0)
    assert found.below(60) == ["route"]
    assert found.as_text().splitlines()[0].split() == ["route", "a", "—", "nothing"]
    assert found.as_json()["covered_percent"]["route"] == 50.0


def test_what_is_no_application() -> None:
    """A wrong reference must say what to give instead."""
    with pytest.raises(Misconfigured, match="no table of routes"):
        routes_of(object())
    with pytest.raises(Misconfigured, match="base of SQLAlchemy"):
        measure(models=[object()])


TESTS = """
from fastapi.testclient import TestClient
from examples.fastapi_app.app import app
ADA = {"authorization": "Bearer ada"}
def test_make(audit_events):
    with TestClient(app) as client:
        assert client.post("/models", params={"name": "x"}, headers=ADA).status_code == 201
def test_promote(audit_events):
    with TestClient(app) as client:
        made = client.post("/models", params={"name": "y"}, headers=ADA).json()
        client.post(f"/models/{made['id']}/promote", headers=ADA)
"""
PERMISSIONS = "NAMES = ['models:promote', 'tokens:create', 'models:read', 'datasets:delete']"


def run_tests(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_app.py").write_text(TESTS)
    (folder / "permissions.py").write_text(PERMISSIONS)
    env = {
        **{name: text for name, text in os.environ.items() if not name.startswith(("TALLYSTICK_", "PYTEST"))},
        "PYTHONPATH": f"{ROOT}:{folder}", "TALLYSTICK_SPOOL": str(folder / "spool"), "DATABASE_URL": f"sqlite:///{folder}/x.db",
        "TALLYSTICK_URL": "http://127.0.0.1:9", "TALLYSTICK_API_KEY": "tst_none", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "tallystick.pytest_plugin", "-p", "xdist", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder),
        "--audit-seen", "seen.json", "--audit-coverage", "examples.fastapi_app.app:app", "--audit-coverage-json", "report.json",
        "--audit-coverage-models", "examples.fastapi_app.app:Base", "--audit-coverage-permissions", "permissions:NAMES", *more,
        str(folder / "test_app.py"),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=folder, env=env)


def test_the_example_in_a_test_run(tmp_path: Path) -> None:
    """A run must name what can leave nothing, count what its tests saw, and fail below the threshold; the command agrees."""
    done = run_tests(tmp_path, "--audit-coverage-min", "100")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "FAILED: less than 100 % of permissions" in done.stdout
    parts = {part["name"]: part for part in json.loads((tmp_path / "report.json").read_text())["parts"]}
    assert parts["POST /models"]["seen"] == ["model.create"]
    assert parts["POST /models/{model_id}/promote"]["seen"] == ["model.promote", "model.update"]
    assert parts["POST /tokens"]["how"] == ["middleware"]
    assert (parts["Model"]["how"], parts["Model"]["seen"]) == (
        ["rows"],
        ["model.create", "model.promote", "model.update"],
    )
    assert {name for name, part in parts.items() if not part["covered"]} == {"datasets:delete"}
    assert json.loads((tmp_path / "seen.json").read_text())["actions"] == [
        "model.create",
        "model.promote",
        "model.update",
    ]
    command = [
        str(Path(sys.executable).with_name("tallystick")), "coverage", "examples.fastapi_app.app:app", "--min", "100",
        "--models", "examples.fastapi_app.app:Base",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TALLYSTICK_PROFILE": "memory"}
    alone = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env)
    assert alone.returncode == 1, alone.stderr
    assert "2 of 3 routes (67 %)" in alone.stdout
    seen = subprocess.run(
        [*command, "--seen", "seen.json"], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env
    )
    assert seen.returncode == 0, seen.stdout


def test_a_worker(tmp_path: Path) -> None:
    """What a worker of a divided run saw must reach the report."""
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    done = run_tests(tmp_path, "-n", "1", "--audit-coverage-min", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 routes (100 %)" in done.stdout
