"""`python -m tests.reliability --faults 60` runs the fault harness and prints its table."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> int:
    """Run, print, and return 1 when something did not hold."""
    from reliability.harness import run
    from reliability.mutants import MUTANTS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--mutant", choices=sorted(MUTANTS))
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr)

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    outcome = asyncio.run(run(given.faults, seed=given.seed, mutant=given.mutant, say=say))
    print(outcome.table())
    for sentence in outcome.verdict.violations:
        print(sentence)
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
