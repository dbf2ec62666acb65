"""The routes of an application: Starlette, FastAPI, Litestar, Flask, Django; and whether each leaves an event by itself."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import Struct

from tallystick.catalogue.usage import used_actions
from tallystick.client.web_act import MUTATIONS, WebSettings, action_of
from tallystick.errors import AuditError, Misconfigured

_READS: Final = frozenset({"GET"})
_PLACE: Final = re.compile(r"\{([^{}:]+)(?::(\w+))?\}|<(?:(\w+)(?:\([^<>]*\))?:)?(\w+)>")
_WHOLE: Final = frozenset({"path"})


class Route(Struct, frozen=True, kw_only=True):
    """One method of one path; `name` is the framework's, `handler` the function that answers, None where it is not known.

    `by_middleware` tells whether a middleware of ours records it whatever it does.
    """

    method: str
    path: str
    name: str | None
    handler: Callable[..., Any] | None
    by_middleware: bool

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request was for this route."""
        return method == self.method and _pattern(self.path).fullmatch(path) is not None

    def actions(self) -> set[str]:
        """Return the actions that its own code names, and the one of the middleware."""
        found = set(_actions_in(self.handler))
        if self.by_middleware:
            found.add(action_of(self.name, self.method))
        return found

    def how(self) -> tuple[str, ...]:
        """Return how it leaves events: see `Part`."""
        by = ["middleware"] if self.by_middleware else []
        return (*by, *(["handler"] if _says_something(self.handler) else ()))


def routes_of(app: Any, *, reads: bool = False) -> list[Route]:
    """Return what an application answers that changes something, with `reads` what only reads as well.

    Raises Misconfigured for an application of a kind that has no table of routes.
    """
    methods = MUTATIONS | _READS if reads else MUTATIONS
    found = {(one.method, one.path): one for one in _routes(app) if one.method in methods}
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]


def _routes(app: Any) -> Iterator[Route]:
    inner, settings = _unwrapped(app, [])
    if hasattr(inner, "url_map"):
        audited = inner.extensions.get("tallystick")
        return _flask(inner, [*settings, *([audited.settings] if audited else [])])
    if hasattr(inner, "routes"):
        return _asgi(inner.routes, "", [*settings, *_starlette_settings(inner)])
    if type(inner).__module__.startswith("django."):
        return _django(settings)
    raise Misconfigured(
        f"a {type(inner).__name__} has no table of routes that is known here: give the application itself, of Starlette, "
        "FastAPI, Litestar, Flask or Django"
    )


def _unwrapped(app: Any, settings: list[WebSettings]) -> tuple[Any, list[WebSettings]]:
    """Return the application inside of middleware that was put around it by hand."""
    while not hasattr(app, "routes") and not hasattr(app, "url_map") and hasattr(app, "app"):
        if type(app).__module__ in ("tallystick.asgi", "tallystick.wsgi"):
            settings.append(app.settings)
        app = app.app
    return app, settings


def _starlette_settings(app: Any) -> Iterator[WebSettings]:
    for one in getattr(app, "user_middleware", ()):
        if getattr(one.cls, "__module__", "") == "tallystick.asgi":
            yield WebSettings(auto=one.kwargs.get("auto"), skip=one.kwargs.get("skip"))
    for one in getattr(app, "middleware", ()) if not callable(getattr(app, "middleware", None)) else ():
        if getattr(getattr(one, "middleware", None), "__module__", "") == "tallystick.asgi":  # Litestar
            yield WebSettings(auto=one.kwargs.get("auto"), skip=one.kwargs.get("skip"))


