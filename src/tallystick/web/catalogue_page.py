"""The catalogue in a browser: which names each product logs, and what Tallystick makes of each; public, without a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from tallystick.catalogue.coverage import coverage
from tallystick.catalogue.kinds import ACTIVITIES, CLASS_NAMES
from tallystick.catalogue.load import catalogue
from tallystick.catalogue.model import KnownAction
from tallystick.catalogue.page import SENSITIVITY_MEANINGS, VERB_MEANINGS
from tallystick.errors import Refused
from tallystick.web import replies
from tallystick.web.call import Answer, Call
from tallystick.web.docs import render_page
from tallystick.web.operation import Parameter, Reply
from tallystick.web.ui.render import SECURITY_HEADERS

WORDS_MAX = 200
PARAMETERS = (
    Parameter(name="product", summary="Actions of one product."),
    Parameter(name="verb", summary="Actions of one verb class."),
    Parameter(name="sensitivity", summary="Actions of one sensitivity."),
    Parameter(name="q", summary="Words that an action's name, title or target type holds."),
)
REPLIES = (
    *replies.PAGE,
    Reply(status=400, summary="A filter is unknown: the page says which and shows no action.", type="text/html",
          schema={"type": "string"}),
)  # fmt: skip


class Line(Struct, frozen=True):
    """One action as the page shows it."""

    product: str
    name: str
    title: str
    verb: str
    target_type: str
    sensitivity: str
    native: str
    api_activity: str


async def get_catalogue(call: Call) -> Answer:
    """Show the catalogue of known actions as a page; `product`, `verb`, `sensitivity` and `q` narrow it."""
    asked = dict(call.query())
    known = {
        "product": tuple(catalogue()),
        "verb": tuple(VERB_MEANINGS),
        "sensitivity": tuple(SENSITIVITY_MEANINGS),
    }
    refused = _mistake(asked, known)
    lines = [] if refused else [line for line in all_lines() if _fits(line, asked)]
    page = render_page(
        "catalogue.html",
        title="Catalogue of actions",
        lines=lines,
        asked={key: asked.get(key, "") for key in (*known, "q")},
        known=known,
        titles={name: product.title for name, product in catalogue().items()},
        verbs=VERB_MEANINGS,
        sensitivities=SENSITIVITY_MEANINGS,
        coverage=coverage(),
        total=sum(1 for _ in all_lines()),
        refused="" if refused is None else str(refused),
    )
    return Response(page, 400 if refused else 200, SECURITY_HEADERS, media_type="text/html")


def _mistake(asked: dict[str, str], known: dict[str, tuple[str, ...]]) -> Refused | None:
    """Return what is wrong with a filter; a page that ignores a filter would show more than was asked for."""
    for key, value in asked.items():
        if key not in known and key != "q":
            return Refused(
                f"There is no filter '{key[:40]}'. Known are {', '.join((*known, 'q'))}.", rule="query"
            )
        if key in known and value not in known[key]:
            return Refused(f"'{key}' is one of {', '.join(known[key])}.", rule="query")
        if len(value) > WORDS_MAX:
            return Refused(f"'{key}' has at most {WORDS_MAX} characters.", rule="query")
    return None


def all_lines() -> Iterable[Line]:
    """Return every action of every product, in the order of the products."""
    return (_line(key, one) for key, product in catalogue().items() for one in product.actions.values())


def _line(product: str, one: KnownAction) -> Line:
    return Line(
        product, one.name, one.title, one.verb, one.target_type, one.sensitivity,
        f"{CLASS_NAMES[one.class_uid]}: {ACTIVITIES[one.class_uid][one.activity_id]}",
        ACTIVITIES[6003][one.api_activity_id],
    )  # fmt: skip


def _fits(line: Line, asked: dict[str, Any]) -> bool:
    words = asked.get("q", "").casefold().split()
    text = f"{line.name} {line.title} {line.target_type}".casefold()
    return all(asked.get(key, value) == value for key, value in _exact(line)) and all(
        word in text for word in words
    )


def _exact(line: Line) -> tuple[tuple[str, str], ...]:
    return (("product", line.product), ("verb", line.verb), ("sensitivity", line.sensitivity))
