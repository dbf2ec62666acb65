"""A team's API keys in Flask: every mutation on the record, with what a key could do before and after.

TALLYSTICK_URL=… TALLYSTICK_API_KEY=… flask --app examples.flask_app.app run
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import Flask, Request, abort, request

from tallystick import Audit, Target, User, snapshot
from tallystick.flask import Audited, audit_event

USERS = {
    "Bearer ada": User("usr_1", name="Ada", role="admin"),
    "Bearer bob": User("usr_2", name="Bob", role="viewer"),
}
KEYS: dict[str, dict[str, Any]] = {}

app = Flask(__name__)
audit = Audit()


def actor_of(request: Request) -> User | None:
    """Return whose token it is."""
    return USERS.get(request.headers.get("authorization", ""))


Audited(app, audit=audit, auto="mutations", resolve_actor=actor_of)


@app.before_request
def only_admins() -> None:
    """Refuse everybody else; what is refused is recorded as denied."""
    user = actor_of(request)
    if user is None:
        abort(401)
    if user.role != "admin":
        abort(403)


@app.post("/keys", endpoint="api_key.create")
def create() -> tuple[dict[str, Any], int]:
    """Make a key; the secret is shown once and recorded never."""
    id = f"key_{len(KEYS) + 1}"
    KEYS[id] = {"name": request.get_json()["name"], "scopes": ["read"], "secret": secrets.token_urlsafe()}
    event = audit_event()
    event.targets = [Target("api_key", id, name=KEYS[id]["name"])]
    event.after = snapshot(KEYS[id], exclude={"secret"})
    return {"id": id, "secret": KEYS[id]["secret"]}, 201


@app.patch("/keys/<id>", endpoint="api_key.update")
def update(id: str) -> dict[str, Any]:
    """Change what a key may do."""
    key = KEYS.get(id) or abort(404)
    event = audit_event()
    event.targets = [Target("api_key", id, name=key["name"])]
    event.before = snapshot(key, exclude={"secret"})
    key["scopes"] = request.get_json()["scopes"]
    event.after = snapshot(key, exclude={"secret"})
    return {"scopes": key["scopes"]}
