"""MLflow, which we did not write: its own server and client, our middleware in front, and what the log says after."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server import Server

from .mlflow_server import ROOT, drive, environment, mlflow_server, python

GOLDEN = ROOT / "tests" / "golden" / "mlflow_routes.txt"
Search = Callable[..., list[dict[str, Any]]]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Who did what to which with what outcome, as somebody who reads the log is told.
TRAIL = """
admin user.create user:ada success
admin user.create user:mallory success
ada experiment.create experiment:1 success
ada experiment.set_tag experiment:1 success
ada run.create run:RUN,experiment:1 success
ada run.log_param run:RUN success
ada run.log_metric run:RUN success
ada run.set_tag run:RUN success
ada run.update run:RUN success
ada registered_model.create registered_model:fraud success
ada model_version.create model_version:fraud/1,registered_model:fraud,run:RUN success
ada model_version.create model_version:fraud/2,registered_model:fraud,run:RUN success
ada model_version.update model_version:fraud/2,registered_model:fraud success
ada model_version.set_tag model_version:fraud/2,registered_model:fraud success
ada registered_model.set_alias registered_model:fraud success
ada registered_model.rename registered_model:fraud success
ada registered_model.create registered_model:card-fraud failure
mallory registered_model.set_alias registered_model:card-fraud denied
mallory experiment.delete experiment:1 denied
anonymous experiment.create - denied
ada registered_model.delete_alias registered_model:card-fraud success
ada model_version.delete model_version:card-fraud/1,registered_model:card-fraud success
ada registered_model.delete registered_model:card-fraud success
ada run.delete run:RUN success
ada run.restore run:RUN success
ada experiment.delete experiment:1 success
admin user.delete user:mallory success
"""


def line(event: dict[str, Any], run: str) -> str:
    targets = ",".join(f"{t['type']}:{t['id']}" for t in event.get("targets", ())).replace(run, "RUN") or "-"
    who = event["actor"].get("id", event["actor"]["type"])
    return f"{who} {event['action']} {targets} {event['outcome']}"


def test_the_trail_of_a_team(server: Server, search: Search, tmp_path: Path) -> None:
    """Every change, failure and refusal must be there in its order, by name, and no reading among them."""
    began = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    with mlflow_server(tmp_path, TALLYSTICK_URL=server.url, TALLYSTICK_API_KEY=server.write_key) as url:
        printed = drive(url, tmp_path)
    assert printed.count("refused:") == 4
    subprocess.run(
        [Path(python()).parent / "python", "-c", "import sys, tallystick; sys.exit(not tallystick.Audit().flush(120))"],
        env=environment(tmp_path, TALLYSTICK_URL=server.url, TALLYSTICK_API_KEY=server.write_key), check=True, timeout=180,
    )  # fmt: skip
    events = [
        event
        for event in search(**{"from": began, "order": "oldest"})
        if event.get("context", {}).get("user_agent", "").startswith("mlflow-python-client")
    ]
    (run,) = {
        t["id"] for e in events if e["action"] == "run.create" for t in e["targets"] if t["type"] == "run"
    }
    assert [line(event, run) for event in events] == TRAIL.strip().splitlines()
    by_action = {event["action"]: event for event in events}
    assert by_action["run.create"]["targets"][0]["name"] == "xgboost-baseline"
    assert by_action["run.log_param"]["metadata"]["key"] == "learning_rate"
    assert by_action["registered_model.rename"]["metadata"]["new_name"] == "card-fraud"
    failed = next(event for event in events if event["outcome"] == "failure")
    assert failed["error"]["type"] == "RESOURCE_ALREADY_EXISTS"
    assert "a-long-enough-password" not in str(events)


def test_no_route_is_without_a_name(tmp_path: Path) -> None:
    """A route that can change something must have an action somebody chose, not one that it fell into."""
    done = subprocess.run(
        [python(), "-m", "tests.client.mlflow_routes"], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=environment(tmp_path, TALLYSTICK_PROFILE="memory"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == GOLDEN.read_text(), (
        "MLflow's routes have changed: look at each new line, then replace the file"
    )
