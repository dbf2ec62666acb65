"""What a query means on this organization's rows: its words looked up in the dictionaries, with their shares.

The dictionaries (terms, subjects, subject_labels) hold every distinct value once. A substring is matched there, and
rows are then found by whole values. A filter whose value the dictionary lacks keeps no row at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from math import prod
from typing import Any
from uuid import UUID

from tallystick.errors import Refused
from tallystick.event.model import ACTOR_TYPES, ACTORS_WITHOUT_ID
from tallystick.query.filters import ORGANIZATION_LEVEL, WORDS_MAX
from tallystick.query.model import Clause, Query
from tallystick.query.text import action_fits, fold, fold_ascii, split_pattern
from tallystick.store.connect import Connection
from tallystick.store.queries import load
from tallystick.store.statement import assemble
from tallystick.store.trigrams import array_of, pieces_of_text

PEOPLE_MAX = 1_000  # persons one text may fit before each row is tested by its own actor's labels instead
LABELS_MAX = 3_000  # labels that are read to find them
COUNTED_MAX = 200  # persons whose events are counted; the others are taken to have as many on average
ENTRIES_MAX = 20_000  # dictionary entries that one query may fit
SLOT_VALUES_MAX = 2_000  # values of one filter that the facet index is asked for
SLOTS_MAX = 3
SLOTS_TRIED = 6
# Of an address, a request or a target nobody counts the events; a guess that a first look soon corrects.
SHARE_UNKNOWN = 0.001
# What finding rows by the facet index costs, in rows that a walk along the time index reads: a value that is looked
# up in one month, an entry that is passed in the index, and a row that is fetched from wherever it lies.
VALUE_COST = 4.0
ENTRY_COST = 0.05
ENTRY_VALUE_COST = 0.01  # more for each value of the slot, all of which the index compares at every entry
ROW_COST = 1.5

GROUPS = ("persons", *(f"word{n}" for n in range(1, WORDS_MAX + 1)), "never")
_NUMBER_OF_FACET = {
    "actor_ref": 1, "actor_type": 2, "action": 3, "verb": 4, "outcome": 5, "stream": 6, "workspace": 7,
    "target_type": 8, "target_id": 9, "ip": 10, "request_id": 11,
}  # fmt: skip
# Filters on one column: its key → (parameter, kind in the dictionary or None, refused values as a complement).
_COLUMNS: Mapping[str, tuple[str, str | None, bool]] = {
    "verb": ("verbs", "verb", True),
    "outcome": ("outcomes", "outcome", True),
    "stream": ("streams", "stream", True),
    "actor_type": ("actor_types", "actor_type", True),
    "workspace": ("workspaces", "workspace", False),
    "ip": ("ips", None, False),
    "request_id": ("request_ids", None, False),
}
_PIECES = load("search")
_RESOLVE = assemble(_PIECES, "resolve")
_RESOLVE_PEOPLE = assemble(_PIECES, "resolve_people")


@dataclass(frozen=True)
class Slot:
    """Values (kind of facet, text) one of which every matching row has, and the share of rows that has one."""

    values: tuple[tuple[str, str], ...]
    share: float


@dataclass
class Conditions:
    """The parameters of the statements of search.sql, and what is known about how many rows they keep.

    `impossible` says that no row matches. `share` is the share of the log's rows that are expected to match,
    `slots` the conditions the facet index can answer, most selective first.
    """

    size: int
    months: list[tuple[datetime, int]]
    values: dict[str, Any] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    impossible: bool = False
    share: float = 1.0
    exact_share: bool = True
    filtered: bool = False

    def want(self, parameter: str, kind: str | None, wanted: Iterable[str], share: float | None) -> None:
        """Keep only rows whose column has one of `wanted`; `share` None = nobody knows."""
        values = sorted(set(wanted))
        before = self.values[parameter]
        self.values[parameter] = values if before is None else sorted(set(before) & set(values))
        self.add_slot([(kind or parameter, value) for value in values], share)
        self.impossible |= not self.values[parameter]

    def add_slot(self, values: Sequence[tuple[str, str]], share: float | None) -> None:
        """Note a condition and, where the index can answer it, a slot."""
        self.filtered = True
        self.exact_share &= share is not None
        known = SHARE_UNKNOWN if share is None else min(1.0, share)
        self.share *= known
        self.impossible |= not values
        if 0 < len(values) <= SLOT_VALUES_MAX:
            self.slots.append(Slot(tuple(values), known))
            self.slots.sort(key=lambda slot: slot.share)

    def choose_slots(self, rows: float, months: int, seen_share: float = 0.0) -> tuple[list[Slot], float]:
        """Return the slots that are best asked of the index, among `rows` rows in `months` months, and the cost.

        `seen_share` is the share of rows that were seen to match: no slot keeps fewer. The cost is in rows that a
        walk along the time index reads.
        """
        few = self.slots[:SLOTS_TRIED]
        choices = [list(choice) for n in range(1, SLOTS_MAX + 1) for choice in combinations(few, n)]
        costs = [_cost_of_asking(choice, rows, months, seen_share) for choice in choices]
        best = min(range(len(choices)), key=costs.__getitem__, default=None)
        return ([], 0.0) if best is None else (choices[best], costs[best])

    def arguments(self, slots: Sequence[Slot] | None = None) -> dict[str, Any]:
        """Return all parameters, those of the slots included; an unused slot repeats the first, which costs little."""
        chosen = list(self.slots[:SLOTS_MAX] if slots is None else slots)
        chosen = [*chosen, *chosen[:1] * SLOTS_MAX][:SLOTS_MAX]
        arguments = dict(self.values)
        for number, slot in enumerate(chosen, 1):
            arguments[f"slot{number}_kinds"] = [_NUMBER_OF_FACET[kind] for kind, _ in slot.values]
            arguments[f"slot{number}_values"] = [value for _, value in slot.values]
        return arguments

    def asked(self) -> frozenset[str]:
        """Return the conditions in search.sql that something is asked of."""
        asked = {
            "fits_targets" if name in ("target_types", "target_ids") else f"fits_{name}"
            for name in _SINGLE_PARAMETERS
            if self.values[name] is not None
        }
        for group in GROUPS:
            if self.values[f"{group}_actions"] is not None:
                asked.add(f"fits_{group}")
                asked |= {
                    f"{term}_{group}" for term, part in _TERMS.items() if self.values[f"{group}_{part}"]
                }
        return frozenset(asked)


def _cost_of_asking(slots: Sequence[Slot], rows: float, months: int, seen_share: float) -> float:
    """Return what finding the rows of all `slots` costs: looking values up, passing entries, fetching rows."""
    shares = [max(slot.share, seen_share) for slot in slots]
    values = sum(len(slot.values) for slot in slots)
    passed = rows * min(shares) * (ENTRY_COST + values * ENTRY_VALUE_COST)
    return months * values * VALUE_COST + passed + rows * max(prod(shares), seen_share) * ROW_COST


class Dictionary:
    """The entries of the dictionaries that a query asks for, read in one snapshot with the size of the log."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.size = 0
        self.months: list[tuple[datetime, int]] = []
        self.terms: dict[str, dict[str, int]] = {}
        self.nobody: list[UUID] = []
        self.subjects: dict[str, dict[UUID, int]] = {}
        for row in rows:
            match row["what"]:
                case "size":
                    self.size = row["events"]
                case "month":
                    self.months.append((row["month"], row["events"]))
                case "term":
                    self.terms.setdefault(row["kind"], {})[row["value"]] = row["events"]
                case "nobody":
                    self.nobody.append(row["ref"])
                case "subject":
                    self.subjects.setdefault(row["value"], {})[row["ref"]] = row["events"]
                case other:
                    raise AssertionError(other)
        self.months.sort()

    def share(self, kind: str, values: Iterable[str]) -> float:
        """Return the share of the log's rows that have one of `values`."""
        entries = self.terms.get(kind, {})
        return sum(entries.get(value, 0) for value in set(values)) / max(1, self.size)


