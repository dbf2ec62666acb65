"""The admin, as always: what it changes is told by the models, what it says about it by its own log."""

from django.contrib import admin

from .models import Dataset, Tag

admin.site.register([Dataset, Tag])
