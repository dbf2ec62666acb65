"""The policy file's promises: it is read one way only, and what it demands decides."""

from __future__ import annotations

import base64
import contextlib
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused, TooLarge
from tallystick.merkle.checkpoint import PinnedKey
from tallystick.merkle.keys import SignerKey
from tallystick.verify.policy import Policy, parse_policy

LOG = SignerKey("audit.example.org", b"l" * 32)
OLD = SignerKey("audit.example.org/o/1", b"o" * 32)
WITNESSES = [SignerKey(f"w{number}.example.org", bytes([number]) * 32) for number in range(6)]
NAMES = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
KEYS = [one.cosigning.format() for one in WITNESSES]
ROOT = base64.b64encode(b"r" * 32).decode()

# The example of c2sp.org/tlog-policy.
EXAMPLE = f"""
# comment
log {LOG.verifier.format()}

witness X1 {KEYS[0]}
witness X2 {KEYS[1]}
\twitness X3   {KEYS[2]}\t
group X-witnesses 2 X1 X2 X3

witness Y1 {KEYS[3]} https://y1.example.org/
witness Y2 {KEYS[4]}
witness Y3 {KEYS[5]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_example_of_the_specification() -> None:
    """A policy written for other tools would mean something else here."""
    policy = parse_policy(EXAMPLE)
    assert list(policy.witnesses) == NAMES
    assert policy.witnesses["Y1"].url == "https://y1.example.org/"
    for count in range(7):
        for cosigned in combinations(NAMES, count):
            x, y = (sum(name[0] == letter for name in cosigned) for letter in "XY")
            assert policy.is_met(frozenset(cosigned)) == (x >= 2 and y >= 1)


def test_lines_of_ours() -> None:
    """What a verifier pinned besides witnesses would not count."""
    text = f"""
log {LOG.verifier.format()} https://audit.example.org
retired {OLD.verifier.format()} 5000
clock {WITNESSES[0].cosigning.format()}
authority stamps {base64.b64encode(b"DER").decode()} http://stamps.example.org
least audit.example.org 7
least audit.example.org 5
known audit.example.org 3 {ROOT}
quorum none
"""
    policy = parse_policy(text)
    assert [one.size_max for one in policy.logs if isinstance(one, PinnedKey)][1] == 5000
    assert policy.authorities["stamps"].certificate == b"DER"
    assert policy.least == {"audit.example.org": 7}
    assert (policy.known[0].size, policy.known[0].root) == (3, b"r" * 32)
    assert policy.is_met(frozenset())
    assert len(policy.keys) == 3


BAD = {
    "no quorum": "",
    "two quorums": "quorum none\nquorum none",
    "unknown word": "quorum none\nwitnes X1 x",
    "unknown name": "quorum X1",
    "later name": f"group g any X1\nwitness X1 {KEYS[0]}\nquorum g",
    "none as a member": "group g any none\nquorum g",
    "none as a name": f"witness none {KEYS[0]}\nquorum none",
    "name twice": f"witness X1 {KEYS[0]}\nwitness X1 {KEYS[1]}\nquorum X1",
    "key twice": f"witness X1 {KEYS[0]}\nwitness X2 {KEYS[0]}\nquorum X1",
    "key twice under two names": f"witness X1 {KEYS[0]}\nwitness X2 {SignerKey('other', WITNESSES[0].seed).cosigning.format()}\nquorum X1",
    "log twice": f"log {LOG.verifier.format()}\nlog {LOG.verifier.format()}\nquorum none",
    "member twice": f"witness X1 {KEYS[0]}\ngroup g 2 X1 X1\nquorum g",
    "too many needed": f"witness X1 {KEYS[0]}\ngroup g 2 X1\nquorum g",
    "none needed": f"witness X1 {KEYS[0]}\ngroup g 0 X1\nquorum g",
    "leading zero": f"witness X1 {KEYS[0]}\ngroup g 01 X1\nquorum g",
    "a log's key as a witness": f"witness X1 {LOG.verifier.format()}\nquorum X1",
    "a witness's key as a log": f"log {KEYS[0]}\nquorum none",
    "a private key": f"log {LOG.format()}\nquorum none",
    "carriage return": "quorum none\r\n",
    "another space": "quorum\u00a0none",
    "too much": f"quorum none\nlog {LOG.verifier.format()} url more",
    "size": "quorum none\nleast x -1",
    "root": "quorum none\nknown x 1 AAAA",
    "root of an empty log": f"quorum none\nknown x 0 {ROOT}",
    "certificate": "quorum none\nauthority a ???",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_unclear_is_refused(text: str) -> None:
    """A policy that is read generously may demand less than its author thought."""
    with pytest.raises(Refused) as caught:
        parse_policy(text)
    assert "policy" in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_limits_are_reached() -> None:
    """A policy without a limit fills the memory of whoever reads it."""
    with pytest.raises(TooLarge):
        parse_policy("#" * (1 << 20) + "\n")
    with pytest.raises(TooLarge):
        parse_policy("\n" * 5000)


@given(st.binary(max_size=300))
def test_noise_is_refused_or_read(noise: bytes) -> None:
    """Any bytes must give a policy or a refusal, never anything else."""
    with contextlib.suppress(Refused):
        assert isinstance(parse_policy(noise + b"\nquorum none\n"), Policy)
