"""Datasets and their tags."""
