"""dvc.yaml against the code: stale code must never pass as up to date, and no stage runs again without a reason."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
from ruamel.yaml import YAML

from flows.stages import STAGES
from relex.core.hop import Hop
from relex.params.load import Params
from relex.stages.evaluate.engine.settings import _MAKERS
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.train.state import _CODE
from tests.builders import ROOT
from tests.graph import GRAPH, reached, rooms


def test_the_flow_runs_the_stages_of_the_graph_in_its_order():
    assert tuple(GRAPH) == STAGES


@pytest.mark.parametrize("stage", GRAPH)
def test_a_stage_depends_on_the_rooms_that_its_code_reaches_and_on_no_other(stage):
    listed = [dep for dep in GRAPH[stage]["deps"] if dep.startswith("relex/")]
    assert sorted(listed) == sorted(rooms(stage))


def test_the_graph_lists_folders_and_few_of_them():
    listed = [dep for stage in GRAPH.values() for dep in stage["deps"] if dep.startswith("relex/")]
    assert all((ROOT / dep / "__init__.py").is_file() for dep in listed)
    assert len(listed) <= 41


@pytest.mark.parametrize("room", ["registry", "cli", "params", "proving"])
def test_no_stage_depends_on_registry_command_line_or_the_whole_of_params(room):
    assert not [stage for stage in GRAPH if f"relex/{room}" in GRAPH[stage]["deps"]]


def test_what_a_change_runs_again():
    """The table of the layout: a kernel or an importer never retrains."""
    stages_of = {room: {stage for stage in GRAPH if f"relex/{room}" in GRAPH[stage]["deps"]} for room in ROOMS}
    assert stages_of == ROOMS


ROOMS = {
    "core": set(GRAPH),
    "rewards": {"problems", "train", "diagnose", "evaluate"},
    "policy": {"train", "diagnose", "evaluate"},
    "checkpoints": {"base", "train", "diagnose", "extrapolate", "evaluate"},
    "trajectory": {"train", "diagnose", "extrapolate"},
    "forecast": {"train", "diagnose", "extrapolate"},
    "window": {"diagnose", "extrapolate"},
    "ledger": {"report"},
    "stages/problems": {"problems", "evaluate"},
    "stages/base": {"base"},
    "stages/train": {"train"},
    "stages/diagnose": {"diagnose"},
    "stages/extrapolate": {"extrapolate"},
    "stages/evaluate": {"evaluate", "decide"},
    "stages/decide": {"decide"},
    "stages/report": {"report"},
}


def test_byte_code_is_no_dependency():
    """Numba's cache and the interpreter's lie in the folders that stages depend on."""
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text().splitlines()


@pytest.mark.parametrize("stage", GRAPH)
def test_a_stage_is_its_command(stage):
    assert GRAPH[stage]["cmd"] == f"relex {stage}"


# Where a stage is handed less than a section, or a part of another one.
_PARTS = {
    "seed": {"evaluate.seed"},
    "model": {"registry.model"},
    "slice_number": {"hop.json: slice"},
    **{key: {f"hop.json: {key}"} for key in ("start", "training", "champion")},
}
_OPTIONS = {
    f"extrapolate.{key}"
    for key in Extrapolate.model_fields
    if key not in ("targets", "controls", "write", "soup", "device", "memory")
}


def parameters(stage: str) -> list[str]:
    """Sections of params.yaml and keys of them, and `hop.json: KEY`."""
    found = []
    for one in GRAPH[stage].get("params", []):
        found += [one] if isinstance(one, str) else [f"{file}: {key}" for file, keys in one.items() for key in keys]
    return found


@pytest.mark.parametrize("stage", GRAPH)
def test_a_stage_takes_the_sections_that_its_parameters_name(stage):
    taken = inspect.signature(import_module(f"relex.stages.{stage}.stage").run).parameters
    wanted = set().union(*(_PARTS.get(name, {name}) for name in taken))
    if stage == "diagnose":  # the forecast that it scans, but not its targets: others run again from extrapolate on
        wanted = {"diagnose"} | _OPTIONS
    assert set(parameters(stage)) == wanted
    assert {name.split(".")[0] for name in wanted} <= {*Params.model_fields, "hop"}


def test_every_key_that_the_graph_names_is_written_out():
    """DVC only sees keys that are."""
    written = YAML(typ="safe").load(ROOT / "params.yaml")
    assert set(written["extrapolate"]) == set(Extrapolate.model_fields)
    named = [key.split(".") for stage in GRAPH for key in parameters(stage) if "." in key]
    assert all(key in written[section] for section, key in named if section != "hop")
    assert {key.removeprefix("json: ") for section, key in named if section == "hop"} <= set(Hop.model_fields)


def test_the_state_of_a_training_belongs_to_all_code_of_its_stage():
    assert sorted(_CODE) == sorted(room.removeprefix("relex/") for room in rooms("train"))


def test_rows_are_keyed_by_the_code_that_makes_them():
    made = reached("relex.stages.evaluate.generation")
    rooms_of_makers = ("relex.rewards.", "relex.policy.prompts", "relex.stages.evaluate.engine.")
    makers = {name for name in made if name.startswith(rooms_of_makers)}
    makers |= {f"relex.stages.evaluate.{name}" for name in ("answering", "scoring", "suites.sampling")}
    assert makers <= made
    for name in makers:
        path = name.removeprefix("relex.").replace(".", "/")
        assert any(path == place.removesuffix(".py") or path.startswith(place + "/") for place in _MAKERS), name
