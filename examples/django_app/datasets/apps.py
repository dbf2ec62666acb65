"""The application."""

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    """Datasets."""

    name = "examples.django_app.datasets"
    label = "datasets"
