"""Tests of the store: the real PostgreSQL, broken for real."""
