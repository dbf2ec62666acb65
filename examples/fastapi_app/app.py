"""A small model registry: FastAPI and SQLAlchemy, every change on the record without a line about it.

    TALLYSTICK_URL=… TALLYSTICK_API_KEY=… uvicorn examples.fastapi_app.app:app

The middleware knows who, from where and within which request; SQLAlchemy knows what was there before and after.
Events of rows lie in the application's own database until they are relayed, so that they commit with the rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from tallystick import Audit, Target, User
from tallystick.asgi import AuditMiddleware
from tallystick.sqlalchemy import AuditOptions, Outbox, Relay, instrument

USERS = {
    "Bearer ada": User("usr_1", name="Ada", role="admin"),
    "Bearer bob": User("usr_2", name="Bob", role="viewer"),
}


class Base(DeclarativeBase):
    """The application's tables."""


class Model(Base):
    """A registered model."""

    __tablename__ = "model"
    __audit__ = AuditOptions(exclude={"weights"}, name="name")

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    stage: Mapped[str] = mapped_column(default="staging")
    weights: Mapped[bytes | None]


audit = Audit()
outbox = Outbox(Base.metadata)
engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///registry.db"))
sessions = sessionmaker(engine)
instrument(sessions, outbox, audit)


def actor_of(scope: Any) -> User | None:
    """Return whose token it is."""
    return USERS.get(dict(scope["headers"]).get(b"authorization", b"").decode())


@asynccontextmanager
async def lifespan(app: FastAPI) -> Any:
    """Create the tables, and relay while the application runs."""
    Base.metadata.create_all(engine)
    with Relay(engine, outbox, audit):
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    AuditMiddleware,
    audit=audit,
    resolve_actor=actor_of,
    auto="mutations",
    # What changes rows is told by the rows themselves; the requests that do not are told by the middleware.
    skip=lambda path, method: path.startswith("/models"),
)


def session() -> Iterator[Session]:
    """Give a session for one request."""
    with sessions() as opened:
        yield opened


Opened = Annotated[Session, Depends(session)]


@app.post("/models", status_code=201)
def create_model(name: str, db: Opened) -> dict[str, Any]:
    """Register a model."""
    model = Model(name=name)
    db.add(model)
    db.commit()
    return {"id": model.id}


@app.post("/models/{model_id}/promote")
def promote(model_id: int, db: Opened) -> dict[str, str]:
    """Put a model into production."""
    model = db.get(Model, model_id)
    if model is None:
        raise HTTPException(404)
    model.stage = "production"
    outbox.record(db, audit, "model.promote", target=Target("model", str(model_id), name=model.name))
    db.commit()
    return {"stage": "production"}


@app.post("/tokens", name="token.create")
def create_token() -> None:
    """Refuse, as this example has no tokens to give."""
    raise HTTPException(403)
