"""The application, under a name of its own."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "client.django_shop"
    label = "shop"
