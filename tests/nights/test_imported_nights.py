"""Nights on a run in verl's layout, into which a trainer writes between them: real stages, a real registry.

The run is a line from an untrained sorter to a good one, so what lies ahead of its checkpoints is known.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from relex.core import hop as hops
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import CorruptArtifact, InputError
from relex.ledger import lines as ledger
from relex.nights import turn
from relex.nights.present import unfinished
from relex.params.load import Params
from relex.params.preflight import faults
from relex.registry.promotion import promote
from relex.registry.register import register
from relex.stages.base import stage as base
from relex.stages.decide import stage as decide
from relex.stages.diagnose import stage as diagnose
from relex.stages.evaluate import stage as evaluate
from relex.stages.extrapolate import stage as extrapolate
from relex.stages.problems import stage as problems
from relex.stages.report import stage as report
from relex.stages.train import stage as train
from tests.builders.contests import SMALL, pretrained, write_params
from tests.builders.nights import record

pytestmark = [pytest.mark.real, pytest.mark.slow]

RUN, THETA, GOOD = Path("run"), Path("given"), Path("good")
END = 100  # the step at which the run would be the good model
SETTINGS = {
    "problems.sizes": {"train": 20, "validation": 120, "test": 20, "ood": 40},
    "base.source": {"kind": "folder", "path": str(THETA)},
    "train": {
        "kind": "import",
        "run": str(RUN),
        "seed": 0,
        "temperature": 1.0,
        "max_completion_length": 12,
        "completions": {"prompts": 10, "samples": 2},
    },
    "extrapolate.targets": [60, END],
    "extrapolate.rays": "named",
    "extrapolate.variants": [],
    "evaluate.backend": "transformers",
    "evaluate.engines": 1,
    "evaluate.samples": 1,
    "evaluate.pass_k": [1],
    "evaluate.proof": {"first": 20, "race_samples": 2, "samples": 4},
    "decide.max_ood_loss": 0.2,
    "registry.tracking_uri": "sqlite:///mlflow.db",
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two ends of the run."""
    folder = tmp_path_factory.mktemp("ends")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        own = write_params(Path(), {**SMALL, "problems.sizes": SETTINGS["problems.sizes"]})
        problems.run(own.problems)
        pretrained(own, 120, (0.3, 0.85), THETA)
        pretrained(own, 120, (0.0, 0.2), GOOD)
    return folder


@pytest.fixture
def params(ends: Path, project: Path) -> Params:
    """A project with the ends of the run, and no checkpoint of it yet."""
    shutil.rmtree("base")
    for name in (THETA, GOOD):
        shutil.copytree(ends / name, name)
    shutil.copytree(ends / workspace.PROBLEMS, workspace.PROBLEMS, dirs_exist_ok=True)
    RUN.mkdir()
    return write_params(Path(), SETTINGS)


def writes(step: int, *, done: bool = True) -> Path:
    """As verl does: shards of its own, the copy in safetensors, and its word once all is there."""
    actor = RUN / f"global_step_{step}" / "actor"
    shutil.copytree(THETA, actor / "huggingface", dirs_exist_ok=True)
    (actor / "model_world_size_1_rank_0.pt").write_bytes(b"pickled")
    start, end = (load_file(folder / "model.safetensors") for folder in (THETA, GOOD))
    moved = {name: start[name] + (end[name] - start[name]) * (step / END) for name in start}
    weights = actor / "huggingface" / "model.safetensors"
    save_file(moved, weights, metadata={"format": "pt"})
    if done:
        says(step)
    else:
        weights.write_bytes(weights.read_bytes()[:-1000])
    return weights


def says(step: int) -> None:
    """verl's word on what is complete."""
    (RUN / "latest_checkpointed_iteration.txt").write_text(str(step))


def stages(params: Params) -> None:
    """The graph once, as `dvc repro` has it, and what is recorded of it."""
    hop = hops.read()
    problems.run(params.problems, hop.slice)
    base.run(params.base, hop.start)
    train.run(params.train, params.problems, hop.training)
    diagnose.run(params.diagnose, params.extrapolate)
    extrapolate.run(params.extrapolate)
    evaluate.run(params.evaluate, params.problems, params.decide, hop.champion)
    decide.run(params.decide)
    report.run(params.problems, params.base, params.train, params.evaluate, params.registry.model)
    record(Path())
    register(params)
    promote(params)


def test_nights_take_what_the_trainer_has_written_and_offer_it_what_was_promoted(params: Params) -> None:
    assert faults(workspace.PARAMS)[1] == []
    assert "holds 0 complete checkpoints" in turn.begin(params)
    assert not unfinished(params)
    writes(10)
    writes(20)
    writes(30, done=False)
    said = turn.begin(params)
    assert "2 checkpoints of another trainer (10..20), from base.source" in said
    assert "step 30 is left alone" in said
    assert unfinished(params)
    stages(params)
    decision = read_json(workspace.DECISION)
    assert decision["outcome"] == "promote-candidate"
    said = turn.end(params)
    assert "tomorrow's are the next" in said
    folder = f"candidates/{decision['winner']}"
    assert f"offered to the trainer: {folder} here, and anywhere: relex fetch models:/sort-digits/1 --out" in said
    first = ledger.read().hops[0]
    assert (first.accepted, first.spent.steps, first.spent.rollouts) == (True, 20, 0)
    assert "Another trainer trained" in workspace.REPORT.read_text()
    # Nothing new: the half-written one is still that.
    said = turn.begin(params)
    assert "nothing new in run since step 20; step 30 is left alone" in said
    assert not unfinished(params)
    writes(30)
    writes(40)
    assert "4 checkpoints of another trainer (10..40)" in turn.begin(params)
    hop = hops.read()
    # Their weights are the trainer's own: theta_0 stays, and the champion is whom they meet.
    assert (hop.place, hop.mode, hop.start) == ((1, 2, 1), "continue", None)
    assert hop.champion is not None
    stages(params)
    turn.end(params)
    second = ledger.read().hops[1]
    assert (second.spent.steps, second.total.steps) == (20, 40)
    assert read_json(workspace.DIAGNOSIS)["trajectory"]["steps"] == [10, 20, 30, 40]


def test_a_checkpoint_that_changed_since_the_hop_began_is_refused_and_one_that_is_gone_is_done_without(
    params: Params,
) -> None:
    for step in (10, 20, 30):
        weights = writes(step)
    turn.begin(params)
    base.run(params.base, None)
    whole = weights.read_bytes()
    tensors = load_file(weights)
    tensors["model.norm.weight"] += torch.ones(())
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(CorruptArtifact, match=r"global_step_30.*changed since this hop began.*train.run"):
        train.run(params.train, params.problems, hops.read().training)
    assert not workspace.TRAJECTORY.exists()
    weights.write_bytes(whole)
    says(30)
    shutil.rmtree(RUN / "global_step_10")
    with pytest.raises(InputError, match=r"global_step_10.*is gone"):
        train.run(params.train, params.problems, hops.read().training)
    assert "steps [10] were removed" in turn.begin(params)
    train.run(params.train, params.problems, hops.read().training)
    assert read_json(workspace.TRAIN_METRICS) == {
        "steps": 30,
        "completions": 0,
        "tokens": 0,
        "observed_last": 30,
        "imported": 2,
    }


def test_another_run_begins_another_campaign(params: Params) -> None:
    writes(10)
    writes(20)
    turn.begin(params)
    shutil.copytree(RUN, "again")
    other = params.model_copy(update={"train": params.train.model_copy(update={"run": "again"})})
    assert not unfinished(other)
    assert "a new campaign" in turn.begin(other)
