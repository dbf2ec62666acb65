"""Verifying on more than one core: blocks of an export are checked in processes of their own, in order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Final

from tallystick.verify.export import QuickCheck, Spread
from tallystick.verify.quick import Block

WORTH_BYTES: Final = 16 << 20  # smaller files are read before the processes are there
WORKERS_MAX: Final = 4
AHEAD: Final = 1  # blocks that wait for each worker beside the one it checks


@contextmanager
def spread_over_cores(size: int, *, worth: int = WORTH_BYTES) -> Iterator[Spread | None]:
    """Give what checks the blocks of a file of `size` bytes side by side, None where that is not worth it."""
    workers = min(WORKERS_MAX, os.cpu_count() or 1)
    if size < worth or workers < 2:
        yield None
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:

        def begun(quick: QuickCheck, block: bytes) -> Future[Block | None] | None:
            try:
                return pool.submit(quick, block)
            except BrokenProcessPool:
                return None

        def spread(quick: QuickCheck, blocks: Iterable[bytes]) -> Iterator[tuple[bytes, Block | None]]:
            waiting: deque[_Waiting] = deque()
            for block in blocks:
                waiting.append((block, begun(quick, block)))
                if len(waiting) > workers * (1 + AHEAD):
                    yield _next(waiting, quick)
            while waiting:
                yield _next(waiting, quick)

        yield spread


_Waiting = tuple[bytes, Future[Block | None] | None]


def _next(waiting: deque[_Waiting], quick: QuickCheck) -> tuple[bytes, Block | None]:
    block, found = waiting.popleft()
    try:
        return block, quick(block) if found is None else found.result()
    except BrokenProcessPool:  # somebody ended a worker: that is no reason to leave the block unchecked
        return block, quick(block)