async def read_dictionary(connection: Connection, organization_id: UUID, query: Query) -> Dictionary:
    """Read the size of the log, its months, and what the dictionaries have for the values of `query`."""
    clauses = (*query.only, *query.never)
    words = (*query.words, *query.never_words)
    whole = [
        kind
        for key, (_, kind, whole) in _COLUMNS.items()
        if whole and kind and any(c.key == key for c in clauses)
    ]
    exact = [("workspace", value) for c in clauses if c.key == "workspace" for value in _workspaces(c.values)]
    exact += [("target_type", value) for c in query.only if c.key == "target_type" for value in c.values]
    texts = [split_pattern(value)[0] for c in clauses if c.key == "action" for value in c.values]
    persons = bool(words) or any(c.key == "user" for c in clauses)
    arguments = {
        "organization": organization_id,
        "entries_max": ENTRIES_MAX + 1,
        "whole_kinds": whole,
        "exact_kinds": [kind for kind, _ in exact],
        "exact_values": [value for _, value in exact],
        "text_kinds": ["action", "target_type"] if words else ["action"] if texts else [],
        "texts": sorted({*texts, *map(fold_ascii, words)}),
        "nobody_types": sorted(ACTORS_WITHOUT_ID) if persons else [],
        "subject_types": list(ACTOR_TYPES),
        "subject_ids": sorted({value for c in clauses if c.key == "actor_id" for value in c.values}),
    }
    rows = await connection.fetch(_RESOLVE.text, *_RESOLVE.arguments(arguments))
    if sum(row["what"] == "term" for row in rows) > ENTRIES_MAX:
        raise Refused(
            f"This search fits more than {ENTRIES_MAX:,} different actions or other values, too many to look up. "
            "Write a longer text.",
            path="/action" if texts else "/q",
            rule="filter",
        )
    return Dictionary(rows)


