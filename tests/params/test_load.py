"""params.yaml is checked once, at load, and every fault is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from relex.core.errors import InputErrors
from relex.core.sizes import parse_size
from relex.params.load import load
from tests.builders import ROOT

COMMITTED = ROOT / "params.yaml"


@pytest.fixture
def write(tmp_path):
    """Write the committed parameters with changes (dotted key -> value; None removes) and return the path."""

    def write(changes: dict[str, Any]) -> Path:
        yaml = YAML(typ="safe", pure=True)
        document = yaml.load(COMMITTED.read_text())
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = document
            for parent in parents:
                section = section[parent]
            if value is None:
                del section[last]
            else:
                section[last] = value
        path = tmp_path / "params.yaml"
        with open(path, "w") as handle:
            yaml.dump(document, handle)
        return path

    return write


def faults(path: Path) -> str:
    with pytest.raises(InputErrors) as caught:
        load(path)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_committed_parameters_are_sound():
    params = load(COMMITTED)
    assert params.train.window.steps == tuple(range(1, 13))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.lerning_rate": 1e-6}, "train.lerning_rate: unknown key"),
        ({"trian": {}}, "trian: unknown section"),
        ({"train.learning_rate": None}, "train.learning_rate: the key is missing"),
        ({"train.learning_rate": "fast"}, "train.learning_rate"),
        ({"train.budget.steps": 12.0}, "train.budget.steps"),
        ({"train.budget.steps": True}, "train.budget.steps"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate"),
        ({"train.window.last": 60}, "window.last (60) must not be beyond budget.steps (12)"),
        ({"train.window.every": 4, "train.window.last": 11}, "first + a multiple of every"),
        ({"train.window.first": 12}, "at least two steps"),
        ({"extrapolate.targets": [90, 10]}, "inside the window, which ends at step 12: [10]"),
        ({"extrapolate.targets": []}, "extrapolate.targets"),
        ({"extrapolate.targets": [90, 90]}, "distinct"),
        ({"extrapolate.rank": 13}, "13 is above the 12 observed steps"),
        (
            {"extrapolate.variants": [{"name": "late", "first": 12}]},
            "(late).first: the sub-window holds fewer",
        ),
        ({"extrapolate.memory": "lots"}, "not a size"),
        ({"nights.mode": "onwards"}, "nights.mode"),
        ({"nights.budget": {"hops": 0}}, "nights.budget.hops"),
        ({"train.epsilon_high": 0.1}, "epsilon_high (0.1) must not be below epsilon (0.2)"),
        ({"train.generation": {"backend": "vllm", "mode": "server"}}, "mode server needs server_url"),
        ({"train.lr_scheduler_type": "cosine", "train.warmup_steps": 12}, "warmup_steps (12) must be below"),
        ({"train.budget": {"steps": 12, "minutes": 0}}, "train.budget.minutes"),
        ({"train.stop_when": {"skill": 1.0, "steps": 3}}, "train.stop_when.skill"),
        ({"train.format": {"pattern": "(", "weight": 0.1}}, "not a regular expression"),
        ({"train.lora": {"r": 0, "alpha": 8}}, "train.lora.r"),
        ({"train.num_generations": 7}, "(256) must divide prompts_per_step * num_generations (224)"),
        ({"problems.source.ood_lengths": [6]}, "above every length in lengths"),
        ({"problems.source.kind": "crosswords"}, "problems.source"),
        ({"base": None}, "base: the section is missing"),
        ({"problems.sizes": {"train": 300, "validation": 40, "test": 40, "ood": 0}}, "(ood): problems.sizes.ood is 0"),
    ],
)
def test_a_fault_is_named_where_it_stands(write, changes, said):
    assert said in faults(write(changes))


def test_all_faults_of_all_sections_are_reported_together(write):
    text = faults(write({"train.lerning_rate": 1, "extrapolate.targets": [10], "decide.alpha": 2.0, "oops": 1}))
    for said in ("4 problems", "lerning_rate", "extrapolate.targets", "decide.alpha", "oops"):
        assert said in text


@pytest.mark.parametrize(
    "broken",
    [
        {"train.epsilon": "wide"},
        {"train.epsilon": None},
        {"train.epsilon_high": 0.1},  # a rule of the whole section
        {"train.generation": {"backend": "vllm", "mode": "server"}},
        {"extrapolate.norm_cap": "short"},
        {"extrapolate.memory": "lots", "train.window.every": "each"},
        {"extrapolate.targets": [90, 10, "far"], "evaluate.max_model_len": 1},
    ],
)
def test_a_fault_in_a_section_hides_none_between_it_and_others(write, broken):
    text = faults(write({"extrapolate.targets": [90, 10], "train.prompts_per_step": 10**6} | broken))
    assert "is above problems.sizes.train" in text
    assert ("inside the window, which ends at step 12: [10]" in text) == ("extrapolate.targets" not in broken)
    assert ("shorter than train.max_completion_length" in text) == ("evaluate.max_model_len" in broken)


@pytest.mark.parametrize(
    ("key", "allowed", "nearest"),
    [
        ("trian", "problems, base, train,", "train"),
        ("train.lerning_rate", "learning_rate,", "learning_rate"),
        ("train.window.frist", "one of first, last, every", "first"),
        ("base.source.pretrainig", "pretraining", "pretraining"),
        ("problems.sizes.validate", "train, validation, test, ood", "validation"),
        ("problems.source.ood_length", "kind, lengths, ood_lengths", "ood_lengths"),
    ],
)
def test_a_wrong_key_is_told_which_are_allowed_and_which_is_nearest(write, key, allowed, nearest):
    (said,) = [line for line in faults(write({key: 1})).splitlines() if f"{key}: unknown" in line]
    assert allowed in said
    assert said.endswith(f"did you mean {nearest}?")


def test_a_wrong_key_in_a_list_and_one_that_is_like_no_other_are_told_too(write):
    yaml = YAML(typ="safe", pure=True)
    suites = yaml.load(COMMITTED.read_text())["evaluate"]["suites"]
    suites[0]["sampels"] = 3
    text = faults(write({"evaluate.suites": suites, "decide.xyzzy": 1}))
    assert "did you mean samples?" in text
    assert "xyzzy: unknown key; expected one of alpha" in text
    assert text.count("remove it") == 1


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00"])
def test_a_file_that_is_not_a_mapping_is_one_clear_error(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert "params.yaml" in faults(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    assert "missing" in faults(tmp_path / "params.yaml")


@pytest.mark.parametrize(("text", "size"), [("256MiB", 256 << 20), ("1.5GiB", 3 << 29), ("17", 17), ("4 KiB", 4096)])
def test_sizes_are_read_in_binary_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1GB5", "0", "nan", "1e400GiB"])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(ValueError, match="size|above zero"):
        parse_size(text)
