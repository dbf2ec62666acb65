"""The same model, watched by nobody, by two peers and by us in two ways."""

from __future__ import annotations

import pghistory
from auditlog.registry import auditlog
from django.db import models

from tallystick.django import AuditedModel, audit_models


class Plain(models.Model):
    """Watched by nobody."""

    label = models.CharField(max_length=40)
    amount = models.IntegerField(default=0)
    note = models.TextField(default="")
    made_at = models.DateTimeField(auto_now_add=True)
    is_open = models.BooleanField(default=True)


class Logged(models.Model):
    """By django-auditlog."""

    label = models.CharField(max_length=40)
    amount = models.IntegerField(default=0)
    note = models.TextField(default="")
    made_at = models.DateTimeField(auto_now_add=True)
    is_open = models.BooleanField(default=True)


@pghistory.track()
class Historic(models.Model):
    """By django-pghistory."""

    label = models.CharField(max_length=40)
    amount = models.IntegerField(default=0)
    note = models.TextField(default="")
    made_at = models.DateTimeField(auto_now_add=True)
    is_open = models.BooleanField(default=True)


class Watched(AuditedModel):
    """By us, from the ORM."""

    label = models.CharField(max_length=40)
    amount = models.IntegerField(default=0)
    note = models.TextField(default="")
    made_at = models.DateTimeField(auto_now_add=True)
    is_open = models.BooleanField(default=True)


class Triggered(models.Model):
    """By us, from triggers."""

    label = models.CharField(max_length=40)
    amount = models.IntegerField(default=0)
    note = models.TextField(default="")
    made_at = models.DateTimeField(auto_now_add=True)
    is_open = models.BooleanField(default=True)


auditlog.register(Logged)
audit_models(Triggered, by="triggers")