async def read_people(
    connection: Connection, organization_id: UUID, texts: Iterable[str]
) -> dict[str, dict[UUID, int] | None]:
    """Return for each text who is known by a label that contains it and with how many events; None = too many."""
    wanted = sorted(set(texts))
    if not wanted:
        return {}
    arguments = {
        "organization": organization_id,
        "texts": wanted,
        "trigrams": [array_of(pieces_of_text(organization_id, text)) for text in wanted],
        "people_max": PEOPLE_MAX,
        "labels_max": LABELS_MAX,
        "counted_max": COUNTED_MAX,
    }
    found: dict[str, dict[UUID, int | None] | None] = {text: {} for text in wanted}
    for text, ref, is_whole, events in await connection.fetch(
        _RESOLVE_PEOPLE.text, *_RESOLVE_PEOPLE.arguments(arguments)
    ):
        people = found[text]
        if people is None or not is_whole:
            found[text] = None
        else:
            people[ref] = events
    return {text: None if people is None else _filled(people) for text, people in found.items()}


def _filled(people: Mapping[UUID, int | None]) -> dict[UUID, int]:
    """Put the mean of what was counted where nothing was."""
    counted = [events for events in people.values() if events is not None]
    mean = round(sum(counted) / max(1, len(counted)))
    return {ref: mean if events is None else events for ref, events in people.items()}


def person_texts(query: Query) -> list[str]:
    """Return every text that a query looks for in what people are known by."""
    texts = [value for c in (*query.only, *query.never) if c.key == "user" for value in c.values]
    return sorted({*texts, *map(fold, query.words), *map(fold, query.never_words)})


