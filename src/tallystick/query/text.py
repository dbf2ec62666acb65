"""How texts are compared: the one meaning of substring, prefix and case in a filter."""

from __future__ import annotations

from collections.abc import Iterable


def fold(text: str) -> str:
    """Return `text` in the case in which labels of people are kept and compared: Python's lower case."""
    return text.lower()


def fold_ascii(text: str) -> str:
    """Return `text` with A-Z in lower case and nothing else changed, so that every database agrees with us."""
    return text.translate(_ASCII_LOWER)


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def action_fits(pattern: str, action: str) -> bool:
    """Tell whether `action` contains `pattern`, ASCII case aside; `^` ties it to the start, `$` to the end."""
    text, tied_start, tied_end = split_pattern(pattern)
    action = fold_ascii(action)
    if tied_start and tied_end:
        return action == text
    if tied_start:
        return action.startswith(text)
    if tied_end:
        return action.endswith(text)
    return text in action


def split_pattern(pattern: str) -> tuple[str, bool, bool]:
    """Return the text of an action pattern in lower case, and whether it is tied to the start and to the end."""
    tied_start, tied_end = pattern.startswith("^"), pattern.endswith("$") and len(pattern) > 1
    return fold_ascii(pattern[tied_start : len(pattern) - tied_end]), tied_start, tied_end


def label_fits(text: str, labels: Iterable[str]) -> bool:
    """Tell whether any of `labels`, what a subject is known by, contains `text`, case aside."""
    wanted = fold(text)
    return any(wanted in fold(label) for label in labels)


def snapshot_fits(text: str, labels: Iterable[str]) -> bool:
    """Tell whether any of `labels`, the name and e-mail of an actor without an id, contains `text`.

    Only A-Z fold here: such labels are compared in the database, and no two agree on the case of other letters.
    """
    wanted = fold(text)
    return any(wanted in fold_ascii(label) for label in labels)
