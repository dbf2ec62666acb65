"""The addresses of the project."""

from django.contrib import admin
from django.urls import path
from examples.django_app.datasets.views import publish

urlpatterns = [path("admin/", admin.site.urls), path("datasets/<int:dataset_id>/publish", publish)]
