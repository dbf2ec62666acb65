"""The tables, and triggers on the one that other programs write to as well."""

from django.db import migrations, models

from tallystick.django import Triggers


class Migration(migrations.Migration):
    """Makes them."""

    initial = True
    dependencies = [("tallystick", "0001_initial")]  # noqa: RUF012
    operations = [  # noqa: RUF012
        migrations.CreateModel(
            name="Tag",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.CharField(max_length=40, unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Dataset",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80, unique=True)),
                ("rows", models.IntegerField(default=0)),
                ("is_public", models.BooleanField(default=False)),
                ("notes", models.TextField(blank=True, default="")),
                ("tags", models.ManyToManyField(blank=True, to="datasets.tag")),
            ],
        ),
        Triggers("Dataset", exclude=["notes"]),
    ]
