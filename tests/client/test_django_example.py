"""The Django example runs as it stands, against a real server and a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from postgres import Database
from server import Server

pytest.importorskip("django", reason="django is not installed")

ROOT = Path(__file__).parents[2]
DRIVE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "examples.django_app.settings"
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from examples.django_app.datasets.models import Dataset, Tag

call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
ada = User.objects.create_superuser("ada", password="hunter2hunter2")
browser = Client()
assert browser.login(username="ada", password="hunter2hunter2")
tag = Tag.objects.create(label="text")
made = browser.post("/admin/datasets/dataset/add/", {"name": "refunds", "rows": 5, "notes": "private", "tags": [tag.pk]})
assert made.status_code == 302, made.content
dataset = Dataset.objects.get()
assert browser.post(f"/datasets/{dataset.pk}/publish").status_code == 200
assert Client().post(f"/datasets/{dataset.pk}/publish").status_code == 403
with connection.cursor() as cursor:
    cursor.execute("UPDATE datasets_dataset SET rows = rows * 2")
browser.post("/admin/datasets/dataset/", {"action": "delete_selected", "_selected_action": [dataset.pk], "post": "yes"})
assert not Dataset.objects.exists()
call_command("tallystick_outbox", "relay", "--once")
call_command("tallystick_outbox", "status")
"""


def test_django(server: Server, search: Any, empty_database: Database, tmp_path: Path) -> None:
    """Rows, many-to-many, an act of its own, raw SQL and the admin must all be there, each once, with who did it."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    environment = clean | {
        "TALLYSTICK_URL": server.url, "TALLYSTICK_API_KEY": server.write_key, "TALLYSTICK_SPOOL": str(tmp_path / "spool"),
        "DATABASE_URL": empty_database.superuser.url,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", DRIVE], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    assert "0 events wait; 0 were refused." in done.stdout
    events = [*search(action="^dataset."), *search(action="^dataset_tags."), *search(action="^admin.")]
    assert sorted(event["action"] for event in events) == [
        "admin.add", "admin.delete", "dataset.create", "dataset.delete", "dataset.publish", "dataset.update",
        "dataset.update", "dataset_tags.create", "dataset_tags.delete",
    ]  # fmt: skip
    by_hand = [event for event in events if event.get("metadata", {}).get("captured_by") == "trigger"]
    assert [(event["before"]["rows"], event["after"]["rows"]) for event in by_hand] == [(5, 10)]
    assert {event["actor"].get("name") for event in events if event not in by_hand} == {"ada"}
    assert "private" not in str(events)
    [made] = search(action="user.create")
    assert "$redacted" in made["after"]["password"]
