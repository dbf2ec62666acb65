"""Tallystick: the open, self-hosted, provable audit log for AI platforms."""

__version__ = "0.1.0"
