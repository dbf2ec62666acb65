"""A printable report as what it says, before it is HTML or PDF: one declaration that both are made from."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Tone = Literal["", "good", "warn", "bad", "soft"]


class Heading(Struct, frozen=True):
    """A heading of a section, or of a part of one."""

    text: str
    level: Literal[2, 3] = 2


class Paragraph(Struct, frozen=True):
    """A paragraph; `tone` sets it apart."""

    text: str
    tone: Tone = ""


class Verdict(Struct, frozen=True):
    """A statement that is seen first: a few words, and a sentence below."""

    words: str
    sentence: str
    tone: Tone


class Bullets(Struct, frozen=True):
    """A list; `tone` chooses the mark before each item."""

    items: tuple[str, ...]
    tone: Tone = ""


class Facts(Struct, frozen=True):
    """Names and their values; values in a typewriter's letters where `code` names them."""

    pairs: tuple[tuple[str, str], ...]
    code: frozenset[str] = frozenset()


class Table(Struct, frozen=True):
    """A table; `shares` are the widths of its columns in hundredths, `tones` the tone of each row's first cell."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[int, ...]
    tones: tuple[Tone, ...] = ()


class Code(Struct, frozen=True):
    """Text to be copied as it stands."""

    text: str


Block = Heading | Paragraph | Verdict | Bullets | Facts | Table | Code


class Document(Struct, frozen=True, kw_only=True):
    """A report: its title, a line below it, its parts in order, and what stands at the foot of every page."""

    title: str
    subtitle: str
    foot: str
    blocks: tuple[Block, ...]
