"""The outbox's table, and the mixin of models whose every change is recorded."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from tallystick.outbox.rows import AuditOptions
from tallystick.outbox.table import TABLE


class OutboxEvent(models.Model):
    """One event that waits; rows are written and deleted by statements of their own, and looked at through this."""

    seq = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=36, db_column="id")
    event = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    refused = models.TextField(null=True)

    class Meta:
        db_table = TABLE
        verbose_name = "event that waits"
        verbose_name_plural = "events that wait"

    def __str__(self) -> str:
        return str(self.event_id)


class AuditedModel(models.Model):
    """Base of models whose every change through the ORM is recorded, in the same transaction.

    Options: `__audit__ = AuditOptions(exclude={"note"}, name="label")` on the class.
    """

    __audit__: ClassVar[AuditOptions] = AuditOptions()

    class Meta:
        abstract = True
