"""What the words inside an action name mean: the rules behind every name the catalogue does not know.

Pure tables and pure functions over text. An action name is split into lower-case words; one of them is
the verb, a run of the others is the thing acted on. Nothing here can fail: any text has an answer.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tallystick.catalogue.model import Verb

Kind = Literal[
    "create", "read", "update", "delete", "archive", "enable", "disable", "activate", "deactivate",
    "suspend", "resume", "move", "add", "remove", "assign", "revoke", "share", "unshare", "export",
    "import", "sign_in", "sign_out", "password", "reset", "search", "operate", "breach",
]  # fmt: skip


class VerbWord(NamedTuple):
    """What one verb word says: the class it counts under, the kind of act, and its past participle."""

    verb: Verb
    kind: Kind
    done: str


# One row for each kind of act: verb class, kind, then `word` or `word:past participle`. A word also stands
# for its own past participle, so `create` covers `create` and `created`.
_ROWS: tuple[tuple[Verb, Kind, str], ...] = (
    ("create", "create", "create:created register:registered upload:uploaded generate:generated mint:minted "
     "issue:issued copy:copied clone:cloned duplicate:duplicated fork:forked provision:provisioned "
     "submit:submitted open:opened new:created insert:inserted define:defined record:recorded "
     "capture:captured raise:raised commit:committed initialize:initialized purchase:purchased "
     "build:built append:appended post:posted save:saved invite:invited install:installed"),
    ("read", "read", "read:viewed get:viewed list:listed view:viewed query:queried count:counted "
     "fetch:fetched show:viewed describe:viewed stream:streamed diff:compared look:looked_up "
     "lookup:looked_up inspect:inspected preview:previewed access:accessed"),
    ("read", "search", "search:searched find:searched"),
    ("read", "export", "export:exported download:downloaded"),
    ("create", "import", "import:imported"),
    ("update", "update", "update:updated set:set change:changed rename:renamed edit:edited modify:modified "
     "patch:patched upsert:created_or_updated replace:replaced rotate:rotated regenerate:regenerated "
     "roll:rotated restore:restored reorder:reordered toggle:switched bookmark:bookmarked "
     "unbookmark:unbookmarked promote:promoted complete:completed resolve:resolved cancel:cancelled "
     "pin:pinned unpin:unpinned mark:marked configure:configured apply:applied sync:synchronized "
     "synchronize:synchronized verify:verified confirm:confirmed renew:renewed schedule:scheduled "
     "approve:approved reject:rejected decline:declined dismiss:dismissed label:labelled tag:tagged "
     "untag:untagged acknowledge:acknowledged close:closed reopen:reopened reprocess:reprocessed "
     "write:written put:updated extend:extended lock:locked unlock:unlocked upgrade:upgraded "
     "downgrade:downgraded populate:filled autosave:saved_automatically resend:sent_again "
     "release:released requeue:requeued"),
    ("delete", "delete", "delete:deleted destroy:destroyed erase:erased purge:purged prune:pruned clear:cleared "
     "discard:discarded drop:dropped expire:expired deprovision:deprovisioned uninstall:uninstalled"),
    ("delete", "archive", "archive:archived"),
    ("update", "enable", "enable:enabled unblock:unblocked connect:connected link:linked "
     "allowlist:put_on_the_allow_list"),
    ("update", "disable", "disable:disabled block:blocked disconnect:disconnected unlink:unlinked "
     "blocklist:put_on_the_block_list"),
    ("update", "activate", "activate:activated reactivate:reactivated"),
    ("update", "deactivate", "deactivate:deactivated"),
    ("update", "suspend", "suspend:suspended pause:paused"),
    ("update", "resume", "resume:resumed unpause:resumed"),
    ("update", "move", "move:moved transfer:transferred migrate:migrated"),
    ("access", "add", "add:added join:joined accept:accepted claim:claimed"),
    ("access", "remove", "remove:removed leave:left kick:removed"),
    ("access", "assign", "assign:assigned grant:granted attach:attached bind:bound"),
    ("access", "revoke", "revoke:revoked detach:detached unassign:unassigned unbind:unbound"),
    ("access", "share", "share:shared publish:published"),
    ("access", "unshare", "unshare:unshared unpublish:unpublished"),
    ("auth", "sign_in", "login:signed_in signin:signed_in authenticate:authenticated "
     "impersonate:impersonated logon:signed_in assume:assumed"),
    ("auth", "sign_out", "logout:signed_out signout:signed_out logoff:signed_out"),
    ("admin", "breach", "breach:breached violate:violated alert:alerted detect:detected"),
    ("update", "reset", "reset:reset"),
    ("admin", "operate", "run:run execute:executed trigger:triggered start:started stop:stopped test:tested "
     "validate:validated invoke:invoked evaluate:evaluated retry:retried replay:replayed call:called "
     "invalidate:invalidated send:sent request:requested drain:drained notify:notified "
     "subscribe:subscribed unsubscribe:unsubscribed load:loaded merge:merged scale:scaled "
     "initiate:initiated fail:failed succeed:succeeded deploy:deployed process:processed "
     "launch:launched check:checked use:used enroll:enrolled withdraw:withdrawn report:reported "
     "redrive:redriven"),
)  # fmt: skip

# Forms that are not "the word" or "its past participle" of the table above.
_OTHER_FORMS = {
    "shown": "show", "wrote": "write", "ran": "run", "resent": "resend", "canceled": "cancel", "logged": "login",
    "signed": "signin", "found": "find", "synced": "sync", "listing": "list", "toggled": "toggle",
    "upserted": "upsert", "allowlisted": "allowlist", "blocklisted": "blocklist", "autosaved": "autosave",
    "autoscaled": "scale", "looked": "look", "populated": "populate", "unpaused": "unpause", "rolled": "roll",
    "deletion": "delete", "creation": "create", "downloaded": "download",
}  # fmt: skip


def _verb_words() -> dict[str, VerbWord]:
    table: dict[str, VerbWord] = {}
    for verb, kind, words in _ROWS:
        for pair in words.split():
            word, done = pair.split(":")
            meaning = VerbWord(verb, kind, done.replace("_", " "))
            table.setdefault(word, meaning)
            if "_" not in done:
                table.setdefault(done, meaning)
    for form, word in _OTHER_FORMS.items():
        table[form] = table[word]
    return table


VERB_WORDS = _verb_words()

# Nouns as often as verbs: such a word is the verb only when no plainer verb is in the name.
_WEAK = (
    "run share record label tag schedule alert copy access trigger process test set issue post check save view "
    "request close fork commit index query export import launch login logout signin signout invite replay load "
    "find new stream lock use read define edit call start show count shared preview claim claimed complete "
    "completed report link release search deletion creation allowlist blocklist"
)
WEAK_VERBS = frozenset(_WEAK.split())

# Words that say how it ended, not what was done; the verb only when there is no other.
_OUTCOME = "succeed succeeded fail failed complete completed initiate initiated start started launch launched"
OUTCOME_WORDS = frozenset(_OUTCOME.split())

PREPOSITIONS = frozenset(("to", "from", "for", "of", "in", "by", "with", "on", "via", "as"))

# Verbs that carry their own object, whatever else the name mentions.
NOUN_OF_VERB = {
    "invite": "invite", "invited": "invite", "join": "member", "joined": "member", "leave": "member",
    "left": "member", "impersonate": "impersonate", "impersonated": "impersonate",
    **dict.fromkeys(("login", "logout", "signin", "signout", "logged", "signed", "logon", "logoff"), "login"),
}  # fmt: skip

_SPLIT = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")


def split_words(action: str) -> tuple[str, ...]:
    """Split an action name into lower-case words at camelCase, digits and every separator.

    Only ASCII letters and digits make words; EVENT.md allows no others in a name. At most 64 words are
    looked at, so that the cost of a name has a bound.
    """
    return tuple(word.lower() for word in _SPLIT.findall(action[:512])[:64])


def singular(word: str) -> str:
    """Return the singular of a regular English plural, or the word itself."""
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "sos")):
        return word[:-1]
    return word


_SPELLING = {
    "api": "API", "url": "URL", "sso": "SSO", "scim": "SCIM", "mcp": "MCP", "llm": "LLM", "csv": "CSV",
    "ttl": "TTL", "id": "ID", "ip": "IP", "oauth": "OAuth", "saml": "SAML", "oidc": "OIDC", "mfa": "MFA",
    "ai": "AI", "nps": "NPS", "dlq": "dead-letter queue", "org": "organization", "http": "HTTP", "cli": "CLI",
    "rbac": "RBAC", "chatgpt": "ChatGPT", "github": "GitHub", "gdrive": "Google Drive", "ghe": "GitHub Enterprise", "sdk": "SDK", "otel": "OTel",
    "ottl": "OTTL", "lti": "LTI", "hipaa": "HIPAA", "ui": "UI", "vm": "VM", "json": "JSON", "aws": "AWS",
    "pat": "personal access token", "slack": "Slack", "lambda": "Lambda",
}  # fmt: skip


def lower_phrase(words: tuple[str, ...]) -> str:
    """Join words as a person writes them inside a sentence, known abbreviations spelt right."""
    return " ".join(_SPELLING.get(word, word) for word in words)


def phrase(words: tuple[str, ...]) -> str:
    """Join words as a person writes them at the start of a sentence."""
    text = lower_phrase(words)
    return text[:1].upper() + text[1:]


def headline(words: tuple[str, ...], verb_at: int | None, verb: VerbWord | None) -> str:
    """Make a title from the words of a name: the thing, what was done to it, and where to.

    The empty string when there are no words.
    """
    if (
        verb is None
        or verb_at is None
        or words[verb_at] in OUTCOME_WORDS
        or NOUN_OF_VERB.get(words[verb_at]) == "login"
    ):
        return phrase(words)
    before, after = words[:verb_at], words[verb_at + 1 :]
    done = verb.done
    if len(after) > 1 and after[0] == "or" and after[1] in VERB_WORDS:
        done, after = f"{done} or {VERB_WORDS[after[1]].done}", after[2:]
    cut = next((index for index, word in enumerate(after) if word in PREPOSITIONS), len(after))
    things, tail = before + after[:cut], after[cut:]
    text = " ".join((phrase(things), done, lower_phrase(tail))).strip()
    return text[:1].upper() + text[1:]
