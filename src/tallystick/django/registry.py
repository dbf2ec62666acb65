"""Which tables are watched, and how their rows become events.

The key is the table and not the class: proxies, historical models of migrations and through models of many-to-many
fields write to the same tables under other classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from django.apps import apps
from msgspec import Struct, structs

from tallystick.client.actors import Target
from tallystick.django.models import AuditedModel
from tallystick.errors import Misconfigured
from tallystick.outbox.rows import AuditOptions, Change, snake

By = Literal["orm", "triggers"]
Tell = Callable[[Change], Change]


class Watched(Struct, frozen=True):
    """One table: the model, its options, and who tells its changes."""

    model: Any
    type: str
    options: AuditOptions
    by: By = "orm"
    links: tuple[tuple[str, str], ...] = ()  # of a through table: column, type of the target it names
    tell: Callable[[Any, Change], tuple[str, bytes] | None] | None = None

    def others(self, row: Any) -> tuple[Target, ...]:
        """Return the rows that a row of a through table ties together."""
        return tuple(
            Target(kind, str(row[column])) for column, kind in self.links if row.get(column) is not None
        )


watched: Final[dict[str, Watched]] = {}
_asked_for: Final[list[tuple[Any, AuditOptions, By]]] = []


def audit_models(
    *chosen: Any,
    exclude: Iterable[str] = (),
    type: str | None = None,
    name: str | None = None,
    by: By = "orm",
) -> None:
    """Record every change of these models, for models whose class is not yours to change.

    Their many-to-many fields come along, and the parents of models that inherit over several tables.

    Args:
        chosen: models, or their labels as in "auth.User". exclude: fields that are in no event.
        type: of the target; by default the model's name in snake_case. name: the field that names a row for people.
        by: `orm` has what Django writes told by itself. `triggers` leaves it to triggers (`Triggers` in a migration),
            which see what others write as well and take less time; Django only tells them who acts.

    Raises Misconfigured where "tallystick.django" is not among INSTALLED_APPS: nothing would be recorded.
    """
    if not apps.is_installed("tallystick.django"):
        raise Misconfigured(
            '"tallystick.django" is not in INSTALLED_APPS, so no change of a model would be recorded'
        )
    for model in chosen:
        _asked_for.append((model, AuditOptions(type=type, exclude=frozenset(exclude), name=name), by))
    if apps.models_ready:
        complete()


def complete() -> None:
    """Watch what was asked for while models were still being loaded."""
    for model, options, by in _asked_for:
        watch(apps.get_model(model) if isinstance(model, str) else model, options, by)


def on_prepared(*, sender: Any, **more: Any) -> None:
    """Watch a model that was declared after the others."""
    prepared(sender)


def prepared(model: Any) -> None:
    """Watch a model if it is one that says so."""
    meta: Any = model._meta
    if issubclass(model, AuditedModel) and not meta.abstract:
        watch(model, model.__audit__)


def watch(model: Any, options: AuditOptions, by: By = "orm") -> None:
    """Watch a model's table, those of its parents, and those of its many-to-many fields."""
    model = model._meta.concrete_model
    meta = model._meta
    unknown = (
        options.exclude
        - {field.name for field in meta.get_fields()}
        - {f.attname for f in meta.concrete_fields}
    )
    if unknown:
        raise Misconfigured(f"{meta.label} has no field {', '.join(sorted(unknown))} to exclude")
    options = structs.replace(options, exclude=frozenset(options.exclude))
    kind = options.type or snake(meta.object_name)
    watched[meta.db_table] = Watched(model, kind, options, by)
    for parent in meta.all_parents:
        if parent._meta.db_table not in watched:
            inherited = AuditOptions(exclude=options.exclude & {f.name for f in parent._meta.get_fields()})
            watch(parent, inherited, by)
    for field in meta.local_many_to_many:
        through: Any = field.remote_field.through
        if field.name not in options.exclude and not isinstance(through, str) and through._meta.auto_created:
            links = tuple(
                (f.attname, _type_of(f.related_model)) for f in through._meta.concrete_fields if f.is_relation
            )
            watched[through._meta.db_table] = Watched(
                through, snake(through.__name__), AuditOptions(), by, links
            )


def _type_of(model: Any) -> str:
    known = watched.get(model._meta.db_table)
    return known.type if known else snake(model._meta.object_name)


def fields_of(meta: Any, options: AuditOptions) -> list[Any]:
    """Return the columns of one table that events show."""
    return [f for f in meta.local_concrete_fields if not {f.name, f.attname} & options.exclude]
