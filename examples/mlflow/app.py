"""MLflow's tracking server as it comes from PyPI, with its own sign-in, and everything done to it on the record.

    uv pip install --require-hashes -r examples/mlflow/requirements.txt      # an environment of its own
    TALLYSTICK_URL=… TALLYSTICK_API_KEY=… MLFLOW_AUTH_ADMIN_PASSWORD=… MLFLOW_FLASK_SERVER_SECRET_KEY=… \
    _MLFLOW_SERVER_FILE_STORE=sqlite:///mlflow.db uvicorn examples.mlflow.app:app --port 5000

Nothing of MLflow is changed: the middleware stands in front of it and reads what goes by.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any

# What `mlflow server` sets for the server it starts: have the factory return the ASGI application.
os.environ.setdefault("_MLFLOW_SGI_NAME", "uvicorn")

from mlflow.server.auth import create_app
from tallystick import Audit, User
from tallystick.asgi import AuditMiddleware

from .trail import describe


def actor_of(scope: Any) -> User | None:
    """Return whose request it is: MLflow's users sign in with name and password on each."""
    sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    kind, _, coded = sent.partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        name = base64.b64decode(coded, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None
    return User(name, name=name) if name else None


app = AuditMiddleware(
    create_app(), audit=Audit(), auto="mutations", resolve_actor=actor_of, describe=describe
)
