"""Every profile is a complete, sound params.yaml, and choosing one loses nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from relex.core.errors import InputError
from relex.params import profiles
from relex.params.load import Params, check, load
from relex.params.revisions import moving
from relex.stages.evaluate.suites.params import ReadyMadeSource
from relex.stages.evaluate.suites.ready_made import READY_MADE, STEP_BY_STEP
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.problems.sources import deal
from tests.builders.project import ROOT

FOLDER = ROOT / "infra/profiles"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
MATH = [name for name in NAMES if name.startswith("qwen")]
WINDOWS = {"qwen2.5-math-1.5b": 75, "qwen3-4b-base": 75, "qwen3-8b-base": 100}  # arXiv 2605.21468


def params(name: str) -> Params:
    return load(FOLDER / f"{name}.yaml")


def test_the_profiles_that_the_readme_promises_are_there() -> None:
    assert [*sorted(WINDOWS), "smollm2-135m"] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_sound_and_writes_out_what_dvc_must_see(name: str) -> None:
    _, errors = check(FOLDER / f"{name}.yaml")
    assert [str(error) for error in errors] == []
    written = YAML(typ="safe").load(FOLDER / f"{name}.yaml")
    default = YAML(typ="safe").load(ROOT / "params.yaml")
    assert set(written["extrapolate"]) == set(Extrapolate.model_fields)
    for section in set(default) - {"problems", "base"}:
        assert set(default[section]) <= set(written[section]), section


@pytest.mark.parametrize("name", MATH)
def test_a_math_profile_has_the_papers_window_and_asks_training_and_suites_alike(name: str) -> None:
    found = params(name)
    assert (found.train.window.last, found.train.learning_rate) == (WINDOWS[name], 1e-6)
    assert (found.train.prompts_per_step, found.train.num_generations, found.train.epsilon) == (32, 8, 0.2)
    assert found.train.max_completion_length == 3072
    assert 500 in found.extrapolate.targets
    assert found.problems.source.template == STEP_BY_STEP
    sets = {s.source.set: s.role for s in found.evaluate.suites if isinstance(s.source, ReadyMadeSource)}
    assert sets == {made: "test" if made == "math" else "ood" for made in READY_MADE}


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_names_commits_on_the_hub_and_a_branch_is_told(name: str) -> None:
    found = params(name)
    assert moving(found) == []
    suites = [suite for suite in found.evaluate.suites if getattr(suite.source, "revision", None)]
    for suite in suites:
        branch = suite.model_copy(update={"source": suite.source.model_copy(update={"revision": "main"})})
        evaluate = found.evaluate.model_copy(update={"suites": (branch,)})
        (said,) = moving(found.model_copy(update={"evaluate": evaluate}))
        assert said.startswith(f"evaluate.suites ({suite.name}): main is no commit")


@pytest.mark.parametrize("name", MATH)
def test_a_math_profile_divides_among_its_processes(name: str) -> None:
    train = params(name).train
    processes = 1 if train.accelerate is None else YAML(typ="safe").load(ROOT / train.accelerate)["num_processes"]
    assert train.prompts_per_step * train.num_generations % (train.per_device_train_batch_size * processes) == 0


def test_the_small_profile_deals_every_sum_of_its_domain() -> None:
    found = params("smollm2-135m")
    splits = deal(found.problems).splits
    assert {split: len(problems) for split, problems in splits.items()} == {
        "train": 100,
        "validation": 200,
        "test": 100,
        "ood": 120,
    }
    assert splits["test"][0].prompt.startswith("Compute ")
    assert splits["test"][0].prompt.endswith(". Reply with the number only.")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two profiles and a committed params.yaml."""
    (tmp_path / "infra/profiles").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / f"infra/profiles/{name}.yaml").write_text(f"# The profile {name}.\na: {name}\n")
    (tmp_path / "params.yaml").write_text("committed: 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_profile_replaces_what_git_or_a_profile_holds(project: Path) -> None:
    for name in ("one", "two", "one"):
        assert f"{name}.yaml" in profiles.install(name, project)
        assert (project / "params.yaml").read_text() == f"# The profile {name}.\na: {name}\n"


def test_a_changed_params_yaml_is_only_replaced_by_force(project: Path) -> None:
    (project / "params.yaml").write_text("mine: 1\n")
    with pytest.raises(InputError, match=r"changes that would be lost.*--force"):
        profiles.install("one", project)
    assert (project / "params.yaml").read_text() == "mine: 1\n"
    profiles.install("one", project, force=True)
    assert "profile one" in (project / "params.yaml").read_text()


def test_without_git_a_params_yaml_of_ones_own_is_not_replaced(project: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], cwd=project, check=True)
    with pytest.raises(InputError, match="would be lost"):
        profiles.install("one", project)
    (project / "params.yaml").unlink()
    profiles.install("one", project)


def test_profiles_are_listed_with_their_first_line_and_an_unknown_one_is_refused(project: Path) -> None:
    assert profiles.listing(project) == "one  The profile one.\ntwo  The profile two."
    with pytest.raises(InputError, match=r"unknown profile; expected one, two; found three"):
        profiles.install("three", project)
    with pytest.raises(InputError, match="no profiles here"):
        profiles.listing(project / "infra")
