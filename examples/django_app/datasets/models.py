"""What there is, and what of it is on the record: everything but the notes, and users as well."""

from django.db import models

from tallystick.django import AuditedModel, AuditOptions, audit_models


class Tag(AuditedModel):
    """A word for datasets."""

    label = models.CharField(max_length=40, unique=True)

    def __str__(self) -> str:
        return self.label


class Dataset(AuditedModel):
    """Rows to train on."""

    __audit__ = AuditOptions(exclude={"notes"}, name="name")

    name = models.CharField(max_length=80, unique=True)
    rows = models.IntegerField(default=0)
    is_public = models.BooleanField(default=False)
    notes = models.TextField(blank=True, default="")
    tags = models.ManyToManyField(Tag, blank=True)

    def __str__(self) -> str:
        return self.name


audit_models("auth.User", exclude=["last_login"])  # a model that is not ours
