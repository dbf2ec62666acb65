"""Parts of an application and how each of them leaves events, as a table, as JSON and as shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct, to_builtins

Kind = Literal["route", "model", "permission"]
KINDS: Final[tuple[Kind, ...]] = ("route", "model", "permission")


class Part(Struct, frozen=True, kw_only=True):
    """One route, model or permission.

    `how` says how it leaves events: `middleware`, `handler` (its own code names an action), `rows` (the model's changes are
    captured), `action` (an action of that name is known); empty when nothing does. `seen` are the actions that tests had it
    record. A part is covered when either is not empty.
    """

    kind: Kind
    name: str
    how: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    @property
    def is_covered(self) -> bool:
        """Whether it can leave an event."""
        return bool(self.how or self.seen)


class Coverage(Struct, frozen=True):
    """What was found about all parts."""

    parts: Sequence[Part]

    def share(self, kind: Kind | None = None) -> float:
        """Return the percentage that is covered, of one kind or of all; 100 where there is nothing."""
        chosen = [part for part in self.parts if kind in (None, part.kind)]
        return 100.0 * sum(part.is_covered for part in chosen) / len(chosen) if chosen else 100.0

    def below(self, least: float) -> list[Kind]:
        """Return the kinds of which less than `least` percent is covered; one must not make up for another."""
        return [kind for kind in KINDS if self.share(kind) < least]

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        shares = {kind: round(self.share(kind), 2) for kind in KINDS}
        parts = [{**to_builtins(part), "covered": part.is_covered} for part in self.parts]
        return {"covered_percent": {"all": round(self.share(), 2), **shares}, "parts": parts}

    def as_text(self) -> str:
        """Return a table: what leaves nothing first, then how the rest does."""
        rows = [(part.kind, part.name, _how(part)) for part in sorted(self.parts, key=_order)]
        widths = [max([len(row[n]) for row in rows], default=0) for n in range(2)]
        lines = [f"{kind:{widths[0]}}  {name:{widths[1]}}  {how}".rstrip() for kind, name, how in rows]
        return "\n".join([*lines, self.in_a_sentence()])

    def in_a_sentence(self) -> str:
        """Return the shares of the kinds that there are."""
        said: list[str] = []
        for kind in KINDS:
            chosen = [part for part in self.parts if part.kind == kind]
            if chosen:
                covered = sum(part.is_covered for part in chosen)
                said.append(f"{covered} of {len(chosen)} {kind}s ({self.share(kind):.0f} %)")
        return f"{', '.join(said) or 'nothing'} can leave an event"


def _how(part: Part) -> str:
    if not part.is_covered:
        return "— nothing"
    return "; ".join([*part.how, *([f"seen: {', '.join(part.seen)}"] if part.seen else [])])


def _order(part: Part) -> tuple[bool, int, str]:
    return part.is_covered, KINDS.index(part.kind), part.name


_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|\*")


def words(name: str) -> list[str]:
    """Return the words of a name in small letters and singular: those of `apiKeys:write` are api, key and write."""
    return [_singular(word.lower()) for word in _WORD.findall(name)]


def _singular(word: str) -> str:
    return (
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
    )
