"""Faults on purpose: killed processes, full disks, cut power, and what must still hold."""
