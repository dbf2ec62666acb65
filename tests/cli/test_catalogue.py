"""`catalogue`: show, lint and coverage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tallystick.catalogue.lint import Finding
from tallystick.cli import catalogue as command
from tallystick.cli.catalogue import CATALOGUE
from tallystick.errors import Refused


def test_show_any_name() -> None:
    """A name no product publishes is read by its words instead of being an error."""
    runner = CliRunner()
    known = json.loads(runner.invoke(CATALOGUE, ["show", "create_api_key", "--json"]).stdout)
    assert (known["title"], known["products"]) == ("API key created", ["langsmith"])
    foreign = json.loads(runner.invoke(CATALOGUE, ["show", "widget.deleted", "--json"]).stdout)
    assert (foreign["verb"], foreign["products"]) == ("delete", [])


def test_show_a_product() -> None:
    """All names of a product, one line each."""
    lines = CliRunner().invoke(CATALOGUE, ["show", "--product", "mistral", "--json"]).stdout.splitlines()
    assert len(lines) == 211
    assert isinstance(CliRunner().invoke(CATALOGUE, ["show"]).exception, Refused)


def test_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lint passes on what we ship, and fails as soon as there is something to mend."""
    runner = CliRunner()
    assert runner.invoke(CATALOGUE, ["lint"]).exit_code == 0
    monkeypatch.setattr(command, "lint", lambda: [Finding("openai: x.y", "write a title")])
    assert runner.invoke(CATALOGUE, ["lint"]).exit_code == 1


def test_coverage(tmp_path: Path, shared: Path) -> None:
    """All six products are complete; with a published name we lack the command fails and names it."""
    runner = CliRunner()
    assert runner.invoke(CATALOGUE, ["coverage"]).stdout.count("complete") == 6
    lists = ["coverage", "--lists", str(shared / "catalogue")]
    assert runner.invoke(CATALOGUE, lists).exit_code == 0
    names = (shared / "catalogue/catalogue-openai.txt").read_text()
    (tmp_path / "catalogue-openai.txt").write_text(names + "\nbrand.new\n")
    found = runner.invoke(CATALOGUE, ["coverage", "--lists", str(tmp_path)], env={"COLUMNS": "200"})
    assert found.exit_code == 1
