"""Writes a report as one HTML file: no script, no address of anybody else's, and a style for paper."""

from __future__ import annotations

from html import escape
from typing import Final, assert_never

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

_MARKS: Final[dict[Tone, str]] = {"good": "✓", "warn": "!", "bad": "✕", "soft": "·", "": "•"}
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6472; --line: #d7dce3; --paper: #fff; --tint: #f4f6f9;
  --good: #17663a; --warn: #855200; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3acba; --line: #3a4250; --paper: #14181f;
  --tint: #1d232d; --good: #6fd39a; --warn: #f0b860; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans",
  sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
.subtitle, .soft { color: var(--soft); }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; max-width: 48rem; overflow-wrap: anywhere; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.verdict { background: var(--tint); border-left: .3rem solid currentColor; padding: .75rem 1rem; margin: 1rem 0; }
.verdict b { display: block; font-size: 1.1rem; } .verdict span { color: var(--ink); }
ul { list-style: none; margin: .5rem 0; padding: 0; max-width: 48rem; }
li { padding-left: 1.5rem; position: relative; margin: .3rem 0; overflow-wrap: anywhere; }
li i { position: absolute; left: 0; font-style: normal; font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: .75rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .85em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: var(--tint); padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .75rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; min-width: 4rem; }
th { color: var(--soft); font-weight: 600; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .5rem; } }
@page { size: A4; margin: 18mm 16mm; }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #f2f2f2;
  --good: #17663a; --warn: #6b4300; --bad: #9c1c15; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } h2, h3 { break-after: avoid; } tr, li, dd { break-inside: avoid; }
  thead { display: table-header-group; } pre { border: 1px solid var(--line); } }
"""


def write_html(document: Document) -> bytes:
    """Return the report as UTF-8; equal documents give equal bytes."""
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(document.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f'<h1>{escape(document.title)}</h1>\n<p class="subtitle">{escape(document.subtitle)}</p>',
        *map(_block, document.blocks),
        f"<footer>{escape(document.foot)}</footer>\n</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts).encode()


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text, tone):
            return f"<p{_class(tone)}>{_text(text)}</p>"
        case Verdict(words, sentence, tone):
            return f'<p class="verdict {tone}"><b>{_MARKS[tone]} {escape(words)}</b><span>{_text(sentence)}</span></p>'
        case Bullets(items, tone):
            mark = f'<i aria-hidden="true"{_class(tone)}>{_MARKS[tone]}</i>'
            return "<ul>\n" + "\n".join(f"<li>{mark}{_text(one)}</li>" for one in items) + "\n</ul>"
        case Facts(pairs, code):
            return "<dl>\n" + "\n".join(_fact(name, value, name in code) for name, value in pairs) + "\n</dl>"
        case Table():
            return _table(block)
        case Code(text):
            return f"<pre>{escape(text)}</pre>"
        case _:
            assert_never(block)


def _table(table: Table) -> str:
    columns = "".join(f'<col style="width:{share}%">' for share in table.shares)
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in table.head)
    lines = [
        f'<div class="scroll">\n<table>\n<colgroup>{columns}</colgroup>\n<thead><tr>{head}</tr></thead>\n<tbody>'
    ]
    for at, row in enumerate(table.rows):
        tone: Tone = table.tones[at] if table.tones else ""
        cells = "".join(
            f"<td{_class(tone) if not column else ''}>{_text(cell)}</td>" for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody>\n</table>\n</div>"])


def _fact(name: str, value: str, code: bool) -> str:
    shown = f"<code>{escape(value)}</code>" if code else _text(value)
    return f"<dt>{escape(name)}</dt><dd>{shown}</dd>"


def _text(text: str) -> str:
    """Escape a text; isolated, so that letters written from right to left do not turn round what follows."""
    return f"<bdi>{escape(text)}</bdi>".replace("\n", "<br>")


def _class(tone: Tone) -> str:
    return f' class="{tone}"' if tone else ""
