"""The command line: flags in, one call down, text out."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a plain sentence and an exit code for every error, never a stack trace."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        sys.exit("The command line needs the server's parts: pip install 'tallystick[server]'")
    from tallystick.cli.app import run

    run()
