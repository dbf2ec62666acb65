"""Draws tour.svg from what the commands of the tour really print: python docs/images/tour.py, beside a running server."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 132
COMMANDS = (
    "tallystick record api_key.create --actor user:usr_1 --actor-name Ada --target api_key:key_9 --receipt receipt.txt",
    "tallystick search --ip 203.0.113.77 --order oldest --limit 27 --outcome success",
    "tallystick export -o log.jsonl",
    "tallystick verify log.jsonl --receipt receipt.txt",
    "sed -i 's/exp_9/exp_8/' log.jsonl",
    "tallystick verify log.jsonl",
)


def main() -> None:
    """Run the commands and draw what they print."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    data = str(Path("data").absolute())
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TALLYSTICK_DATA": data}
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            console.print(Text("$ ", style="bold green") + Text(command, style="bold"), soft_wrap=True)
            done = subprocess.run(
                shlex.split(command),
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for line in done.stdout.rstrip().splitlines():
                console.print(Text.from_ansi(line), soft_wrap=True)
            console.print()
    drawing = console.export_svg(title="tallystick")
    # The drawing must not fetch a font from anywhere.
    drawing = re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL)
    drawing = re.sub(
        r"font-family: [^;]*;", "font-family: ui-monospace, Menlo, Consolas, monospace;", drawing
    )
    Path(__file__).with_name("tour.svg").write_text(drawing)


if __name__ == "__main__":
    main()
