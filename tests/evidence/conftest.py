"""Fixtures of the tests of evidence bundles: a log that ages, and all that keeps it."""

from __future__ import annotations

from services.conftest import clock, log, office

__all__ = ["clock", "log", "office"]
