"""What capturing changes of a Django model costs: ours, django-pghistory and django-auditlog in one run.

The same model three times, and once unwatched, on PostgreSQL of the wheel with durable commits off, so that the disk
does not hide the work. 1,000 objects are changed by `save()` in one transaction; the kinds take turns, round by round.
Then bulk operations, whose captured rows are counted for each kind.

python -m bench.capture_speed
"""

from __future__ import annotations

import os
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tallystick.store import cluster, embedded

ROWS = 1_000
ROUNDS = 3
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}


@contextmanager
def postgres(folder: Path) -> Iterator[Any]:
    """Run a PostgreSQL of this run's own and give where its superuser signs in."""
    server = cluster.settle(
        folder / "postgres", programs=None, user=None, runtime_folder=None, say=lambda _: None
    )
    lock = embedded.take_lock(server.folder)
    known = cluster.passwords(server.folder, lambda: secrets.token_hex(8))
    cluster.make_cluster(server, known[cluster.SUPERUSER])
    process = embedded.spawn(server, {**embedded.DEFAULTS, **embedded.HELD, **SETTINGS})
    try:
        while not embedded.is_ready(server, process.pid):
            time.sleep(0.05)
        yield embedded.dsn_of(server.sockets, cluster.SUPERUSER, known[cluster.SUPERUSER])
    finally:
        embedded.send(process.pid, signal.SIGQUIT)
        process.wait(30)
        os.close(lock)


def configured(dsn: Any, folder: Path) -> None:
    """Set Django up on that database, with the applications of all kinds."""
    import django
    from django.conf import settings
    from psycopg.conninfo import conninfo_to_dict

    import tallystick

    found = conninfo_to_dict(dsn.url)
    audit = tallystick.Audit(
        url="http://127.0.0.1:9", spool=folder / "spool", profile="memory", exit_seconds=0
    )
    settings.configure(
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": found.get("dbname", "postgres"), "USER": found["user"],
            "PASSWORD": found["password"], "HOST": found["host"], "PORT": found["port"],
        }},
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "auditlog", "pgtrigger", "pghistory", "tallystick.django",
            "bench.capture_app",
        ],
        MIGRATION_MODULES={"capture_app": None},
        TALLYSTICK={"audit": audit},
        USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", SECRET_KEY="of a bench",
    )  # fmt: skip
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("pgtrigger", "install", verbosity=0)
    from bench.capture_app.models import Triggered
    from tallystick.django.triggers import statements_for

    with connection.cursor() as cursor:
        for statement in statements_for(Triggered):
            cursor.execute(statement)
    connection.close()  # the next one knows of the triggers


def kinds() -> dict[str, tuple[Any, Callable[[], int]]]:
    """Return the model of each kind, and what counts its captured changes."""
    from auditlog.models import LogEntry
    from django.db import connection

    from bench.capture_app import models
    from tallystick.django.models import OutboxEvent

    def counted(table: str) -> Callable[[], int]:
        def count() -> int:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {table}")
                return cursor.fetchone()[0]

        return count

    return {
        "nothing": (models.Plain, lambda: 0),
        "django-auditlog": (models.Logged, LogEntry.objects.count),
        "django-pghistory": (models.Historic, counted("capture_app_historicevent")),
        "tallystick": (models.Watched, OutboxEvent.objects.count),
        "tallystick, by triggers": (models.Triggered, OutboxEvent.objects.count),
    }


def processor_ms(backend: int) -> float:
    """Return the milliseconds of processor time that this process and its database session have had."""
    fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return time.process_time() * 1e3 + ticks * 1e3 / os.sysconf("SC_CLK_TCK")


def saves(model: Any) -> tuple[float, float]:
    """Return the milliseconds of 1,000 changed objects, each saved: by the clock, and of processor time."""
    import pghistory
    from django.db import connection, transaction

    import tallystick
    from tallystick.django.project import the_audit

    rows = list(model.objects.all())
    # Each kind is told who acts in its own way, and pays for nobody else's.
    who = {
        "Historic": lambda: pghistory.context(user="usr_1"), "Watched": lambda: ours, "Triggered": lambda: ours,
    }.get(model.__name__, nullcontext)  # fmt: skip
    ours = the_audit().context(actor=tallystick.User("usr_1"), request_id="r")
    with who():
        backend = connection.connection.info.backend_pid
        began, worked = time.perf_counter(), processor_ms(backend)
        with transaction.atomic():
            for row in rows:
                row.amount += 1
                row.label = f"x{row.amount}"
                row.save()
        return (time.perf_counter() - began) * 1e3, processor_ms(backend) - worked


def bulk(model: Any, count: Callable[[], int]) -> dict[str, str]:
    """Return how many of the changes of each way around `save()` were captured."""
    from django.db import connection
    from django.db.models import F

    def raw() -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {model._meta.db_table} SET amount = amount + 1 WHERE id % 2 = 0")
            return cursor.rowcount

    def bulk_update() -> int:
        rows = list(model.objects.all()[:100])
        for row in rows:
            row.amount += 5
        return model.objects.bulk_update(rows, ["amount"])

    found: dict[str, str] = {}
    for name, change in (
        ("bulk_create", lambda: len(model.objects.bulk_create([model(label=f"b{n}") for n in range(100)]))),
        ("update()", lambda: model.objects.update(amount=F("amount") + 1)), ("bulk_update", bulk_update),
        ("raw delete", lambda: model.objects.filter(label__startswith="b")._raw_delete("default")), ("raw SQL", raw),
    ):  # fmt: skip
        before = count()
        done = change()
        found[name] = f"{count() - before} of {done}"
    return found


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        folder.chmod(0o711)
        with postgres(folder) as dsn:
            configured(dsn, folder)
            found = kinds()
            for model, _ in found.values():
                model.objects.bulk_create(
                    [model(label=f"r{n}", note="some words of a row") for n in range(ROWS)]
                )
            taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in found}
            for _ in range(ROUNDS):
                for kind, (model, _) in found.items():
                    taken[kind].append(saves(model))
            for kind, values in taken.items():
                clock, worked = (statistics.median(column) for column in zip(*values, strict=True))
                print(f"{ROWS} saves, {kind:26} {clock:6.0f} ms, of processor time {worked:6.0f}", flush=True)
            missed = 0
            for kind in ("tallystick", "tallystick, by triggers"):
                for peer, goal in (("django-pghistory", 1.5), ("django-auditlog", 1.0)):
                    pairs = zip(taken[kind], taken[peer], strict=True)
                    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in pairs]
                    clock, worked = (statistics.median(column) for column in zip(*ratios, strict=True))
                    missed += min(clock, worked) > goal
                    print(
                        f"{kind} ÷ {peer}: {clock:.2f} by the clock, {worked:.2f} of processor time (goal ≤ {goal})",
                        flush=True,
                    )
            for kind, (model, count) in list(found.items())[1:]:
                print(f"captured, {kind}: {bulk(model, count)}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
