"""Measure an application: hold its routes, models and permissions against what can be and what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final

from msgspec import Struct

from tallystick.coverage.part import Coverage, Part, words
from tallystick.coverage.routes import Route, is_loaded, routes_of
from tallystick.coverage.seen import Seen
from tallystick.errors import Misconfigured
from tallystick.outbox.rows import AuditOptions, snake

_ROW_VERBS: Final = ("create", "update", "delete")
_READING: Final = frozenset({"read", "view", "list", "get", "search", "download"})
# Permissions that stand for every change of a thing.
_ANY: Final = frozenset({"write", "manage", "edit", "admin", "all", "*"})


class Model(Struct, frozen=True):
    """A model: its name, the type that its rows have as targets, and whether their changes are captured."""

    name: str
    type: str
    is_captured: bool


def measure(
    *,
    app: Any = None,
    models: Iterable[Any] = (),
    permissions: Iterable[str] = (),
    seen: Seen | None = None,
    reads: bool = False,
) -> Coverage:
    """Return what of an application can leave an event.

    Args:
        app: the application with the routes; None for none. models: bases of SQLAlchemy (`Base`), or "django" for all of a
            Django project. permissions: their names. seen: what tests recorded. reads: ask of what only reads, too.

    A route counts as covered when a middleware of ours records it, when its handler names an action, or when a test had
    it record something. What a handler records through functions it calls is only known from tests.
    """
    said = seen or Seen()
    routes = [] if app is None else routes_of(app, reads=reads)
    found = [model for base in models for model in models_of(base)]
    actions = set(said.actions)
    for route in routes:
        actions |= route.actions()
    for model in found:
        actions |= {f"{model.type}.{verb}" for verb in _ROW_VERBS if model.is_captured}
    return Coverage(
        [*_routes(routes, said), *_models(found, said), *_permissions(permissions, actions, said, reads)]
    )


def _routes(routes: Iterable[Route], seen: Seen) -> Iterator[Part]:
    for route in routes:
        recorded = {one.action for one in seen.requests if route.matches(one.method, one.path)}
        yield Part(
            kind="route", name=f"{route.method} {route.path}", how=route.how(), seen=tuple(sorted(recorded))
        )


def _models(models: Iterable[Model], seen: Seen) -> Iterator[Part]:
    for model in models:
        recorded = {
            action
            for kind, action in seen.targets
            if kind == model.type and action.startswith(f"{model.type}.")
        }
        how = ("rows",) if model.is_captured else ()
        yield Part(kind="model", name=model.name, how=how, seen=tuple(sorted(recorded)))


def _permissions(names: Iterable[str], actions: set[str], seen: Seen, reads: bool) -> Iterator[Part]:
    for name in names:
        wanted = words(name)
        if not reads and _READING & set(wanted):
            continue
        fitting = sorted(action for action in actions if _fits(wanted, words(action)))
        yield Part(
            kind="permission", name=name, how=("action",) if fitting else (),
            seen=tuple(action for action in fitting if action in seen.actions),
        )  # fmt: skip


def _fits(permission: list[str], action: list[str]) -> bool:
    """Tell whether an action is what a permission allows: the same thing, and the same verb or any."""
    nouns = [word for word in permission if word not in _ANY]
    return bool(nouns) and set(nouns) <= set(action) and not _READING & set(action) - set(permission)


def models_of(base: Any) -> list[Model]:
    """Return the models of a SQLAlchemy base, or of the Django project that is set up ("django")."""
    if base == "django":
        return _django_models()
    registry = getattr(base, "registry", None)
    if registry is None:
        raise Misconfigured(
            "models are given as a base of SQLAlchemy (with a registry), or as the word django"
        )
    return [_model(one.class_) for one in sorted(registry.mappers, key=lambda one: one.class_.__name__)]


def _model(kind: Any) -> Model:
    options: AuditOptions | None = getattr(kind, "__audit__", None)
    return Model(kind.__name__, (options and options.type) or snake(kind.__name__), options is not None)


def _django_models() -> list[Model]:
    from django.apps import apps

    known: dict[str, Any] = {}
    if is_loaded("tallystick.django.registry"):
        from tallystick.django.registry import watched

        known = watched
    found: list[Model] = []
    for kind in apps.get_models():
        meta = kind._meta
        if meta.managed and not meta.proxy and not kind.__module__.startswith("tallystick."):
            told = known.get(meta.db_table)
            found.append(Model(meta.label, told.type if told else snake(kind.__name__), told is not None))
    return found


def named(reference: str) -> Any:
    """Return what `module:name` stands for; raises Misconfigured when there is no such thing."""
    module, _, name = reference.partition(":")
    try:
        value: Any = import_module(module)
        for part in filter(None, name.split(".")):
            value = getattr(value, part)
        return value
    except (ImportError, AttributeError) as error:
        raise Misconfigured(
            f"{reference} cannot be imported ({error}); write module:name, as in app.main:app"
        ) from error
