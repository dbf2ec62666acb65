"""A registry of datasets: models, admin and a view, every change on the record in the transaction that makes it.

    export TALLYSTICK_URL=… TALLYSTICK_API_KEY=… DATABASE_URL=postgresql://…
    python -m examples.django_app.manage migrate
    python -m examples.django_app.manage runserver
    python -m examples.django_app.manage tallystick_outbox relay     # beside it, as often as you like

Three things are ours: the application, whose migration makes the outbox; the middleware, which knows who acts; and the
models, which say that they are audited.
"""

from __future__ import annotations

import os

from psycopg.conninfo import conninfo_to_dict

database = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database.get("dbname"),
        "USER": database.get("user", ""),
        "PASSWORD": database.get("password", ""),
        "HOST": database.get("host", ""),
        "PORT": database.get("port", ""),
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "tallystick.django",
    "examples.django_app.datasets",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tallystick.django.AuditMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "examples.django_app.urls"
SECRET_KEY = os.environ.get("SECRET_KEY", "only for an example")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
