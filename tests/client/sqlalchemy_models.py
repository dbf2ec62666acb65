"""The models of an application that uses SQLAlchemy, each watched in another way, and its outbox."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tallystick.sqlalchemy import AuditOptions, Outbox


class Base(DeclarativeBase):
    pass


class Budget(Base):
    __tablename__ = "budget"
    __audit__ = AuditOptions(exclude={"note"}, name="label")

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]
    amount: Mapped[int] = mapped_column(default=0)
    note: Mapped[str | None]
    password: Mapped[str | None]


class Member(Base):
    __tablename__ = "member"
    __audit__ = AuditOptions(type="membership")

    team: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]


class Team(Base):
    __tablename__ = "team"
    __audit__ = AuditOptions()

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(unique=True)
    count: Mapped[int] = mapped_column(default=0, server_default="0")
    seats: Mapped[list[Seat]] = relationship(cascade="all, delete-orphan", back_populates="team")
    guests: Mapped[list[Guest]] = relationship(back_populates="team")


class Seat(Base):
    __tablename__ = "seat"
    __audit__ = AuditOptions()

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("team.id"))
    team: Mapped[Team] = relationship(back_populates="seats")


class Guest(Base):
    __tablename__ = "guest"
    __audit__ = AuditOptions()

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))
    team: Mapped[Team | None] = relationship(back_populates="guests")


class Place(Base):
    __tablename__ = "place"
    __audit__ = AuditOptions()
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "place"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    city: Mapped[str]


class Office(Place):
    __tablename__ = "office"
    __mapper_args__ = {"polymorphic_identity": "office"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("place.id"), primary_key=True)
    desks: Mapped[int] = mapped_column(default=0)


class Unwatched(Base):
    __tablename__ = "unwatched"

    id: Mapped[int] = mapped_column(primary_key=True)
    budget_id: Mapped[int | None] = mapped_column(ForeignKey("budget.id"))


OUTBOX = Outbox(Base.metadata)
