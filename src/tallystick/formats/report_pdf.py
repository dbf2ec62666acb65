"""Writes a report as PDF (reportlab, the extra `reports`); loaded only where it is asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from typing import Any, Final, assert_never

from tallystick.formats.report import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Heading,
    Paragraph,
    Table,
    Tone,
    Verdict,
)

_COLOURS: Final[dict[Tone, str]] = {
    "good": "#17663a", "warn": "#855200", "bad": "#b3261e", "soft": "#5b6472", "": "#1d2430",
}  # fmt: skip
_MARKS: Final[dict[Tone, str]] = {"good": "•", "warn": "!", "bad": "×", "soft": "·", "": "•"}
_ROOM: Final = 90.0  # points that must be left below a heading; otherwise it begins the next page
_MARGIN: Final = 48.0
_WIDTH: Final = 595.28 - 2 * _MARGIN  # of A4, in points
CELL_CHARACTERS_MAX: Final = 1_500  # a cell of a table must fit on one page


def can_write_pdf() -> bool:
    """Tell whether the extra `reports` is installed."""
    return find_spec("reportlab") is not None


def write_pdf(document: Document) -> bytes:
    """Return the report as PDF 1.4, A4; equal documents give equal bytes.

    Its font, Bitstream Vera, has the Latin letters; any other character stands as U+ and its number, and nothing is
    left out. Raises ImportError without the extra `reports`.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    kit = _Kit()
    out = io.BytesIO()
    made = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN, bottomMargin=_MARGIN + 12,
        title=document.title, author="Tallystick", invariant=1, pageCompression=1,
    )  # fmt: skip
    story = [kit.line(document.title, "title"), kit.line(document.subtitle, "soft")]
    for block in document.blocks:
        story += kit.block(block)
    foot = kit.foot(document.foot)
    made.build(story, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


class _Kit:
    """The fonts, the styles, and a way to set each kind of block."""

    def __init__(self) -> None:
        from reportlab.lib.colors import HexColor
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFont

        for name, file in (("Vera", "Vera.ttf"), ("VeraBold", "VeraBd.ttf")):
            if name not in pdfmetrics.getRegisteredFontNames():
                pdfmetrics.registerFont(TTFont(name, file))
        font: Any = pdfmetrics.getFont("Vera")
        self._letters: frozenset[int] = frozenset(font.face.charToGlyph)
        self._colour: Callable[[str], Any] = HexColor
        base = ParagraphStyle(
            "body", fontName="Vera", fontSize=9, leading=13, textColor=HexColor(_COLOURS[""]), spaceAfter=4,
            splitLongWords=1, wordWrap=None,
        )  # fmt: skip

        def style(name: str, **more: Any) -> Any:
            return ParagraphStyle(name, parent=base, **more)

        self._styles = {
            "body": base,
            "title": style("title", fontName="VeraBold", fontSize=17, leading=21, spaceAfter=3),
            "h2": style("h2", fontName="VeraBold", fontSize=12, leading=15, spaceBefore=14),
            "h3": style("h3", fontName="VeraBold", fontSize=9.5, leading=13, spaceBefore=7),
            "soft": style("soft", textColor=HexColor(_COLOURS["soft"])),
            "cell": style("cell", fontSize=7.5, leading=10, spaceAfter=0),
            "head": style("head", fontName="VeraBold", fontSize=7.5, leading=10, spaceAfter=0),
            **{
                f"item{tone}": style(
                    f"item{tone}",
                    leftIndent=14,
                    bulletIndent=3,
                    bulletFontName="VeraBold",
                    bulletColor=HexColor(colour),
                )
                for tone, colour in _COLOURS.items()
            },
            "code": style("code", fontSize=7.5, leading=11, spaceAfter=0),
        }

    def line(self, text: str, style: str, before: str = "", colour: str = "") -> Any:
        """Return a paragraph; `before` stands in bold in front of it, or makes it an item of a list."""
        from reportlab.platypus import Paragraph as Line

        shown = self._shown(text)
        if colour:
            shown = f'<font color="{colour}">{shown}</font>'
        if style.startswith("item"):
            return Line(shown, self._styles[style], bulletText=before)
        return Line(before + shown, self._styles[style])

    def block(self, block: Block) -> list[Any]:
        """Return what a block is set as."""
        from reportlab.platypus import CondPageBreak

        match block:
            case Heading(text, level):
                return [CondPageBreak(_ROOM), self.line(text, f"h{level}")]
            case Paragraph(text, tone):
                return [self.line(text, "body", colour=_COLOURS[tone])]
            case Verdict(words, sentence, tone):
                bold = f'<font name="VeraBold" color="{_COLOURS[tone]}">{self._shown(words)}</font><br/>'
                return [self._framed(self.line(sentence, "body", before=bold), _COLOURS[tone])]
            case Bullets(items, tone):
                return [self.line(one, f"item{tone}", before=_MARKS[tone]) for one in items]
            case Facts(pairs, _):
                rows = [(self.line(name, "cell", colour=_COLOURS["soft"]), self.line(value, "cell")) for name, value in pairs]  # fmt: skip
                return [self._grid(rows, (22, 78), lines=False)]
            case Table():
                return [self._table(block)]
            case Code(text):
                lines = text.split("\n")
                return [self._framed([self.line(one or " ", "code") for one in lines], _COLOURS["soft"])]
            case _:
                assert_never(block)

    def foot(self, text: str) -> Any:
        """Return what writes the foot of each page."""

        def write(canvas: Any, made: Any) -> None:
            canvas.saveState()
            canvas.setFont("Vera", 6.5)
            canvas.setFillColor(self._colour(_COLOURS["soft"]))
            canvas.drawString(_MARGIN, 30, self._plain(text)[:140])
            canvas.drawRightString(_MARGIN + _WIDTH, 30, f"page {made.page}")
            canvas.restoreState()

        return write

    def _table(self, table: Table) -> Any:
        rows = [tuple(self.line(one, "head", colour=_COLOURS["soft"]) for one in table.head)]
        for at, row in enumerate(table.rows):
            tone: Tone = table.tones[at] if table.tones else ""
            rows.append(
                tuple(
                    self.line(cell, "cell", colour=_COLOURS[tone] if not column else "")
                    for column, cell in enumerate(row)
                )
            )
        return self._grid(rows, table.shares, lines=True)

    def _grid(self, rows: list[tuple[Any, ...]], shares: tuple[int, ...], *, lines: bool) -> Any:
        from reportlab.platypus import LongTable

        total = sum(shares)
        style: list[Any] = [
            ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 8), ("TOPPADDING", (0, 0), (-1, -1), 3),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ]  # fmt: skip
        if lines:
            style.append(("LINEBELOW", (0, 0), (-1, -1), 0.4, self._colour("#d7dce3")))
        return LongTable(
            rows, colWidths=[_WIDTH * share / total for share in shares], repeatRows=1 if lines else 0,
            style=style, spaceBefore=4, spaceAfter=6, hAlign="LEFT",
        )  # fmt: skip

    def _framed(self, inside: Any, colour: str) -> Any:
        from reportlab.platypus import Table as Frame

        rows = [[one] for one in inside] if isinstance(inside, list) else [[inside]]
        style = [
            ("BACKGROUND", (0, 0), (-1, -1), self._colour("#f4f6f9")),
            ("LINEBEFORE", (0, 0), (0, -1), 2.5, self._colour(colour)),
            ("LEFTPADDING", (0, 0), (-1, -1), 9), ("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ]  # fmt: skip
        return Frame(rows, colWidths=[_WIDTH], style=style, spaceBefore=5, spaceAfter=7)

    def _shown(self, text: str) -> str:
        return escape(self._plain(text)).replace("\n", "<br/>")

    def _plain(self, text: str) -> str:
        """Return `text` in the letters that the font has; others by their number, long ones cut with a word on it."""
        if len(text) > CELL_CHARACTERS_MAX:
            text = text[:CELL_CHARACTERS_MAX] + " … (whole in report.html)"
        return "".join(
            one if ord(one) in self._letters or one == "\n" else f"[U+{ord(one):04X}]" for one in text
        )
