"""A small Django project whose every change is on the record."""
