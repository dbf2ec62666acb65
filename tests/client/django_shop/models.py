"""Models of every kind that the ORM writes in a way of its own."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now, Upper

from tallystick.django import AuditedModel, AuditOptions, audit_models


class Tag(models.Model):
    label = models.CharField(max_length=40, unique=True)


class Team(AuditedModel):
    label = models.CharField(max_length=40)


class Budget(AuditedModel):
    __audit__ = AuditOptions(exclude={"note"}, name="label")

    label = models.CharField(max_length=40, unique=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    count = models.IntegerField(default=0)
    note = models.TextField(default="")
    password = models.CharField(max_length=40, default="")
    settings = models.JSONField(default=dict)
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="budgets")
    owner = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL, related_name="owned")
    tags = models.ManyToManyField(Tag)
    made_at = models.DateTimeField(db_default=Now())
    loud = models.GeneratedField(expression=Upper("label"), output_field=models.CharField(max_length=40), db_persist=True)  # fmt: skip


class FrozenBudget(Budget):
    class Meta:
        proxy = True


class Place(AuditedModel):
    city = models.CharField(max_length=40)


class Office(Place):
    desks = models.IntegerField(default=0)


class Member(AuditedModel):
    pk = models.CompositePrimaryKey("team_name", "user_name")
    team_name = models.CharField(max_length=20)
    user_name = models.CharField(max_length=20)
    role = models.CharField(max_length=20)


class Unwatched(models.Model):
    budget = models.ForeignKey(Budget, null=True, on_delete=models.CASCADE)


class Left(models.Model):
    """Left to triggers."""

    label = models.CharField(max_length=40)
    count = models.IntegerField(default=0)


audit_models("auth.User", exclude=["last_login"])
audit_models(Tag)
audit_models(Left, by="triggers")
