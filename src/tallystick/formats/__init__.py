"""Streaming writers of the formats in which events leave."""
