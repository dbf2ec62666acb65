"""What a verification found: proven, not proven and violated, kept apart."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field

Verdict = Literal["proven", "violated", "unchecked"]

# 2 is never "fine": a script that only looks at the exit code must not take an unread file for a proven one.
EXIT_CODES: Final[dict[Verdict, int]] = {"proven": 0, "violated": 1, "unchecked": 2}
FINDINGS_MAX: Final = 100
QUOTED_MAX: Final = 200


class Finding(Struct, frozen=True):
    """One thing that is not as it must be: its kind in a word, where it is, and a sentence for people."""

    kind: str
    where: str
    message: str


class Report(Struct, kw_only=True):
    """The result of verifying one subject.

    `violated` lists at most 100 findings, `violations` counts all. `unchecked` is empty, or the reason why
    the subject could not be checked to its end. `facts` are figures about the subject, for display. `continued` are
    the labels of those kept texts whose state the subject was shown to continue.
    """

    subject: str
    facts: dict[str, str | int] = field(default_factory=dict)
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    violated: list[Finding] = field(default_factory=list)
    violations: int = 0
    unchecked: str = ""
    continued: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The one word for it: violated wins over everything that was skipped."""
        if self.violations:
            return "violated"
        return "unchecked" if self.unchecked or not self.proven else "proven"

    @property
    def exit_code(self) -> int:
        """0 proven, 1 violated, 2 not checked."""
        return EXIT_CODES[self.verdict]

    def violate(self, kind: str, where: str, message: str) -> None:
        """Note a violation; beyond 100 they are only counted."""
        self.violations += 1
        if len(self.violated) < FINDINGS_MAX:
            self.violated.append(Finding(kind, where, message))

    def absorb(self, other: Report) -> None:
        """Take over everything another report found, each line under that report's subject."""
        self.proven += [f"{other.subject}: {line}" for line in other.proven]
        self.not_proven += [f"{other.subject}: {line}" for line in other.not_proven]
        room = max(0, FINDINGS_MAX - len(self.violated))
        self.violated += [
            Finding(one.kind, f"{other.subject}, {one.where}", one.message) for one in other.violated[:room]
        ]
        self.violations += other.violations
        self.continued += other.continued
        self.unchecked = self.unchecked or (other.unchecked and f"{other.subject}: {other.unchecked}")


def quoted(value: object) -> str:
    """Return a value from the subject for a sentence: at most 200 characters, nothing a terminal would obey."""
    text = ascii(value)
    return text if len(text) <= QUOTED_MAX else text[:QUOTED_MAX] + "…"
