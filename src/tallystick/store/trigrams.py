"""Pieces of three characters, by which substrings of a label are found without an extension of PostgreSQL."""

from __future__ import annotations


def trigrams(label: str) -> list[str]:
    """Return each run of three characters of `label` once, in order of first sight; none for shorter labels.

    The label is already in lower case. A label that contains a text of three or more characters has all of
    that text's trigrams.
    """
    return list(dict.fromkeys(label[at : at + 3] for at in range(len(label) - 2)))
