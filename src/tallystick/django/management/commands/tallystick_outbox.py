"""`manage.py tallystick_outbox`: what waits in a project's database, sending it, and whether triggers are in place."""

from __future__ import annotations

import json
import signal
import threading
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from tallystick.django.outbox import Relay, lag, relay
from tallystick.django.triggers import missing_triggers, statements_for
from tallystick.errors import AuditError


class Command(BaseCommand):
    """The command."""

    help = "See and send the events that wait in the outbox, print and check triggers."

    def add_arguments(self, parser: Any) -> None:
        """Declare the arguments."""
        parser.add_argument("do", choices=["status", "relay", "triggers"])
        parser.add_argument(
            "models", nargs="*", help="For triggers: models as in shop.Order, to print their SQL."
        )
        parser.add_argument("--once", action="store_true", help="End when nothing waits any more.")
        parser.add_argument("--json", action="store_true", help="One JSON object.")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; errors of ours become sentences."""
        try:
            getattr(self, f"_{options['do']}")(options)
        except AuditError as error:
            raise CommandError(str(error)) from None

    def _status(self, options: dict[str, Any]) -> None:
        found = lag(using=options["database"])
        if options["json"]:
            told = {
                "waiting": found.waiting,
                "oldest_seconds": found.oldest_age_seconds,
                "refused": found.refused,
            }
            self.stdout.write(json.dumps(told))
            return
        since = f", the oldest for {found.oldest_age_seconds:.0f} s" if found.waiting else ""
        self.stdout.write(f"{found.waiting} events wait{since}; {found.refused} were refused.")

    def _relay(self, options: dict[str, Any]) -> None:
        if options["once"]:
            sent = 0
            while number := relay(using=options["database"]):
                sent += number
            self.stdout.write(f"{sent} events left the outbox.")
            return
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        with Relay(using=options["database"]) as running:
            self.stdout.write("Relaying; stop with Ctrl-C.")
            while not stop.wait(3600):
                continue
        self.stdout.write(f"{running.pace.sent} events sent.")

    def _triggers(self, options: dict[str, Any]) -> None:
        if options["models"]:
            for label in options["models"]:
                for statement in statements_for(apps.get_model(label)):
                    self.stdout.write(f"{statement};")
            return
        if connections[options["database"]].vendor != "postgresql":
            raise CommandError("triggers are for PostgreSQL")
        missing = missing_triggers(options["database"])
        if missing:
            raise CommandError(
                f"no triggers on {', '.join(missing)}: changes of these tables are not recorded"
            )
        self.stdout.write("Every table that is left to triggers has them.")
