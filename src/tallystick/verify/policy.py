"""The policy file: whose signatures count, how many witnesses are needed, and what was known before.

A text in the format of c2sp.org/tlog-policy (`log`, `witness`, `group`, `quorum`) with five kinds of lines of our own;
docs/reference/policy.md describes it. A key named after an instance counts for the logs of all its organizations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from msgspec import Struct, field

from tallystick.errors import Refused, TooLarge
from tallystick.merkle.checkpoint import DECIMAL, Checkpoint, PinnedKey
from tallystick.merkle.keys import COSIGNATURE, ED25519, VerifierKey
from tallystick.merkle.note import Verifier, decode_base64
from tallystick.merkle.tree import HASH_BYTES, SIZE_MAX

POLICY_BYTES_MAX: Final = 1 << 20
LINES_MAX: Final = 4096
NONE: Final = "none"
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_SPACE = re.compile("[ \t]+")


class Witness(Struct, frozen=True):
    """A witness: its name within the policy, its key of type cosignature/v1, and where checkpoints are sent ("" = unknown)."""

    name: str
    key: VerifierKey
    url: str = ""


class Group(Struct, frozen=True):
    """A group counts as a witness once `needed` of its members do."""

    name: str
    needed: int
    members: tuple[str, ...]


class Authority(Struct, frozen=True):
    """A time stamp authority (RFC 3161): its name, its root certificate in DER, and where it is asked ("" = unknown)."""

    name: str
    certificate: bytes
    url: str = ""


class Policy(Struct, kw_only=True):
    """What a verifier demands and knows; made by `parse_policy`.

    `logs` are keys of logs, those with a `size_max` retired there; `clocks` sign the times beside checkpoints; `quorum` names
    the witness or group that must have cosigned. `least` are the least sizes of logs by origin, `known` their older states.
    """

    logs: list[PinnedKey] = field(default_factory=list)
    clocks: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str = ""
    authorities: dict[str, Authority] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)
    known: list[Checkpoint] = field(default_factory=list)

    @property
    def keys(self) -> tuple[Verifier | PinnedKey, ...]:
        """All keys of logs and clocks, as verifiers take them."""
        return (*self.logs, *(cast(Verifier, one) for one in self.clocks))

    def is_met(self, cosigned: frozenset[str] | set[str]) -> bool:
        """Tell whether the quorum is reached when the witnesses named in `cosigned` have cosigned."""
        return self.quorum == NONE or self._counts(self.quorum, cosigned)

    def _counts(self, name: str, cosigned: frozenset[str] | set[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._counts(member, cosigned) for member in group.members) >= group.needed

    def needed(self) -> str:
        """Return the quorum in words, such as "2 of 3 witnesses (north, south, east)"."""
        if self.quorum == NONE:
            return "no witness"
        group = self.groups.get(self.quorum)
        if group is None:
            return f"the witness {self.quorum}"
        return f"{group.needed} of {len(group.members)} ({', '.join(group.members)})"


def parse_policy(raw: bytes | str) -> Policy:
    """Read a policy file; raises Refused with the number of the first line that cannot be used, TooLarge over 1 MiB."""
    encoded = raw.encode() if isinstance(raw, str) else raw
    if len(encoded) > POLICY_BYTES_MAX:
        raise TooLarge(
            f"the policy has {len(encoded)} bytes, the limit is {POLICY_BYTES_MAX}", rule="policy_size"
        )
    lines = encoded.decode("utf-8", "surrogateescape").split("\n")
    if len(lines) > LINES_MAX:
        raise TooLarge(f"the policy has {len(lines)} lines, the limit is {LINES_MAX}", rule="policy_size")
    policy = Policy()
    for number, line in enumerate(lines, 1):
        try:
            _read_line(line, policy)
        except Refused as error:
            raise Refused(f"line {number} of the policy: {error}", rule="policy") from None
    if not policy.quorum:
        raise Refused(
            "the policy has no quorum line; where no witness is needed write: quorum none", rule="policy"
        )
    return policy


def _read_line(line: str, policy: Policy) -> None:
    if _FORBIDDEN.search(line):
        raise _bad("it holds a control character")
    word, *items = _SPACE.split(line.strip(" \t"))
    if not word or word.startswith("#"):
        return
    reader = _READERS.get(word)
    if reader is None:
        raise _bad(f"{word[:40]!r} is none of {', '.join(_READERS)}")
    reader(items, policy)


def _log(items: Sequence[str], policy: Policy) -> None:
    _count(items, 1, 2, "log VKEY [URL]")
    _add_log(PinnedKey(_key(items[0], ED25519)), policy)


def _retired(items: Sequence[str], policy: Policy) -> None:
    _count(items, 2, 2, "retired VKEY SIZE")
    _add_log(PinnedKey(_key(items[0], ED25519), _size(items[1])), policy)


def _add_log(new: PinnedKey, policy: Policy) -> None:
    public = cast(VerifierKey, new.verifier).public_key
    if any(cast(VerifierKey, one.verifier).public_key == public for one in policy.logs):
        raise _bad("this key of a log stands twice")
    policy.logs.append(new)


def _clock(items: Sequence[str], policy: Policy) -> None:
    _count(items, 1, 1, "clock VKEY")
    policy.clocks.append(cast(VerifierKey, _key(items[0], COSIGNATURE)))


def _witness(items: Sequence[str], policy: Policy) -> None:
    _count(items, 2, 3, "witness NAME VKEY [URL]")
    key = cast(VerifierKey, _key(items[1], COSIGNATURE))
    if any(one.key.public_key == key.public_key for one in policy.witnesses.values()):
        raise _bad("this key of a witness stands twice")
    name = _new_name(items[0], policy)
    policy.witnesses[name] = Witness(name, key, items[2] if len(items) > 2 else "")


def _group(items: Sequence[str], policy: Policy) -> None:
    if len(items) < 3:
        raise _bad("write: group NAME all|any|NUMBER MEMBER…")
    name, wanted, *members = items
    for member in members:
        _known_name(member, policy)
    if len(set(members)) != len(members):
        raise _bad("a member stands twice")
    needed = {"all": len(members), "any": 1}.get(wanted) or _size(wanted)
    if not 1 <= needed <= len(members):
        raise _bad(f"{wanted} of {len(members)} members cannot be")
    policy.groups[_new_name(name, policy)] = Group(name, needed, tuple(members))


def _quorum(items: Sequence[str], policy: Policy) -> None:
    _count(items, 1, 1, "quorum NAME")
    if policy.quorum:
        raise _bad("there is a quorum already")
    policy.quorum = items[0] if items[0] == NONE else _known_name(items[0], policy)


def _authority(items: Sequence[str], policy: Policy) -> None:
    _count(items, 2, 3, "authority NAME CERTIFICATE-IN-BASE64 [URL]")
    certificate = decode_base64(items[1])
    if not certificate or items[0] in policy.authorities:
        raise _bad("its certificate is not DER in base64, or its name stands twice")
    policy.authorities[items[0]] = Authority(items[0], certificate, items[2] if len(items) > 2 else "")


def _least(items: Sequence[str], policy: Policy) -> None:
    _count(items, 2, 2, "least ORIGIN SIZE")
    policy.least[items[0]] = max(_size(items[1]), policy.least.get(items[0], 0))


def _known(items: Sequence[str], policy: Policy) -> None:
    _count(items, 3, 3, "known ORIGIN SIZE ROOT")
    root = decode_base64(items[2])
    if root is None or len(root) != HASH_BYTES:
        raise _bad("its root is not a hash of 32 bytes in base64")
    policy.known.append(Checkpoint(items[0], _size(items[1]), root))


_READERS: Mapping[str, Callable[[Sequence[str], Policy], None]] = {
    "log": _log,
    "retired": _retired,
    "clock": _clock,
    "witness": _witness,
    "group": _group,
    "quorum": _quorum,
    "authority": _authority,
    "least": _least,
    "known": _known,
}


def _count(items: Sequence[str], least: int, most: int, shape: str) -> None:
    if not least <= len(items) <= most:
        raise _bad(f"write: {shape}")


def _key(text: str, wanted: int) -> Verifier:
    key = VerifierKey.parse(text)
    if key.key_type != wanted:
        kind = "a log's (type 0x01)" if wanted == ED25519 else "one for cosignatures (type 0x04)"
        raise _bad(f"the key of {key.name[:80]!r} is not {kind}")
    return cast(Verifier, key)


def _size(text: str) -> int:
    if not DECIMAL.fullmatch(text) or int(text) > SIZE_MAX:
        raise _bad(f"{text[:40]!r} is not a plain decimal number")
    return int(text)


def _new_name(name: str, policy: Policy) -> str:
    if name == NONE or name in policy.witnesses or name in policy.groups:
        raise _bad(f"the name {name[:80]!r} is taken")
    return name


def _known_name(name: str, policy: Policy) -> str:
    if name not in policy.witnesses and name not in policy.groups:
        raise _bad(f"{name[:80]!r} is no witness or group of a line before")
    return name


def _bad(why: str) -> Refused:
    return Refused(why, rule="policy")
