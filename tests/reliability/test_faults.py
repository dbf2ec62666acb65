"""The fault harness in short: a dozen faults on the product, and a few on each planted mutant, which must be found."""

from __future__ import annotations

import asyncio

import pytest

from reliability.database import SEGMENT_BYTES, destroy_beyond
from reliability.harness import FAULTS, run
from reliability.mutants import MUTANTS

pytestmark = pytest.mark.timeout(300)
# The faults in which each mutant shows; the others would only take time.
TELLING = {
    "answer_before_commit": ("kill a database backend", "cut the power"),
    "no_deduplication": ("end a database connection",),
    "synchronous_commit_off": ("cut the power",),
}


@pytest.mark.slow
def test_nothing_acknowledged_is_lost() -> None:
    """An acknowledged event would be lost, doubled or moved by a crash of any part, or a reader miss one."""
    outcome = asyncio.run(run(12, seed=20261121))
    assert outcome.holds, "\n".join(outcome.verdict.violations)
    assert outcome.faults == 12
    assert outcome.seconds.keys() == set(FAULTS)
    assert outcome.verdict.acknowledged > 500, "too little load to mean anything"


@pytest.mark.slow
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_planted_bug_is_found(mutant: str) -> None:
    """The harness would be blind to the bug it exists for."""
    outcome = asyncio.run(run(4, seed=3, kinds=TELLING[mutant], mutant=mutant))
    verdict = outcome.verdict
    assert not outcome.holds
    if mutant == "no_deduplication":
        assert verdict.duplicates > 0, verdict.violations
    else:
        assert verdict.lost > 0, verdict.violations


def test_power_cut_destroys_exactly_what_was_not_flushed(tmp_path) -> None:
    """The simulated power cut would spare bytes that were never flushed, or take some that were."""
    names = ("000000010000000000000001", "000000010000000000000002", "000000010000000100000000")
    for name in names:
        (tmp_path / name).write_bytes(b"x" * SEGMENT_BYTES)
    flushed = 2 * SEGMENT_BYTES + 12345
    destroy_beyond(tmp_path, flushed)
    first, second, last = ((tmp_path / name).read_bytes() for name in names)
    assert first == b"x" * SEGMENT_BYTES
    assert second == b"x" * 12345 + bytes(SEGMENT_BYTES - 12345)
    assert last == bytes(SEGMENT_BYTES)
