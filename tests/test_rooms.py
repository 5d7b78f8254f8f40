"""The house itself: few rooms, each of which says what it is for. Who may import what: make lint."""

from __future__ import annotations

import ast
import tomllib

import pytest

from relex.cli import stages as commands
from relex.params.load import Params
from tests.builders import ROOT
from tests.graph import GRAPH

ROOMS = sorted(path.parent for path in (ROOT / "relex").rglob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(ROOT).as_posix())
def test_a_room_says_what_it_is_for_and_imports_nothing_by_itself(room):
    body = ast.parse((room / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
    assert len(ast.literal_eval(body[0].value)) > 40


def test_a_dozen_entries_at_the_top_at_most():
    entries = {path.name for path in (ROOT / "relex").iterdir()} - {"__init__.py", "__pycache__"}
    assert all((ROOT / "relex" / entry).is_dir() for entry in entries)
    assert len(entries) <= 16  # eleven rooms; nights, ledger, retention, proof; a proof without a night


def test_a_stage_has_one_name_everywhere():
    folders = {path.parent.name for path in (ROOT / "relex/stages").glob("*/stage.py")}
    sections = set(Params.model_fields) - {"nights", "registry", "retention"}
    commanded = {command.callback.__name__ for command in commands.commands.registered_commands}
    tested = {path.name for path in (ROOT / "tests/stages").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(GRAPH) == commanded == tested
    assert sections == folders - {"report"}  # it takes no parameters
    # The section of the decision is the rules of the proof, which the evaluation keeps too.
    assert all((ROOT / "relex/stages" / name / "params.py").is_file() for name in sections - {"decide"})


def test_every_action_of_the_registry_is_one_that_its_store_must_not_know():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (store,) = [one for one in contracts if one.get("source_modules") == ["relex.registry.store"]]
    actions = {path.stem for path in (ROOT / "relex/registry").glob("*.py")} - {"__init__"}
    assert set(store["forbidden_modules"]) == {f"relex.registry.{action}" for action in actions}