def wants_persons(query: Query) -> bool:
    """Tell whether persons or words are wanted, and not only unwanted ones, which hardly narrow a search."""
    return bool(query.words) or query.values("user") is not None


def conditions_of(
    query: Query,
    dictionary: Dictionary,
    *,
    people: Mapping[str, Mapping[UUID, int] | None] | None,
) -> Conditions:
    """Turn a query into conditions on rows.

    `people` None = persons were not looked up:
    rows are tested one by one against what their actors are known by.
    """
    made = Conditions(dictionary.size, dictionary.months)
    made.values = dict.fromkeys(_EVERY_PARAMETER)
    made.values["nobody"] = dictionary.nobody
    for clause in query.only:
        _add_clause(made, clause, dictionary)
    for clause in query.never:
        _add_never(made, clause, dictionary)
    _add_targets(made, query, dictionary)
    _add_groups(made, query, dictionary, people)
    return made


def _add_clause(made: Conditions, clause: Clause, dictionary: Dictionary) -> None:
    """Add one positive filter, targets and persons aside."""
    if clause.key in _COLUMNS:
        parameter, kind, _ = _COLUMNS[clause.key]
        values = _workspaces(clause.values) if clause.key == "workspace" else clause.values
        if kind is not None:
            values = [value for value in values if value in dictionary.terms.get(kind, {})]
        made.want(parameter, kind or clause.key, values, dictionary.share(kind, values) if kind else None)
    elif clause.key == "action":
        values = _actions(clause.values, dictionary)
        made.want("actions", "action", values, dictionary.share("action", values))
    elif clause.key == "actor_id":
        refs = {ref: n for value in clause.values for ref, n in dictionary.subjects.get(value, {}).items()}
        made.values["refs"] = sorted(refs)
        made.add_slot(
            [("actor_ref", str(ref)) for ref in sorted(refs)], sum(refs.values()) / max(1, made.size)
        )


def _add_never(made: Conditions, clause: Clause, dictionary: Dictionary) -> None:
    """Add one negative filter, persons aside; where the whole dictionary is small, as what is left of it."""
    if clause.key in _COLUMNS:
        parameter, kind, whole = _COLUMNS[clause.key]
        values = _workspaces(clause.values) if clause.key == "workspace" else clause.values
        if whole and kind is not None:
            rest = [value for value in dictionary.terms.get(kind, {}) if value not in values]
            made.want(parameter, kind, rest, dictionary.share(kind, rest))
        else:
            made.values["not_" + parameter] = list(values)
            made.filtered = True
    elif clause.key == "action":
        made.values["not_actions"] = _actions(clause.values, dictionary)
        made.filtered = True
    elif clause.key == "actor_id":
        made.values["not_refs"] = sorted({r for v in clause.values for r in dictionary.subjects.get(v, {})})
        made.filtered = True


def _add_targets(made: Conditions, query: Query, dictionary: Dictionary) -> None:
    types, ids = query.values("target_type"), query.values("target_id")
    if types is not None:
        made.values["target_types"] = list(types)
        # Only main targets are counted, and any target may have the type: a type nobody counted may still be there.
        known = dictionary.share("target_type", types)
        made.add_slot([("target_type", value) for value in types], known or None)
    if ids is not None:
        made.values["target_ids"] = list(ids)
        made.add_slot([("target_id", value) for value in ids], None)
    for clause in query.never:
        if clause.key in ("target_type", "target_id"):
            made.values[f"not_{clause.key}s"] = list(clause.values)
            made.filtered = True


def _add_groups(
    made: Conditions,
    query: Query,
    dictionary: Dictionary,
    people: Mapping[str, Mapping[UUID, int] | None] | None,
) -> None:
    """Add the wanted persons, each free word, and everything never wanted of both."""
    persons = query.values("user")
    told = query.as_told
    if persons is not None:
        _add_group(made, "persons", (), persons, dictionary, people, told=told)
    for number, word in enumerate(query.words, 1):
        _add_group(made, f"word{number}", (word,), (fold(word),), dictionary, people, told=told)
    never = query.never_values("user")
    if never or query.never_words:
        texts = (*never, *map(fold, query.never_words))
        _add_group(made, "never", query.never_words, texts, dictionary, people, told=told)


