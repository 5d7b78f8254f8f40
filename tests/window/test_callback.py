"""`relex.Capture` in transformers' own Trainer: what it keeps is the training's weights, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers.trainer_callback import TrainerCallback

import relex
from relex.core.errors import InputError
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from tests.builders.windows import save, tiny_llama

pytestmark = pytest.mark.real

STEPS = 6


class Keep(TrainerCallback):
    """The weights after each step, by step, as the checkpoint would name them."""

    def __init__(self) -> None:
        self.weights: dict[int, dict[str, torch.Tensor]] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        self.weights[state.global_step] = {name: tensor.detach().clone() for name, tensor in named}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tiny_llama(tied=True), tmp_path_factory.mktemp("capture") / "base")


def trainer(folder: Path, model: Any, *callbacks: TrainerCallback, steps: int = STEPS) -> Trainer:
    ids = torch.arange(24).reshape(6, 4).tolist()
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids})
    arguments = TrainingArguments(
        str(folder / "run"),
        max_steps=steps,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        save_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        data_seed=1,
        seed=1,
    )
    return Trainer(model, arguments, train_dataset=rows, callbacks=list(callbacks))


def loaded(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def deltas(out: Path, base: Path, step: int, folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    materialize(out, base, step, folder)
    yield from load_file(folder / "model.safetensors").items()


def test_each_step_is_the_weights_that_the_training_had(base: Path, tmp_path: Path) -> None:
    keep = Keep()
    trainer(tmp_path, loaded(base), relex.Capture(tmp_path / "window", base=base, codec="float32"), keep).train()
    assert Trajectory(tmp_path / "window").steps == tuple(range(1, STEPS + 1))
    assert "sound" in verify(tmp_path / "window")
    for step, weights in keep.weights.items():
        for name, tensor in deltas(tmp_path / "window", base, step, tmp_path / str(step)):
            torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-7)


def test_a_part_of_the_steps_and_no_more_than_asked(base: Path, tmp_path: Path) -> None:
    capture = relex.Capture(tmp_path / "window", base=base, first=2, last=5, every=2)
    trainer(tmp_path, loaded(base), capture).train()
    assert Trajectory(tmp_path / "window").steps == (2, 4)
    with pytest.raises(InputError, match="not steps"):
        relex.Capture(tmp_path / "other", base=base, first=0)


def test_a_resumed_training_goes_on_with_its_window(base: Path, tmp_path: Path) -> None:
    undisturbed = relex.Capture(tmp_path / "whole", base=base, codec="float32")
    trainer(tmp_path / "a", loaded(base), undisturbed).train()
    again = [relex.Capture(tmp_path / "parts", base=base, codec="float32") for _ in range(2)]
    trainer(tmp_path / "b", loaded(base), again[0], steps=STEPS).train()
    # Killed after step 5, with a checkpoint of step 4: steps 5 and 6 are trained again.
    trainer(tmp_path / "b", loaded(base), again[1]).train(str(tmp_path / "b/run/checkpoint-4"))
    whole, parts = (Trajectory(tmp_path / name) for name in ("whole", "parts"))
    assert parts.steps == whole.steps
    assert parts.sha256 == whole.sha256


def test_a_model_that_is_not_the_base_is_refused_before_the_first_step(base: Path, tmp_path: Path) -> None:
    other = loaded(base)
    with torch.no_grad():
        other.model.norm.weight[3] += 0.5
    with pytest.raises(InputError, match="not the base"):
        trainer(tmp_path, other, relex.Capture(tmp_path / "window", base=base)).train()
    another = tiny_llama(hidden_size=32, tied=True)
    with pytest.raises(InputError, match="shape"):
        trainer(tmp_path, another, relex.Capture(tmp_path / "window", base=base)).train()
    assert not (tmp_path / "window").exists()


def test_weights_that_are_no_numbers_end_the_training_and_leave_what_was_kept(base: Path, tmp_path: Path) -> None:
    class Spoil(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                with torch.no_grad():
                    kwargs["model"].model.norm.weight[0] = float("nan")

    with pytest.raises(InputError, match=r"step 3: model.norm.weight"):
        trainer(tmp_path, loaded(base), Spoil(), relex.Capture(tmp_path / "window", base=base)).train()
    assert Trajectory(tmp_path / "window").steps == (1, 2)


def test_adapters_are_kept_as_the_change_that_they_make(base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(loaded(base), LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=True))
    trainer(tmp_path, model, relex.Capture(tmp_path / "window", base=base, codec="float32")).train()
    merged = model.merge_and_unload().state_dict()
    weights = dict(deltas(tmp_path / "window", base, STEPS, tmp_path / "last"))
    origin = load_file(base / "model.safetensors")
    moved = [name for name in weights if not torch.equal(weights[name], origin[name])]
    assert {name.rsplit(".", 2)[1] for name in moved} == {"q_proj", "v_proj"}
    for name in moved:
        torch.testing.assert_close(weights[name], merged[name], rtol=0, atol=1e-6)


def test_nothing_that_lies_there_is_written_over(base: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(InputError, match="something else lies there"):
        trainer(tmp_path, loaded(base), relex.Capture(tmp_path / "mine", base=base)).train()
    assert (tmp_path / "mine/thesis.tex").read_text() == "x"
    window = tmp_path / "window"
    trainer(tmp_path, loaded(base), relex.Capture(window, base=base)).train()
    before = Trajectory(window).sha256
    with pytest.raises(InputError, match="a window is there already"):
        trainer(tmp_path, loaded(base), relex.Capture(window, base=base)).train()
    with pytest.raises(InputError, match="of another training"):
        other = relex.Capture(window, base=base, every=2)
        trainer(tmp_path, loaded(base), other).train(str(tmp_path / "run/checkpoint-4"))
    assert Trajectory(window).sha256 == before
