"""Work in the background: a worker does it, and the log says in whose name.

    TALLYSTICK_URL=… TALLYSTICK_API_KEY=… BROKER=broker celery -A examples.celery_app.app worker
    BROKER=broker python -m examples.celery_app.send

The broker is a folder here, so that nothing has to be installed; with Redis or RabbitMQ nothing else changes.
"""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from tallystick import Audit, Target
from tallystick.celery import Audited

folder = Path(os.environ.get("BROKER", "broker"))
for name in ("queue", "control"):
    (folder / name).mkdir(parents=True, exist_ok=True)

app = Celery("datasets", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(folder / "queue"), "data_folder_out": str(folder / "queue"),
    "control_folder": str(folder / "control"),
}  # fmt: skip
app.conf.broker_connection_retry_on_startup = True

audit = Audit()
Audited(app, audit=audit, record=True)


@app.task(name="dataset.purge")
def purge(dataset: str, older_than_days: int) -> int:
    """Delete old rows of a dataset; who asked for it is recorded as having done it."""
    if dataset == "ds_legal":
        raise PermissionError("this dataset is under a legal hold")
    audit.record(
        "dataset.purge", target=Target("dataset", dataset), after={"older_than_days": older_than_days}
    )
    return older_than_days
