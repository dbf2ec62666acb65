"""What outsiders vouch for counts only for the log, the state and the keys it is about."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.keys import Cosigner, SignerKey, VerifierKey
from tallystick.merkle.note import parse_note
from tallystick.merkle.proof import inclusion_proof
from tallystick.merkle.tile import reader_over, tiles_of_size
from tallystick.merkle.tlog_proof import TlogProof
from tallystick.merkle.tree import leaf_hash, root_of
from tallystick.verify.cosigned import Prepared, judge, prepare
from tallystick.verify.known import Kept
from tallystick.verify.policy import Policy, parse_policy
from tallystick.verify.report import Report
from tallystick.verify.trust import keys_for_origin

INSTANCE = "audit.example.org"
SEED = b"s" * 32
LOG = SignerKey(INSTANCE, SEED)
ONE, TWO = (f"{INSTANCE}/o/0000000{number}-0000-4000-8000-000000000000" for number in (1, 2))
WITNESSES = [SignerKey(f"w{number}.example.org", bytes([number]) * 32) for number in range(3)]
SECONDS = 1_790_000_000


def state(origin: str, size: int, *, key: SignerKey | None = None) -> str:
    root = root_of([leaf_hash(b"%d" % number) for number in range(size)])
    return Checkpoint(origin, size, root).sign(key or SignerKey(origin, SEED)).format()


LEAVES = [state(ONE, 3).encode(), state(TWO, 4).encode(), state(ONE, 7).encode()]


def instance_note(*witnesses: SignerKey, leaves: list[bytes] = LEAVES, key: SignerKey = LOG) -> str:
    made = Checkpoint(INSTANCE, len(leaves), root_of([leaf_hash(one) for one in leaves])).sign(key)
    return made.signed_by(*(Cosigner(one, SECONDS) for one in witnesses)).format()


def anchor(
    index: int,
    *witnesses: SignerKey,
    leaves: list[bytes] = LEAVES,
    key: SignerKey = LOG,
    extra: bytes | None = None,
) -> str:
    hashes = b"".join(map(leaf_hash, leaves))
    tiles = [(tile, hashes[: 32 * tile.width]) for tile in tiles_of_size(len(leaves))]
    proof = inclusion_proof(index, len(leaves), reader_over(len(leaves), tiles))
    return TlogProof(
        index, tuple(proof), instance_note(*witnesses, leaves=leaves, key=key), extra or leaves[index]
    ).format()


def policy(needed: int = 2, *more: str, key: SignerKey = LOG) -> Policy:
    lines = [f"log {key.verifier.format()}"]
    lines += [f"witness w{number} {one.cosigning.format()}" for number, one in enumerate(WITNESSES)]
    return parse_policy("\n".join([*lines, f"group all {needed} w0 w1 w2", "quorum all", *more]) + "\n")


def met(made: Prepared) -> Report:
    """Return the report of a subject that continues everything kept."""
    report = Report(subject="export", proven=["it is fine"], continued=[one.label for one in made.kept])
    return judge(made, report)


@pytest.mark.parametrize(
    ("count", "verdict"), [(0, "unchecked"), (1, "unchecked"), (2, "proven"), (3, "proven")]
)
def test_the_quorum_decides(count: int, verdict: str) -> None:
    """One witness too few must not pass for enough."""
    made = prepare(policy(), (), [Kept("anchor", anchor(0, *WITNESSES[:count]))])
    assert [parse_checkpoint(one.text).size for one in made.kept] == [3]
    report = met(made)
    assert report.verdict == verdict
    if count:
        assert any(datetime.fromtimestamp(SECONDS, UTC).isoformat()[:19] in line for line in report.proven)


def test_a_state_that_is_not_continued_vouches_for_nothing() -> None:
    """Cosignatures over some state would otherwise count for any other."""
    made = prepare(policy(), (), [Kept("anchor", anchor(0, *WITNESSES))])
    assert judge(made, Report(subject="export", proven=["it is fine"])).verdict == "unchecked"


def test_signatures_of_two_texts_are_not_added_up() -> None:
    """Two witnesses that signed two different states have not both signed one."""
    kept = [Kept("one", anchor(0, WITNESSES[0])), Kept("two", anchor(2, WITNESSES[1]))]
    assert met(prepare(policy(), (), kept)).verdict == "unchecked"


def test_a_witness_is_no_log() -> None:
    """Witnesses together must not be able to make up a log."""
    stranger = SignerKey(INSTANCE, b"x" * 32)
    made = prepare(policy(), (), [Kept("anchor", anchor(0, *WITNESSES, key=stranger))])
    assert made.kept == []
    assert met(made).verdict == "unchecked"


def test_a_leaf_of_another_organization_stays_its_own() -> None:
    """What is witnessed of one organization must not count for another."""
    made = prepare(policy(), (), [Kept("anchor", anchor(1, *WITNESSES))])
    assert [parse_checkpoint(one.text).origin for one in made.kept] == [TWO]


FORGED = {
    "another leaf": anchor(0, *WITNESSES, extra=LEAVES[2]),
    "a leaf of another instance": anchor(0, *WITNESSES, leaves=[state("other.example.org/o/1", 3).encode()]),
    "a leaf that is the instance's own": anchor(0, *WITNESSES, leaves=[state(INSTANCE, 3).encode()]),
    "an edited cosignature": (text := anchor(0, *WITNESSES))[:-20]
    + ("A" if text[-20] != "A" else "B")
    + text[-19:],
    "noise below": "tallystick/time-stamp@v1\nauthority a\nanswer AAAA\n\nnoise",
    "a stamp without an answer": "tallystick/time-stamp@v1\nauthority a\n\n" + instance_note(),
    "no proof": "c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\nx\n",
    "a leaf nobody signed": anchor(
        0, *WITNESSES, leaves=[state(ONE, 3, key=SignerKey(ONE, b"z" * 32)).encode()]
    ),
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_what_is_forged_vouches_for_nothing(text: str) -> None:
    """A forged anchor must not count, whatever it is that was changed."""
    made = prepare(policy(), (), [Kept("anchor", text)])
    assert made.kept == []
    assert made.found.violations + len(made.found.not_proven) >= 1
    assert met(made).verdict != "proven"


@given(st.data())
def test_any_flipped_byte_is_noticed(data: st.DataObject) -> None:
    """An anchor with any byte changed must not vouch for anything it did not vouch for before."""
    text = anchor(0, *WITNESSES)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda one: one != text[at]))
    made = prepare(policy(3), (), [Kept("anchor", text[:at] + other + text[at + 1 :])])
    assert not any(one.cosigned == {"w0", "w1", "w2"} for one in made.vouched)


def test_whose_key_counts_for_which_log() -> None:
    """A key of one organization's log must not open another's; that of the instance opens all, and those of others none."""
    instance = VerifierKey(INSTANCE, LOG.verifier.public_key)
    own = VerifierKey(ONE, LOG.verifier.public_key)

    def names(key: VerifierKey, origin: str) -> set[str]:
        return {one.name for one in keys_for_origin((key,), origin)}  # type: ignore[arg-type, union-attr]

    assert ONE in names(instance, ONE)
    assert TWO in names(instance, TWO)
    assert names(own, TWO) == {ONE}
    assert names(instance, "audit.example.org.evil/o/1") == {INSTANCE}
    assert names(instance, "evil/audit.example.org/o/1") == {INSTANCE}


def test_an_organizations_key_opens_its_anchor() -> None:
    """An auditor who pinned one organization's key must be able to use its anchors."""
    key = SignerKey(ONE, SEED).verifier
    lines = f"witness w0 {WITNESSES[0].cosigning.format()}\nquorum w0\n"
    made = prepare(parse_policy(lines), (key,), [Kept("anchor", anchor(0, WITNESSES[0]))])  # type: ignore[arg-type]
    assert met(made).verdict == "proven"
    other = prepare(parse_policy(lines), (key,), [Kept("anchor", anchor(1, WITNESSES[0]))])  # type: ignore[arg-type]
    assert other.kept == []


def test_what_the_policy_knows() -> None:
    """A least size and an older root in the policy must reach the verifier."""
    root = base64.b64encode(b"r" * 32).decode()
    made = prepare(policy(1, f"known {ONE} 5 {root}", f"least {ONE} 9"), (), [])
    assert [parse_checkpoint(one.text).size for one in made.kept] == [5]
    report = judge(made, Report(subject="export", facts={"origin": ONE, "log size": 8}))
    assert [one.kind for one in report.violated] == ["rollback"]
    assert judge(made, Report(subject="export", facts={"origin": TWO, "log size": 8})).violations == 0


def test_a_checkpoint_of_the_instance_log_vouches_too() -> None:
    """Whoever keeps the cosigned checkpoint itself must be able to use it for a directory."""
    made = prepare(policy(), (), [Kept("checkpoint", instance_note(*WITNESSES))])
    assert parse_note(made.kept[0].text).text.startswith(INSTANCE)
    assert met(made).verdict == "proven"
