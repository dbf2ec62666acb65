"""What a team would otherwise write: FastAPI, pydantic, SQLAlchemy; one row a commit, one INSERT a batch.

Run as `python -m bench.reference_service PORT` with REFERENCE_DATABASE_URL set. Nothing here is ours but the shape
of the event; it has no redaction, no proof, no receipts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import DateTime, Index, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Actor(BaseModel):
    """Who did it."""

    type: str
    id: str
    name: str | None = None
    email: str | None = None


class Target(BaseModel):
    """What it was done to."""

    type: str
    id: str
    name: str | None = None


class EventIn(BaseModel):
    """One event as it is sent."""

    id: UUID = Field(default_factory=uuid4)
    action: str
    occurred_at: datetime
    actor: Actor
    workspace: str | None = None
    targets: list[Target] = []
    outcome: str = "success"
    context: dict[str, Any] = {}
    before: Any = None
    after: Any = None
    metadata: dict[str, Any] = {}


class Base(DeclarativeBase):
    """The tables."""


class AuditLog(Base):
    """One event as it is stored."""

    __tablename__ = "audit_log"
    id: Mapped[UUID] = mapped_column(PG_UUID(as_uuid=True), primary_key=True)
    action: Mapped[str] = mapped_column(String(256))
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    actor_id: Mapped[str] = mapped_column(String(512))
    actor: Mapped[dict[str, Any]] = mapped_column(JSONB)
    workspace: Mapped[str | None] = mapped_column(String(512))
    target_id: Mapped[str | None] = mapped_column(String(512))
    targets: Mapped[list[Any]] = mapped_column(JSONB)
    outcome: Mapped[str] = mapped_column(String(16))
    context: Mapped[dict[str, Any]] = mapped_column(JSONB)
    before: Mapped[Any] = mapped_column(JSONB)
    after: Mapped[Any] = mapped_column(JSONB)
    event_metadata: Mapped[dict[str, Any]] = mapped_column(JSONB)
    __table_args__ = (
        Index("by_time", "occurred_at"),
        Index("by_action", "action", "occurred_at"),
        Index("by_actor", "actor_id", "occurred_at"),
        Index("by_target", "target_id", "occurred_at"),
    )


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Create the table before the first request."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


engine = create_async_engine(os.environ.get("REFERENCE_DATABASE_URL", "postgresql+asyncpg://"), pool_size=16)
session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI(lifespan=lifespan)


def row(event: EventIn) -> dict[str, Any]:
    """Return the columns of an event."""
    return {
        "id": event.id, "action": event.action, "occurred_at": event.occurred_at, "actor_id": event.actor.id,
        "actor": event.actor.model_dump(), "workspace": event.workspace,
        "target_id": event.targets[0].id if event.targets else None,
        "targets": [t.model_dump() for t in event.targets], "outcome": event.outcome, "context": event.context,
        "before": event.before, "after": event.after, "event_metadata": event.metadata,
    }  # fmt: skip


@app.post("/events", status_code=201)
async def record(event: EventIn) -> dict[str, str]:
    """Store one event in a transaction of its own."""
    async with session() as db:
        db.add(AuditLog(**row(event)))
        await db.commit()
    return {"id": str(event.id)}


@app.post("/events/batch")
async def record_batch(events: list[EventIn]) -> dict[str, int]:
    """Store a batch; SQLAlchemy makes one INSERT of it."""
    async with session() as db:
        db.add_all([AuditLog(**row(event)) for event in events])
        await db.commit()
    return {"stored": len(events)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
