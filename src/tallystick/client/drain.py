"""Sending a spool file in the foreground: after an outage, after a key was changed, before a machine goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tallystick.client.delivery import gap_event_of
from tallystick.client.lease import Lease
from tallystick.client.recorder import Recorder
from tallystick.client.sender import Sender
from tallystick.client.settings import SPOOL_BYTES_MAX, settings
from tallystick.client.spool import Spool
from tallystick.client.spool_contents import Counts, counts
from tallystick.client.transport import Transport
from tallystick.errors import NotFound, TryLater


def open_spool(path: Path) -> Spool:
    """Open a spool file that is there, to look at it or to empty it; NotFound where there is none."""
    if not path.is_file():
        raise NotFound(
            f"There is no spool at {path}. Nothing was recorded here, or TALLYSTICK_SPOOL was another."
        )
    recorder = Recorder(settings(url="http://localhost", profile="durable").redaction)
    return Spool(
        path,
        synchronous="FULL",
        bytes_max=SPOOL_BYTES_MAX,
        when_full="raise",
        now_ms=lambda: int(recorder.now().timestamp() * 1000),
        new_id=recorder.new_id,
    )


def drain(
    path: Path, url: str, api_key: str | None, *, timeout_seconds: float, progress: Callable[[Counts], None]
) -> Counts:
    """Send all that waits in the spool file `path` to the server at `url`, and return what is left.

    `progress` is called after each batch. Raises TryLater when another process is sending this file already.
    """
    spool = open_spool(path)
    lease = Lease(path.with_suffix(".lease"))
    if not lease.held():
        raise TryLater(
            f"A running process is sending {path} already; it needs no help. Watch it with: tallystick spool status"
        )
    recorder = Recorder(settings(url=url, api_key=api_key).redaction)
    sender = Sender(
        spool, lease, lambda: Transport(url, api_key), gap_event=gap_event_of(recorder), linger_seconds=0.0
    )
    deadline = time.monotonic() + timeout_seconds
    try:
        while spool.waits() and time.monotonic() < deadline:
            pause = sender.step()
            progress(counts(spool))
            time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        return counts(spool)
    finally:
        spool.close()
        lease.release()
