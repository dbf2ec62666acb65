"""Typed actions: from a file to Python and back, complete in an editor, and unknown ones found before they are recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tallystick.catalogue import PRODUCTS
from tallystick.catalogue.own import ACTIONS_MAX, own_actions, product_actions
from tallystick.catalogue.typed import typed_actions
from tallystick.catalogue.usage import used_actions
from tallystick.errors import Refused

TOML = """[actions]
"api_key.create" = "API key created"
"api_key.rotate" = 'API key "rotated" \\ renewed'
"budget" = "Budget touched"
"budget.limit.raise" = "Limit raised"
"admin/import/users" = "Users imported"
"2fa.enable" = "Second factor switched on"
"""


def leaves(kind: type) -> set[str]:
    """All actions below a generated class."""
    found: set[str] = set()
    for name, value in vars(kind).items():
        if isinstance(value, type):
            found |= leaves(value)
        elif not name.startswith("__"):
            found.add(value)
    return found


def loaded(text: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "generated"}
    exec(compile(text, "generated", "exec"), space)
    return space


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_name_comes_back(product: str) -> None:
    """A generated module must hold each name of each catalogue, and nothing else."""
    actions = product_actions(product)
    made = loaded(typed_actions(actions, product))
    assert leaves(made["Actions"]) == made["ACTIONS"] == set(actions)


def test_names_that_python_cannot_say() -> None:
    """Keywords, digits and names within names must have a place; two names in one place must be refused."""
    made = loaded(typed_actions(own_actions(TOML, "x.toml"), "x.toml"))["Actions"]
    assert made.api_key.create == "api_key.create"
    assert (made.budget.itself, made.budget.limit.raise_) == ("budget", "budget.limit.raise")
    assert made.admin.import_.users == "admin/import/users"
    assert made.n2fa.enable == "2fa.enable"
    with pytest.raises(Refused, match="would be one name"):
        typed_actions({"a.b-c": "x", "a.b_c": "y"}, "x.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[actions", "no TOML"), ("x = 1", "one table"), ("[actions]\n", "one table"), ("[actions]\n'a b' = 'x'", "no action's name"),
        ("[actions]\n'a.b' = ''", "needs a title"), ("[actions]\na.b = 'x'", "needs a title"),
        ("[actions]\n" + "\n".join(f"a{n} = 'x'" for n in range(ACTIONS_MAX + 1)), "is the most"),
    ],
)  # fmt: skip
def test_files_that_are_none(text: str, said: str) -> None:
    """A mistake in the file must be told with its place, not end in half a module."""
    with pytest.raises(Refused, match=said):
        own_actions(text, "x.toml")


PROGRAM = """
from typing import Literal, assert_type
from actions import ACTIONS, Action, Actions
import tallystick
audit = tallystick.Audit()
audit.record(Actions.api_key.create, actor=tallystick.User("u"))
assert_type(Actions.api_key.create, Literal["api_key.create"])
assert_type(Actions.budget.limit.raise_, Literal["budget.limit.raise"])
def recorded(action: Action) -> None: ...
recorded(Actions.budget.itself)
recorded("admin/import/users")
recorded("api_key.destroy")  # error
Actions.api_key.destroy  # error
Actions.api_key.create = "x"  # error
"""


def test_a_type_checker_knows_them(tmp_path: Path) -> None:
    """An editor must complete a known action and mark an unknown one."""
    (tmp_path / "actions.toml").write_text(TOML)
    program = [
        str(Path(sys.executable).with_name("tallystick")),
        "catalogue",
        "gen",
        "actions.toml",
        "-o",
        "actions.py",
    ]
    subprocess.run(program, cwd=tmp_path, check=True, timeout=60)
    subprocess.run([*program, "--check"], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard", "pythonVersion": "3.11"}')
    checker = Path(sys.executable).with_name("basedpyright")
    told = subprocess.run(
        [str(checker), "--level", "error", "--pythonpath", sys.executable, "-p", str(tmp_path)],
        capture_output=True, text=True, timeout=150, cwd=tmp_path,
    ).stdout  # fmt: skip
    wrong = {number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# error")}
    found = {
        int(line.split("program.py:")[1].split(":")[0]) for line in told.splitlines() if "program.py:" in line
    }
    assert found == wrong, told
    assert "actions.py:" not in told, told
    (tmp_path / "actions.toml").write_text(TOML + '"x.y" = "New"\n')
    stale = subprocess.run([*program, "--check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (stale.returncode, "without --check" in stale.stdout) == (1, True)


CODE = """
audit.record("api_key.create", actor=ada)
outbox.record(session, audit, "budget.limit.raise")
with audit.action("api_key.destroy") as event:
    event.action = "api_key.explode"
@audit.audited("budget")
def work(): log.record("some text"); meter.record(3)
audit.record(action="no.such")
audit.record(f"computed.{x}")
"""


def test_what_a_program_records(tmp_path: Path) -> None:
    """CI must fail for each unknown action, with its place, and for none that is known; tests' events count as well."""
    assert [one.action for one in used_actions(CODE, "x.py")] == [
        "api_key.create", "budget.limit.raise", "api_key.destroy", "api_key.explode", "no.such",
    ]  # fmt: skip
    with pytest.raises(Refused, match=r"x\.py is no Python"):
        used_actions("def", "x.py")
    (tmp_path / "actions.toml").write_text(TOML)
    (tmp_path / "app.py").write_text(CODE)
    (tmp_path / "seen.json").write_text(json.dumps({"actions": ["api_key.create", "computed.x"]}))
    program = [
        str(Path(sys.executable).with_name("tallystick")),
        "catalogue",
        "check-code",
        "actions.toml",
        ".",
    ]
    told = subprocess.run(
        [*program, "--seen", "seen.json"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 1
    assert [line.split(" is not in")[0] for line in told.stdout.splitlines()] == [
        "app.py:4: api_key.destroy", "app.py:5: api_key.explode", "app.py:8: no.such",
        "seen.json: recorded by a test: computed.x",
    ]  # fmt: skip
    (tmp_path / "app.py").write_text('audit.record("api_key.create")\n')
    told = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (0, "1 actions in use, all of them known.\n")
