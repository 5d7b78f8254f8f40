"""`train: {kind: import}` in params.yaml: read, held against the other sections and the machine, and told to people."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from relex.core.errors import InputErrors
from relex.core.topology import Topology
from relex.params import doctor, memory, night_cost, preflight
from relex.params.disk import disk_need, night_bytes
from relex.params.ledger import Machine, ledger
from relex.params.load import Params, load
from relex.params.partial import allowed_keys
from relex.params.shapes import shape_of
from relex.stages.base.size import base_size
from relex.stages.train.params import Imported, Train
from tests.builders.contests import write_params

SECTION = {
    "kind": "import",
    "run": "run",
    "seed": 0,
    "temperature": 1.0,
    "max_completion_length": 12,
    "completions": {"prompts": 200, "samples": 4},
}


def write(folder: Path, **changes: Any) -> Params:
    """The committed parameters with an imported run; changes: dotted keys, `__` for the dot."""
    return write_params(
        folder, {"train": deepcopy(SECTION)} | {key.replace("__", "."): value for key, value in changes.items()}
    )


def test_the_section_is_told_by_its_kind_which_may_be_left_out_or_said(tmp_path: Path) -> None:
    assert isinstance(write(tmp_path).train, Imported)
    own = write_params(tmp_path, {})
    assert isinstance(own.train, Train)
    assert write_params(tmp_path, {"train.kind": "grpo"}) == own


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train__kind": "verl"}, r"train: kind must be grpo \(or left out\) or import"),
        ({"train__rnu": "x"}, "train.rnu: unknown key; expected one of seed, temperature, .*; did you mean run?"),
        ({"train__run": ""}, "train.run: String should have at least 1 character"),
        ({"train__window": 1}, "train.window: Input should be greater than or equal to 2"),
        ({"train__learning_rate": 1e-6}, "train.learning_rate: unknown key"),
        ({"nights__mode": "reground"}, "nights.mode: reground is not possible with train.kind import"),
        ({"evaluate__budget__share": 2.0}, "evaluate.budget.share: an imported run does not say how many rollouts"),
        ({"train__window": 2, "extrapolate__rank": 3}, r"extrapolate.rank: 3 is above train.window \(2\)"),
        ({"train__max_completion_length": 10**4}, "shorter than train.max_completion_length"),
    ],
)
def test_faults_are_named_where_they_stand(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputErrors, match=said):
        write(tmp_path, **changes)


def test_rules_of_a_training_of_our_own_are_not_asked(tmp_path: Path) -> None:
    write(tmp_path, extrapolate__targets=[3], problems__sizes__train=210)  # no window, and no batch, to hold them to


def test_the_keys_of_a_faulty_section_are_those_of_its_kind() -> None:
    annotation = Params.model_fields["train"].annotation
    assert "learning_rate" in allowed_keys(annotation, {}, [])
    assert "run" in allowed_keys(annotation, {"kind": "import"}, [])
    assert allowed_keys(annotation, {"kind": "verl"}, []) == []


def test_a_run_that_is_not_there_is_found_before_the_night(tmp_path: Path) -> None:
    write(tmp_path)
    (error,) = preflight.faults(tmp_path / "params.yaml")[1]
    assert "train.run" in str(error)
    assert "no such folder" in str(error)
    (tmp_path / "run").mkdir()
    assert preflight.faults(tmp_path / "params.yaml")[1] == []


def test_a_night_takes_no_disk_for_another_trainers_checkpoints_and_no_memory_for_its_training(tmp_path: Path) -> None:
    params, own = write(tmp_path), load(Path(__file__).parents[2] / "params.yaml")
    found = base_size(params.base, tmp_path)
    assert found is not None
    need = disk_need(params.base, params.train, params.extrapolate, tmp_path)
    assert need is not None
    assert (need.trajectory, need.training_state) == (0, 0)
    assert need.total < night_bytes(found, own.train, own.extrapolate).total
    assert night_cost.memory(params, found) <= night_cost.memory(own, found)
    sizes = night_cost.sizes_of(params.base, found)
    assert sizes is not None
    assert night_cost.shape(params, sizes).rows == 128
    shape = shape_of(params.base, tmp_path)
    assert shape is not None
    phases = {line.phase for line in ledger(params, shape, Machine(1, 80 << 30), processes=1, sharded=False, prompt=64)}
    assert {"completions", "scan and backtest"} <= phases
    assert not {"rollout", "update"} & phases
    assert memory.faults_here(params, tmp_path, Topology(gpus=()), 1 << 36) == []


def test_the_doctor_says_that_nothing_is_copied(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "run").mkdir()
    page, errors = doctor.examine(tmp_path / "params.yaml", timed=False)
    assert errors == []
    assert "trajectory by reference: the checkpoints in run are not copied" in page
