"""Prints what each route of MLflow that can change something is called in the trail; runs in MLflow's environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from examples.mlflow.app import app
from examples.mlflow.trail import named

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def flask_routes() -> Iterator[tuple[str, str]]:
    """Yield method and path of what Flask answers."""
    from mlflow.server import app as flask_app

    for rule in flask_app.url_map.iter_rules():
        for method in (rule.methods or set()) - _READING:
            yield method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def native_routes(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield method and path of what FastAPI answers itself."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from native_routes(route.original_router.routes, route.include_context.prefix)
        elif getattr(route, "methods", None):
            for method in route.methods - _READING:
                yield method, prefix + re.sub(r":\w+}", "}", route.path)


rows = {*flask_routes(), *native_routes(app.app.routes)}  # pyright: ignore
for method, path in sorted(rows, key=lambda row: (row[1], row[0])):
    if "/ajax-api/" in path and (method, path.replace("/ajax-api/", "/api/")) in rows:
        continue  # the same for browsers
    what = named(method, path)
    print(
        f"{what.action if what else '(reads)':38} {method:7}{path}{'' if what is None or not what.id else '   ' + what.id}"
    )