def _add_group(
    made: Conditions,
    group: str,
    words: Sequence[str],
    texts: Sequence[str],
    dictionary: Dictionary,
    people: Mapping[str, Mapping[UUID, int] | None] | None,
    *,
    told: bool,
) -> None:
    """Fill in the parameters of one `anyof` of search.sql; `told` = each row is asked what it tells of its actor."""
    folded = [fold_ascii(word) for word in words]
    actions = [a for a in dictionary.terms.get("action", {}) if any(w in fold_ascii(a) for w in folded)]
    types = [t for t in dictionary.terms.get("target_type", {}) if any(w in fold_ascii(t) for w in folded)]
    known = None if people is None else [people[text] for text in texts]
    by_label = known is None or any(found is None for found in known)
    refs: dict[UUID, int] = {}
    if known is not None and not by_label:
        refs = {ref: n for found in known for ref, n in (found or {}).items()}
    # Whose events carry no id is nobody in particular: such a row is asked itself, never the directory.
    nobody = dictionary.nobody if by_label else [ref for ref in dictionary.nobody if ref in refs]
    if told and not by_label:
        nobody = sorted(refs)  # who fits somewhere may fit here; each row of theirs says whether it does
    events_of_nobody = sum(refs.pop(ref, 0) for ref in nobody)
    made.values |= {
        f"{group}_actions": actions,
        f"{group}_types": types,
        f"{group}_ids": list(words),
        f"{group}_refs": sorted(refs),
        f"{group}_texts": list(texts),
        f"{group}_nobody": nobody,
        f"{group}_by_label": by_label and not told,
        f"{group}_by_told": by_label and told,
    }
    made.filtered = True
    if group == "never":
        return
    if by_label:
        made.exact_share = False
        made.share *= 0.5  # a guess: whoever matches so many labels has done much
        return
    values = [("action", a) for a in actions] + [("target_type", t) for t in types]
    values += [("actor_ref", str(ref)) for ref in (*refs, *nobody)] + [("target_id", word) for word in words]
    counted = dictionary.share("action", actions) + dictionary.share("target_type", types)
    share = counted + (sum(refs.values()) + events_of_nobody) / max(1, made.size)
    made.add_slot(values, share if not words else share + SHARE_UNKNOWN)
    if words:
        made.exact_share = False


def _actions(patterns: Sequence[str], dictionary: Dictionary) -> list[str]:
    known = dictionary.terms.get("action", {})
    return [action for action in known if any(action_fits(pattern, action) for pattern in patterns)]


def _workspaces(values: Iterable[str]) -> list[str]:
    return ["" if value == ORGANIZATION_LEVEL else value for value in values]


# The terms of `anyof` in search.sql, and the part of a group's parameters that each needs.
_TERMS = {
    "of_action": "actions", "of_ref": "refs", "of_type": "types", "of_id": "ids", "of_label": "by_label",
    "of_nobody": "nobody", "of_told": "by_told",
}  # fmt: skip
_SINGLE_PARAMETERS = (
    "actions", "not_actions", "verbs", "outcomes", "streams", "workspaces", "not_workspaces", "actor_types", "refs",
    "not_refs", "ips", "not_ips", "request_ids", "not_request_ids", "target_types", "target_ids", "not_target_types",
    "not_target_ids",
)  # fmt: skip
_EVERY_PARAMETER = (
    *_SINGLE_PARAMETERS, "nobody",
    *(f"{group}_{part}" for group in GROUPS
      for part in ("actions", "types", "ids", "refs", "texts", "nobody", "by_label", "by_told")),
)  # fmt: skip
