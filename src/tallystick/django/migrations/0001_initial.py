"""The outbox table."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """Makes the table where events wait."""

    initial = True
    dependencies = []  # noqa: RUF012
    operations = [  # noqa: RUF012
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.CharField(db_column="id", max_length=36)),
                ("event", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("refused", models.TextField(null=True)),
            ],
            options={
                "db_table": "audit_outbox",
                "verbose_name": "event that waits",
                "verbose_name_plural": "events that wait",
            },
        ),
    ]
