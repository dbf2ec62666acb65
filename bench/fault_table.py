"""The table of faults in docs/explanation/reliability.md: `python -m bench.fault_table --faults 60`.

Runs the fault harness of the tests against the product and writes what came of it between the page's two marks; the
page is left alone when something did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->\n", "<!-- faults: end -->\n"


def main() -> int:
    """Run, print, write; return 1 when something did not hold."""
    sys.path.insert(0, str(ROOT / "tests"))
    from reliability.harness import LIVE_READERS, READERS, WRITERS, run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=20261121)
    given = parser.parse_args()
    outcome = asyncio.run(
        run(given.faults, seed=given.seed, say=lambda line: print(line, file=sys.stderr, flush=True))
    )
    print(outcome.table())
    for sentence in outcome.verdict.violations:
        print(sentence)
    if not outcome.holds:
        return 1
    where = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} shared cores, {platform.system()} {platform.machine()}, embedded "
        f"PostgreSQL as the external database of two servers, {WRITERS} writers, {READERS + LIVE_READERS} readers, "
        f"seed {given.seed}."
    )
    PAGE.write_text(written(PAGE.read_text("utf-8"), f"{where}\n\n{outcome.table()}"), "utf-8")
    return 0


def written(page: str, table: str) -> str:
    """Return `page` with `table` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table + END + after


if __name__ == "__main__":
    raise SystemExit(main())
