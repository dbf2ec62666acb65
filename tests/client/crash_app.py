"""The application that gets killed: records numbered events from some threads and notes what it was told.

Arguments: journal, first number, how many threads, profile, policy, mutant. In the journal `+n` is written
before an event is recorded and `=n` after `record` has returned.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import httpx2  # noqa: F401  (loaded before the clock starts: an application that is killed has run for a while)

import tallystick
from tallystick.client import delivery as delivering
from tallystick.client import transport as transporting

ACTION = "crash.act"
ADA = tallystick.User("usr_1", name="Ada")


def send_before_spool(audit: tallystick.Audit) -> None:
    """A mutant: the event goes to the sender first, the disk sees it when somebody has time."""
    waiting: list[tuple[str, bytes]] = []

    def put(self: Any, id: str, raw: bytes) -> bool:
        waiting.append((id, raw))
        if len(waiting) == 1:
            threading.Timer(0.05, keep, (self,)).start()
        return True

    def keep(self: Any) -> None:
        while waiting:
            self.spool.put(*waiting[0])
            waiting.pop(0)
        self.sender.notice()

    delivering.Delivery.put = put  # type: ignore[method-assign]


def no_id(audit: tallystick.Audit) -> None:
    """A mutant: events are sent without the id that makes sending them again harmless."""
    post = transporting.Transport._post

    def without(self: Any, path: str, body: bytes) -> Any:
        import msgspec

        events = msgspec.json.decode(body)
        for event in events:
            del event["id"]
        return post(self, path, msgspec.json.encode(events))

    transporting.Transport._post = without  # type: ignore[method-assign]


MUTANTS = {"send_before_spool": send_before_spool, "no_id": no_id}


def main() -> None:
    """Record until the number is reached or somebody kills this."""
    path, first, number, threads, profile, policy, mutant = sys.argv[1:8]
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    audit = tallystick.Audit(
        profile=profile,  # type: ignore[arg-type]
        when_full=policy,  # type: ignore[arg-type]
        spool_bytes_max=256 * 1024 if policy == "drop_oldest" else 64 * 1024 * 1024,
        linger_seconds=0.01,
        exit_seconds=0.0,
    )
    if mutant:
        MUTANTS[mutant](audit)
    numbers = iter(range(int(first), int(first) + int(number)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            os.write(journal, b"+%d\n" % n)
            audit.record(
                ACTION, actor=ADA, metadata={"n": n, "text": "x" * (2_000 if policy == "drop_oldest" else 20)}
            )
            os.write(journal, b"=%d\n" % n)

    workers = [threading.Thread(target=work) for _ in range(int(threads))]
    os.write(1, b"ready\n")
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
