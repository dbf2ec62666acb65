"""What outsiders say about a log: anchors in the instance log, cosignatures of witnesses, time stamps, and a policy over them.

An anchor proves that an organization's checkpoint is in the instance log. So whoever cosigned or stamped the instance log's
checkpoint vouches for the organization's log up to that size, once that log is shown to continue it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import cast

from msgspec import Struct, field

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.merkle.checkpoint import Checkpoint, PinnedKey, open_checkpoint, parse_checkpoint
from tallystick.merkle.cosignature import split_cosignature
from tallystick.merkle.keys import ED25519, VerifierKey
from tallystick.merkle.note import Signature, Verifier, parse_note
from tallystick.merkle.tlog_proof import HEADER, parse_tlog_proof
from tallystick.merkle.tree import leaf_hash
from tallystick.verify.known import Kept, is_bare
from tallystick.verify.policy import NONE, Policy
from tallystick.verify.report import Report
from tallystick.verify.stamp import STAMP_HEADER, parse_stamp, stamped_at
from tallystick.verify.trust import Keys, instance_of, keys_for_origin

_SECONDS_MAX = 1 << 36


class Vouched(Struct, frozen=True, kw_only=True):
    """What outsiders vouch for in one kept text: a state of a log, which witnesses cosigned, when it existed at the latest.

    `what` is the state in words; `cosigned` are names of the policy's witnesses, `cosigned_at` their earliest time.
    """

    label: str
    what: str
    is_anchor: bool
    cosigned: frozenset[str]
    cosigned_at: str
    stamped: str


class Prepared(Struct, kw_only=True):
    """Keys and kept texts for a verifier, made from a policy and what was kept; `judge` has the last word."""

    policy: Policy
    keys: Keys
    kept: list[Kept] = field(default_factory=list)
    vouched: list[Vouched] = field(default_factory=list)
    found: Report = field(default_factory=lambda: Report(subject="kept"))


def prepare(policy: Policy | None, keys: Keys, kept: Sequence[Kept]) -> Prepared:
    """Open every anchor and time stamp in `kept` and turn it into the checkpoint it is about; other texts stay as they are.

    `keys` are those pinned beside the policy. Never raises for anything a kept text holds.
    """
    made = Prepared(policy=policy or Policy(quorum=NONE), keys=keys)
    made.keys = (*keys, *made.policy.keys)
    for one in kept:
        if (
            one.text.startswith(STAMP_HEADER)
            or _is_anchor(one.text)
            or (made.policy.witnesses and _is_of_instance(one.text))
        ):
            _open(one, made)
        else:
            made.kept.append(one)
    made.kept += [Kept(f"the policy's state of {one.size}", one.text()) for one in made.policy.known]
    return made


def vouch(made: Prepared, label: str, note: str) -> None:
    """Take the cosignatures of an instance log's checkpoint that the subject itself holds, under the label its report continues.

    A note that cannot be used vouches for nothing; what is wrong with it is the subject's verifier's to say.
    """
    with suppress(AuditError):
        checkpoint, cosigned = _opened(note, made)
        made.vouched.append(_vouched(label, checkpoint, cosigned, is_anchor=False, stamped=""))


def judge(made: Prepared, report: Report) -> Report:
    """Return `report` of a subject with what outsiders vouch for, and with what the policy demands of them."""
    report.proven += made.found.proven
    report.not_proven += made.found.not_proven
    for one in made.found.violated:
        report.violate(one.kind, one.where, one.message)
    met = [one for one in made.vouched if one.label in report.continued]
    for one in met:
        report.proven += _said(one)
    _check_least(made.policy, report)
    if made.policy.quorum != NONE and not any(made.policy.is_met(one.cosigned) for one in met):
        given = f"; shown are {_names(met)}" if met else "; give an anchor of this log (--known)"
        report.unchecked = report.unchecked or (
            f"the policy demands cosignatures of {made.policy.needed()} over a state this log continues{given}"
        )
    return report


def _names(met: Sequence[Vouched]) -> str:
    return ", ".join(sorted({name for one in met for name in one.cosigned})) or "none"


def _said(one: Vouched) -> list[str]:
    said: list[str] = []
    if one.is_anchor:
        said.append(f"{one.label}: {one.what} is in the instance log")
    if one.cosigned:
        said.append(
            f"{one.label}: {one.what} was witnessed by {', '.join(sorted(one.cosigned))}, first at {one.cosigned_at}"
        )
    if one.stamped:
        said.append(f"{one.label}: {one.what} existed before {one.stamped}")
    return said


def _check_least(policy: Policy, report: Report) -> None:
    origin, size = report.facts.get("origin"), report.facts.get("log size")
    for known, least in policy.least.items():
        if origin == known and isinstance(size, int) and size < least:
            report.violate(
                "rollback",
                "the policy",
                f"it knows the log {known} with {least} events, and it ends at {size} here",
            )


def _is_anchor(text: str) -> bool:
    # A receipt has no extra bytes; an anchor carries the leaf it proves.
    return text.startswith(HEADER + "\nextra ")


def _is_of_instance(text: str) -> bool:
    if text.startswith(HEADER) or is_bare(text):
        return False
    with suppress(AuditError):
        origin = parse_checkpoint(parse_note(text).text).origin
        return instance_of(origin) == origin
    return False


def _open(one: Kept, made: Prepared) -> None:
    try:
        moment, below = "", one.text
        if one.text.startswith(STAMP_HEADER):
            stamp = parse_stamp(one.text)
            below = stamp.below
            moment = _moment(one.label, stamp.authority, stamp.answer, _checkpoint_in(below), made)
        _open_below(one.label, below, moment, made)
    except Tampered as error:
        made.found.violate("known", one.label, f"this kept text is not what it was made of: {error}")
    except AuditError as error:
        made.found.not_proven.append(f"{one.label} says nothing here: {error}")


def _checkpoint_in(below: str) -> str:
    return parse_tlog_proof(below).checkpoint if below.startswith(HEADER) else below


def _moment(label: str, name: str, answer: bytes, note: str, made: Prepared) -> str:
    authority = made.policy.authorities.get(name)
    if authority is None:
        made.found.not_proven.append(
            f"{label}: when it existed; the policy names no time stamp authority {ascii(name)[:80]}"
        )
        return ""
    at = stamped_at(answer, parse_note(note).text.encode(), authority.certificate)
    return f"{at.isoformat(timespec='seconds').replace('+00:00', 'Z')} ({name})"


def _open_below(label: str, below: str, moment: str, made: Prepared) -> None:
    proof = parse_tlog_proof(below) if below.startswith(HEADER) else None
    note = below if proof is None else proof.checkpoint
    instance, cosigned = _opened(note, made)
    about, text = instance, note
    if proof is not None:
        if proof.extra is None:
            raise Refused("it is a receipt, not an anchor", rule="anchor")
        proof.verify(leaf_hash(proof.extra), _with_instance(made.keys, instance.origin))
        leaf = proof.extra.decode("utf-8", "replace")
        about = parse_checkpoint(parse_note(leaf).text)
        if instance_of(about.origin) != instance.origin or about.origin == instance.origin:
            raise Tampered(
                f"its leaf is of {about.origin[:200]!r}, not of a log of {instance.origin[:200]!r}",
                rule="origin",
            )
        # The leaf has no time beside it, so that its signature is checked here and its text alone is kept.
        open_checkpoint(leaf, keys_for_origin(made.keys, about.origin), origin=about.origin)
        text = about.text()
    made.kept.append(Kept(label, text))
    made.vouched.append(_vouched(label, about, cosigned, is_anchor=proof is not None, stamped=moment))


def _vouched(
    label: str, about: Checkpoint, cosigned: dict[str, int], *, is_anchor: bool, stamped: str
) -> Vouched:
    times = [seconds for seconds in cosigned.values() if seconds < _SECONDS_MAX]
    first = datetime.fromtimestamp(min(times), UTC).isoformat().replace("+00:00", "Z") if times else ""
    entries = "events" if "/o/" in about.origin else "entries"
    return Vouched(
        label=label, what=f"the state of {about.size} {entries}", is_anchor=is_anchor, stamped=stamped,
        cosigned=frozenset(cosigned), cosigned_at=first,
    )  # fmt: skip


def _opened(note: str, made: Prepared) -> tuple[Checkpoint, dict[str, int]]:
    """Return an instance log's checkpoint, and the witnesses of the policy that cosigned it, with their times."""
    origin = parse_checkpoint(parse_note(note).text).origin
    keys = _with_instance(made.keys, origin)
    if not keys:
        raise Refused(f"no key of the log {origin[:200]!r} is pinned", rule="unknown_key")
    witnesses = {(one.key.name, one.key.key_id): one for one in made.policy.witnesses.values()}
    verifiers = cast(Sequence[Verifier], [one.key for one in witnesses.values()])
    signed = open_checkpoint(note, keys, origin=origin, witnesses=verifiers)
    found: dict[str, int] = {}
    for one in signed.cosigned_by:
        found[witnesses[one.name, one.key_id].name] = _seconds(one)
    return signed.checkpoint, found


def _seconds(signature: Signature) -> int:
    timed = split_cosignature(signature.signature)
    return _SECONDS_MAX if timed is None else timed[0]


def _with_instance(keys: Keys, origin: str) -> Keys:
    """Return the keys for `origin`: an organization's pinned key is the one that signs its instance's log too."""
    found = list(keys_for_origin(keys, origin))
    for key in keys:
        public = key.verifier if isinstance(key, PinnedKey) else key
        if not isinstance(public, VerifierKey) or public.key_type != ED25519:
            continue
        renamed = cast(Verifier, VerifierKey(origin, public.public_key))
        if instance_of(public.name) == origin != public.name and renamed not in found:
            found.append(renamed)
    return tuple(found)
