"""Names of projects that people can tell apart: of equal ones each says its team, then the end of its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

SHORT_ID_CHARACTERS = 8


class Project(Struct, frozen=True, kw_only=True):
    """A project or workspace; `name` is None where only its id is known, `deleted` that it is gone."""

    id: str
    name: str | None = None
    team: str | None = None
    deleted: bool = False


def labels(projects: Iterable[Project]) -> dict[str, str]:
    """Return what each project is called by its id: name, with team and then short id as far as it takes."""
    listed = list(projects)
    called = {one.id: one.name or one.id for one in listed}
    for _ in range(2):
        often = Counter(map(str.casefold, called.values()))
        for one in listed:
            if often[called[one.id].casefold()] > 1 and one.name is not None:
                called[one.id] = _longer(one, called[one.id])
    often = Counter(map(str.casefold, called.values()))
    return {
        one.id: f"{called[one.id]} · {one.id}"
        if often[called[one.id].casefold()] > 1 and one.name
        else called[one.id]
        for one in listed
    }


def _longer(one: Project, name: str) -> str:
    """Return the name with one more thing that tells it apart."""
    with_team = f"{one.name} · {one.team}" if one.team else one.name
    if name == one.name and one.team:
        return with_team or name
    return f"{with_team} · {one.id[-SHORT_ID_CHARACTERS:]}"
