"""A team at work, through MLflow's own client: `python -m examples.mlflow.drive http://127.0.0.1:5000 <admin's password>`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient

PASSWORD = "a-long-enough-password"  # noqa: S105


@contextmanager
def refused() -> Iterator[None]:
    """Expect MLflow to say no."""
    try:
        yield
    except MlflowException as error:
        print("refused:", error)
        return
    raise SystemExit("MLflow should have refused this")


def sign_in(name: str, password: str = PASSWORD) -> None:
    """Have the client speak for somebody else from now on."""
    os.environ["MLFLOW_TRACKING_USERNAME"] = name
    os.environ["MLFLOW_TRACKING_PASSWORD"] = password


def train(client: MlflowClient) -> tuple[str, str]:
    """Log a run with parameters and metrics; return the ids of experiment and run."""
    experiment = client.create_experiment("fraud-detection")
    client.set_experiment_tag(experiment, "team", "risk")
    run = client.create_run(experiment, run_name="xgboost-baseline").info.run_id
    client.log_param(run, "learning_rate", 0.1)
    client.log_metric(run, "auc", 0.93)
    client.set_tag(run, "dataset", "2026-Q3")
    client.set_terminated(run)
    return experiment, run


def register(client: MlflowClient, run: str) -> None:
    """Put a model of the run into the registry and into production."""
    client.create_registered_model("fraud", description="scores card payments")
    for _ in range(2):
        client.create_model_version("fraud", source=f"runs:/{run}/model", run_id=run)
    client.update_model_version("fraud", "2", description="retrained")
    client.set_model_version_tag("fraud", "2", "approved_by", "risk-board")
    client.set_registered_model_alias("fraud", "champion", "2")
    client.rename_registered_model("fraud", "card-fraud")


def clean_up(client: MlflowClient, experiment: str, run: str) -> None:
    """Take it all away again."""
    client.delete_registered_model_alias("card-fraud", "champion")
    client.delete_model_version("card-fraud", "1")
    client.delete_registered_model("card-fraud")
    client.delete_run(run)
    client.restore_run(run)
    client.delete_experiment(experiment)


def main(url: str, password: str) -> None:
    """Do a week's work in a second."""
    client = MlflowClient(url)
    sign_in("admin", password)
    people = AuthServiceClient(url)
    people.create_user("ada", PASSWORD)
    people.create_user("mallory", PASSWORD)
    sign_in("ada")
    experiment, run = train(client)
    register(client, run)
    with refused():
        client.create_registered_model("card-fraud")  # there is one
    sign_in("mallory")
    with refused():
        client.set_registered_model_alias("card-fraud", "champion", "1")  # not hers
    with refused():
        client.delete_experiment(experiment)
    sign_in("ada", "a-guess-at-a-password")
    with refused():
        client.create_experiment("stolen")
    sign_in("ada")
    clean_up(client, experiment, run)
    sign_in("admin", password)
    people.delete_user("mallory")


if __name__ == "__main__":
    main(*sys.argv[1:])
