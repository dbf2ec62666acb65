"""Everything that is measured, one after the other: `make bench`, or `python -m bench NAME …` for some of it.

Each part prints its own table of figures, goals and ratios. Absolute times drift on a shared machine; the ratios are
taken within one run.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

PARTS: dict[str, tuple[str, ...]] = {
    "event": ("bench.event_cost",),
    "access": ("bench.access_cost",),
    "append": ("bench.append_cost",),
    "ingest": ("bench.ingest",),
    "search": ("bench.search_speed",),
    "http": ("bench.search_http",),
    "behind": ("bench.behind_ten_million",),
    "verify": ("bench.verify_speed",),
    "ocsf": ("bench.ocsf_speed",),
    "rendering": ("bench.rendering_speed",),
    "export": ("bench.export_speed",),
    "contracts": ("bench.contracts_speed",),
    "retention": ("bench.retention_speed",),
    "viewer": ("bench.viewer_speed",),
    "start": ("bench.start_speed",),
    "sdk": ("bench.sdk_speed",),
    "capture": ("bench.capture_speed",),
}


def main(wanted: list[str]) -> int:
    """Run the parts that are asked for, all by default; return how many failed."""
    for name in wanted:
        if name not in PARTS:
            print(f"there is no part {name}; known are {', '.join(PARTS)}", file=sys.stderr)
            return 2
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.machine()}, Python {platform.python_version()}, {_cpu()}"
    )
    failed = 0
    for name in wanted or PARTS:
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        failed += subprocess.run([sys.executable, "-m", *PARTS[name]], check=False).returncode != 0
        print(f"-- {name}: {time.monotonic() - started:.0f} s", flush=True)
    return failed


def _cpu() -> str:
    import os

    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} × {names[0].partition(': ')[2] if names else 'unknown processor'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