def _asgi(routes: Any, prefix: str, settings: list[WebSettings]) -> Iterator[Route]:
    for route in routes:
        included = getattr(route, "original_router", None)  # FastAPI, of a router that was included
        below = getattr(route, "routes", None)
        if included is not None:
            yield from _asgi(included.routes, prefix + route.include_context.prefix, settings)
        elif below:  # a mounted application or router
            mounted = getattr(route, "app", None)
            yield from _asgi(below, prefix + route.path, [*settings, *_starlette_settings(mounted)])
        elif getattr(route, "route_handlers", None):  # Litestar
            for handler in route.route_handlers:
                for method in handler.http_methods:
                    yield _route(
                        method,
                        prefix + route.path,
                        handler.name or handler.handler_name,
                        handler.fn,
                        settings,
                    )
        elif getattr(route, "methods", None):
            name = getattr(route, "name", None)
            for method in route.methods:
                yield _route(method, prefix + route.path, name, route.endpoint, settings)


def _flask(app: Any, settings: list[WebSettings]) -> Iterator[Route]:
    for rule in app.url_map.iter_rules():
        for method in rule.methods or ():
            yield _route(method, rule.rule, rule.endpoint, app.view_functions.get(rule.endpoint), settings)


def _django(settings: list[WebSettings]) -> Iterator[Route]:
    from django.conf import settings as project
    from django.urls import get_resolver

    if "tallystick.django.AuditMiddleware" in project.MIDDLEWARE:
        from tallystick.django.middleware import configured

        settings = [*settings, configured()[1]]
    for path, name, view in _django_patterns(get_resolver().url_patterns, "/"):
        kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
        for method in sorted(MUTATIONS | _READS):
            handler = view if kind is None else getattr(kind, method.lower(), None)
            if handler is not None and method in _allowed(view, kind):
                yield _route(method, path, name, handler, settings)


def _django_patterns(patterns: Any, prefix: str) -> Iterator[tuple[str, str | None, Any]]:
    for one in patterns:
        path = prefix + str(one.pattern)
        if hasattr(one, "url_patterns"):
            yield from _django_patterns(one.url_patterns, path)
        else:
            yield path, one.name, one.callback


def _allowed(view: Any, kind: Any) -> frozenset[str]:
    """Return the methods of a view; a function says so only by a decorator, else it takes them all."""
    if kind is not None:
        return frozenset(method for method in MUTATIONS | _READS if hasattr(kind, method.lower()))
    for cell in getattr(view, "__closure__", None) or ():
        held = cell.cell_contents
        if isinstance(held, list | tuple) and held and set(held) <= MUTATIONS | {"GET", "HEAD", "OPTIONS"}:
            return frozenset(held)  # require_http_methods
    return MUTATIONS | _READS


def _route(method: str, path: str, name: Any, handler: Any, settings: list[WebSettings]) -> Route:
    tried = _PLACE.sub("1", path)  # `skip` wants a path that somebody might ask for
    return Route(
        method=method, path=path, name=name if isinstance(name, str) else None, handler=handler,
        by_middleware=any(one.records(method, tried) for one in settings),
    )  # fmt: skip


def _pattern(path: str) -> re.Pattern[str]:
    if path.startswith("/^"):  # Django, written as a regular expression
        return re.compile("/" + path[2:])
    made, end = "", 0
    for place in _PLACE.finditer(path):
        kind = place[2] or place[3]
        made += re.escape(path[end : place.start()]) + (".+" if kind in _WHOLE else "[^/]+")
        end = place.end()
    return re.compile(made + re.escape(path[end:]))


def _source(handler: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(handler)))
    except (OSError, TypeError, ValueError):
        return ""


def _actions_in(handler: Any) -> list[str]:
    try:
        return [one.action for one in used_actions(_source(handler), "a handler")]
    except AuditError:
        return []


def _says_something(handler: Any) -> bool:
    """Tell whether a handler's own lines record, or fill the event of their request."""
    return bool(_actions_in(handler)) or re.search(r"\baudit_event\b", _source(handler)) is not None


def is_loaded(module: str) -> bool:
    """Tell whether an application has brought a framework along."""
    return module in sys.modules
