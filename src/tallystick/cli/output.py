"""Events on a terminal: tables without surprises, whatever an attacker wrote into a name."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# In a pipe there is no edge to fold at; cutting values there would hide them from whoever reads the pipe.
_PIPE_COLUMNS = 10_000
_IS_TERMINAL = sys.stdout.isatty()
out = Console(highlight=False, width=None if _IS_TERMINAL else _PIPE_COLUMNS)
err = Console(stderr=True, highlight=False, soft_wrap=True)
OUTCOME_STYLES = {"failure": "bold red", "denied": "bold red", "unknown": "yellow"}


def safe(text: object) -> Text:
    """Return text that cannot move the cursor, recolour the screen or reverse its order: such characters show as ⟨U+…⟩."""
    shown = Text()
    for character in str(text):
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
            shown.append(f"⟨U+{ord(character):04X}⟩", style="reverse")
        else:
            shown.append(character)
    return shown


def event_table(events: list[dict[str, Any]]) -> Table:
    """Return a table of events: position, time, who, what, to what, outcome."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right")
    table.add_column("time", no_wrap=True)
    table.add_column("actor", overflow="fold")
    table.add_column("action", overflow="fold", style="cyan")
    table.add_column("target", overflow="fold")
    table.add_column("outcome", overflow="fold")
    for event in events:
        table.add_row(*_cells(event))
    return table


def _cells(event: dict[str, Any]) -> list[Text]:
    actor, target = event["actor"], (event.get("targets") or [{}])[0]
    outcome = Text(event["outcome"], style=OUTCOME_STYLES.get(event["outcome"], ""))
    who = actor.get("name") or actor.get("email") or actor.get("id") or actor["type"]
    what = f"{target['type']} {target.get('name') or target['id']}" if target else "—"
    when = event["occurred_at"][:19].replace("T", " ")
    return [safe(event["position"]), safe(when), safe(who), safe(event["action"]), safe(what), outcome]


def event_line(event: dict[str, Any]) -> Text:
    """Return one event as one line, for a live tail."""
    return Text("  ").join(_cells(event))
