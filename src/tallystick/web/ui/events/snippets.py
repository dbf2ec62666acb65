"""This search for other tools: curl, the command line and Python, quoted so that no value can break out."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote as shell
from urllib.parse import quote, urlencode

from tallystick.query.filters import BY_NAME

KEY = "TALLYSTICK_API_KEY"


def declared(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return filters under the names that the API declares."""
    return [(BY_NAME[key].name if key in BY_NAME else key, value) for key, value in pairs]


def curl(origin: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return a command that asks the API for the same events."""
    url = f"{origin}/v1/events"
    if pairs:
        url += "?" + urlencode(declared(pairs), quote_via=quote)
    return f'curl -sS -H "Authorization: Bearer ${KEY}" {shell(url)}'


def command_line(origin: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return the command of the `tallystick` program that finds the same events."""
    flags = [f"--{name.replace('_', '-')} {shell(value)}" for name, value in _plain(declared(pairs))]
    return " ".join(["tallystick search", *flags, f"--url {shell(origin)}"])


def python(origin: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return Python, of nothing but its standard library, that asks for the same events."""
    lines = [
        "import json, os, urllib.parse, urllib.request",
        "",
        f"filters = {declared(pairs)!a}",
        f'request = urllib.request.Request({origin!a} + "/v1/events?" + urllib.parse.urlencode(filters),',
        f'    headers={{"Authorization": "Bearer " + os.environ["{KEY}"]}})',
        'events = json.load(urllib.request.urlopen(request))["events"]',
    ]
    return "\n".join(lines)


def recording(origin: str, key: str) -> dict[str, str]:
    """Return three lines that record a first event, for each way there is, with `key` in them."""
    event = '{"action": "hello.create", "actor": {"type": "user", "id": "me"}}'
    return {
        "Python": "import tallystick\n"
        f"audit = tallystick.Audit(url={origin!a}, api_key={key!a})\n"
        'audit.record("hello.create", actor=tallystick.User("me"), wait=True)',
        "curl": f"curl -sS {shell(origin + '/v1/events')} \\\n  -H {shell('Authorization: Bearer ' + key)} \\\n"
        f"  -H 'Content-Type: application/json' -d {shell(event)}",
        "Command line": f"export TALLYSTICK_URL={shell(origin)}\nexport TALLYSTICK_API_KEY={shell(key)}\n"
        "tallystick record hello.create --actor user:me",
    }


def _plain(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in pairs if key in BY_NAME]
