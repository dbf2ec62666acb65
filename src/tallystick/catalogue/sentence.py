"""An event as one sentence a person understands: who did what to what, from which value to which, and how it ended.

The title of the action gives the verb and its object ("Dataset created from CSV"); the event gives the names. Pure
text in parts, so that a page can emphasise names and a message can join them; nothing here escapes anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from tallystick.catalogue.describe import describe
from tallystick.catalogue.load import target_types
from tallystick.catalogue.words import PREPOSITIONS, VERB_WORDS, phrase, singular

Emphasis = Literal["", "actor", "target", "value", "bad"]

VALUE_CHARACTERS_MAX = 60  # a longer value is shown among the changes, not in the sentence
CHANGES_MAX = 3
NAMES_MAX = 2
# Past participles of titles whose past tense is another word.
_PAST = {"run": "ran", "written": "wrote", "withdrawn": "withdrew", "redriven": "redrove", "overridden": "overrode",
         "chosen": "chose", "given": "gave", "taken": "took", "woken": "woke", "read": "read"}  # fmt: skip
_MORE_DONE = (
    "read:read retrieve:retrieved forward:forwarded push:pushed warm:warmed refuse:refused continue:continued ask:asked "
    "override:overridden choose:chosen rehearse:rehearsed wake:woken queue:queued roll:rolled translate:translated "
    "remember:remembered redeem:redeemed give:given receive:received attempt:attempted decide:decided take:taken deny:denied"
)
# What a title says of how it went; the outcome says it already.
_HOW_IT_WENT = frozenset(("failed", "succeeded", "attempted"))
_ALSO_NOUNS = frozenset(("run", "set", "reset", "read"))  # the verb of a title only where there is no other
_TWO_WORDS = {"signed in": "sign in", "signed out": "sign out", "looked up": "look up", "switched on": "switch on",
              "switched off": "switch off", "warmed up": "warm up", "rolled back": "roll back"}  # fmt: skip
_ACTOR_KINDS = {"user": "", "api_key": "API key", "service": "Service", "agent": "Agent", "system": "System",
                "anonymous": "Somebody not signed in"}  # fmt: skip


class Part(NamedTuple):
    """A piece of the sentence and what it is."""

    text: str
    emphasis: Emphasis = ""


class _Clause(NamedTuple):
    """A title taken apart: verb in the past and in the infinitive, what it was done to, and what follows."""

    past: str
    infinitive: str
    object: str
    rest: str


def sentence(event: Mapping[str, Any]) -> list[Part]:
    """Return the sentence about `event`, as `event.render` gives it; every event has one."""
    clause = _clause_of(describe(event["action"]).title)
    parts = _who(event["actor"])
    outcome = event["outcome"]
    if clause is None:
        parts += [Part(": " + describe(event["action"]).title), *_onto(event, "")]
    elif outcome == "success":
        parts += _changed(event) or _did(event, clause.past, clause)
    else:
        tried = {"failure": "tried to", "denied": "was not allowed to"}.get(outcome, "perhaps")
        verb = clause.past if outcome == "unknown" else clause.infinitive
        parts += [Part(" "), Part(tried, "bad"), *_did(event, verb, clause)]
        parts += [Part(" and "), Part("failed", "bad")] if outcome == "failure" else []
    parts += _why(event) if outcome != "success" else []
    return [*parts, Part(".")]


def sentence_text(event: Mapping[str, Any]) -> str:
    """Return the sentence as plain text."""
    return "".join(part.text for part in sentence(event))


def name_of(one: Mapping[str, Any]) -> str:
    """Return what an actor or a delegator is called: name, else e-mail, else id, else its kind."""
    return one.get("name") or one.get("email") or one.get("id") or _ACTOR_KINDS[one["type"]]


def kind_label(target_type: str) -> str:
    """Return the words for a kind of target, known or not: `api_key` is "API key"."""
    known = target_types().get(target_type)
    return (
        known.label
        if known
        else phrase(tuple(target_type.replace("_", " ").replace("-", " ").split())) or target_type
    )


def _who(actor: Mapping[str, Any]) -> list[Part]:
    kind, name = _ACTOR_KINDS[actor["type"]], name_of(actor)
    parts = [Part(f"{kind} ")] if kind and name != kind and not name.lower().endswith(kind.lower()) else []
    parts.append(Part(name, "actor"))
    chain = [name_of(one) for one in actor.get("on_behalf_of") or ()]
    if chain:
        parts.append(Part(", on behalf of "))
        for at, person in enumerate(chain):
            parts += [Part(", on behalf of ")] * (at > 0) + [Part(person, "actor")]
        parts.append(Part(","))
    return parts


def _did(event: Mapping[str, Any], verb: str, clause: _Clause) -> list[Part]:
    parts = [Part(f" {verb}")]
    if clause.object:
        parts.append(Part(f" {clause.object}"))
    name = _onto(event, clause.object)
    # "added members to workspace … in bulk": the name belongs to the kind of thing it is.
    if name and clause.rest and not _speaks_of(clause.object, event):
        kind = lowered(kind_label(event["targets"][0]["type"]))
        before, found, _ = f" {clause.rest} ".lower().partition(f" {kind.lower()} ")
        if found:
            cut = len(before) + len(kind)
            parts.append(Part(" " + clause.rest[:cut].strip()))
            tail = clause.rest[cut:].strip()
            return [*parts, *_name(event), *([Part(" " + tail)] if tail else [])]
        return [*parts, Part(f" {clause.rest}"), *name]
    return [*parts, *name, *([Part(f" {clause.rest}")] if clause.rest else [])]


def _onto(event: Mapping[str, Any], object: str) -> list[Part]:
    """Return the target: its name alone when `object` says its kind already."""
    targets = event.get("targets") or ()
    if not targets or (
        targets[0]["id"] == event["actor"].get("id") and event["actor"]["type"] == targets[0]["type"]
    ):
        return []  # who signs in is done to himself
    if _speaks_of(object, event):
        return _name(event)
    return [Part(f" ({lowered(kind_label(targets[0]['type']))}"), *_name(event), Part(")")]


def _speaks_of(object: str, event: Mapping[str, Any]) -> bool:
    targets = event.get("targets") or ()
    if not object or not targets:
        return False
    words = {singular(word) for word in object.lower().split()}
    return all(singular(word) in words for word in kind_label(targets[0]["type"]).lower().split()[-1:])


def _name(event: Mapping[str, Any]) -> list[Part]:
    targets = event["targets"]
    parts: list[Part] = []
    for at, target in enumerate(targets[:NAMES_MAX]):
        parts += [Part(" and " if at else " "), Part(target.get("name") or target["id"], "target")]
    if len(targets) > NAMES_MAX:
        parts.append(Part(f" and {len(targets) - NAMES_MAX} more"))
    return parts


def _changed(event: Mapping[str, Any]) -> list[Part]:
    """Return what changed when few things did: "changed temperature of prompt greeting from 0.7 to 0.2"."""
    changes = event.get("changes") or ()
    shown = [change for change in changes if change["kind"] == "changed" and _is_short(change)]
    if not shown or len(changes) > CHANGES_MAX or len(shown) < len(changes) or not event.get("targets"):
        return []
    parts = [Part(" changed ")]
    for at, change in enumerate(shown):
        if at:
            parts.append(Part(" and " if at == len(shown) - 1 else ", "))
        parts.append(Part(_field(change["path"]), "value"))
        if at == 0:
            parts += [Part(f" of {lowered(kind_label(event['targets'][0]['type']))}"), *_name(event)]
        parts += [
            Part(" from "),
            Part(_value(change["before"]), "value"),
            Part(" to "),
            Part(_value(change["after"]), "value"),
        ]
    return parts


def _why(event: Mapping[str, Any]) -> list[Part]:
    error = event.get("error") or {}
    said = error.get("message") or error.get("code") or error.get("type")
    return [Part(": "), Part(said.rstrip("."), "bad")] if said else []


def _is_short(change: Mapping[str, Any]) -> bool:
    return all(len(_value(change[side])) <= VALUE_CHARACTERS_MAX for side in ("before", "after"))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if value else '""'
    return json.dumps(value, ensure_ascii=False)


def _field(path: str) -> str:
    words = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    return " ".join(words).replace("_", " ") or "everything"


@lru_cache(maxsize=4_096)
def _clause_of(title: str) -> _Clause | None:
    """Take a title apart at its first past participle; None when it has none."""
    words = title.split()
    found: _Clause | None = None
    for at, word in enumerate(words):
        two = " ".join(words[at : at + 2]).lower()
        done = two if two in _TWO_WORDS else word.lower()
        infinitive = _TWO_WORDS.get(two) or _infinitives().get(done)
        if infinitive is None or (done in _HOW_IT_WENT and at == len(words) - 1):
            continue
        if found is not None and (done in _ALSO_NOUNS or found.rest.split()[0] in PREPOSITIONS):
            continue
        first = done.split()[0]
        past = done.replace(first, _PAST.get(first, first), 1)
        # "User joined organization": whoever acts is the one it is said of.
        object = "" if done in ("joined", "left") else lowered(" ".join(words[:at]))
        found = _Clause(past, infinitive, object, " ".join(words[at + len(done.split()) :]))
        if not found.rest:
            break
    return found


def lowered(text: str) -> str:
    """Return a title as it stands inside a sentence: an abbreviation keeps its capitals."""
    head, space, rest = text.partition(" ")
    return (head.lower() if head[1:].islower() or len(head) == 1 else head) + space + rest


@lru_cache(maxsize=1)
def _infinitives() -> dict[str, str]:
    """Return the infinitive of every past participle there is; the word it is made from by rule comes first."""
    found: dict[str, str] = {}
    pairs = [(word, meaning.done) for word, meaning in VERB_WORDS.items()]
    pairs += [(word, done) for word, _, done in (pair.partition(":") for pair in _MORE_DONE.split())]
    for word, done in pairs:
        if " " in done or (word == done and word in found):
            continue
        if done in (word + "ed", word + "d", word[:-1] + "ied"):
            found[done] = word
        elif done not in found or found[done] == done:
            found.setdefault(done, word)
    found.update(
        {"run": "run", "set": "set", "reset": "reset", "left": "leave", "sent": "send", "read": "read"}
    )
    return found
