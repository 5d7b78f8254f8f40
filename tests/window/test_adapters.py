"""`relex import` of LoRA adapters: the window holds what PEFT's own merge adds to the base; the rest is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from relex.cli.app import app
from relex.core.errors import CorruptArtifact, InputError
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from relex.window.importing import import_checkpoints
from relex.window.options import Options
from relex.window.request import Request
from tests.builders.windows import save, tiny_llama

STEPS = [2, 4, 7]
PROJECTIONS = ["q_proj", "v_proj", "down_proj"]


def gpt2() -> GPT2LMHeadModel:
    """Its projections are stored input first (fan_in_fan_out), one of them square."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=48, n_positions=32, n_embd=16, n_layer=2, n_head=2)).eval()


def train(make: Any, folder: Path, base: Path, steps: list[int] = STEPS, **settings: Any) -> Path:
    """Adapters with random weights at some steps, saved by PEFT; each step's are other ones."""
    model = get_peft_model(make(), LoraConfig(**{"r": 4, "lora_alpha": 8} | settings))
    model.peft_config["default"].base_model_name_or_path = str(base)
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
        model.save_pretrained(folder / f"checkpoint-{step}", safe_serialization=True)
    return folder


def merged(make: Any, adapter: Path) -> dict[str, torch.Tensor]:
    """The weights as PEFT itself merges them."""
    return PeftModel.from_pretrained(make(), adapter).merge_and_unload().state_dict()


def untied(**changes: Any) -> Any:
    return lambda: tiny_llama(tied=False, **changes)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (tiny_llama, {"target_modules": PROJECTIONS}),
        (tiny_llama, {"target_modules": PROJECTIONS, "use_rslora": True}),
        (
            tiny_llama,
            {"target_modules": PROJECTIONS, "use_rslora": True, "rank_pattern": {"q_proj": 2, "down_proj": 8}},
        ),
        (tiny_llama, {"target_modules": PROJECTIONS, "alpha_pattern": {"layers.0.self_attn.v_proj": 3}}),
        (untied(bias=True), {"target_modules": PROJECTIONS, "bias": "all"}),
        (untied(), {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}),
        (untied(), {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
        (untied(), {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"}),
        (gpt2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
        (lambda: tiny_llama().to(torch.bfloat16), {"target_modules": PROJECTIONS}),
    ],
)
def test_a_step_is_what_pefts_own_merge_gives(tmp_path, make, settings):
    base = tmp_path / "base"
    make().save_pretrained(base)
    source = train(make, tmp_path / "run", base, **settings)
    said = import_checkpoints(source, None, tmp_path / "window")
    assert "3 steps (2..7) of adapters" in said
    assert "sound" in verify(tmp_path / "window")
    assert Trajectory(tmp_path / "window").steps == tuple(STEPS)
    for step in STEPS:
        materialize(tmp_path / "window", base, step, tmp_path / f"step-{step}")
        ours, theirs = (
            load_file(tmp_path / f"step-{step}" / "model.safetensors"),
            merged(make, source / f"checkpoint-{step}"),
        )
        changed = 0
        for name, value in ours.items():
            tolerance = 1e-7 if value.dtype == torch.float32 else 2**-8
            torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance)
            changed += not torch.equal(value, load_file(base / "model.safetensors")[name])
        assert changed >= 2
        assert changed == len([name for name in ours if name in Trajectory(tmp_path / "window").manifest.tensors])


def test_deltas_are_those_of_float64_to_float32s_last_places(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")
    source = train(tiny_llama, tmp_path / "run", base, target_modules=["q_proj"], use_rslora=True, lora_alpha=3)
    import_checkpoints(source, base, tmp_path / "window")
    for step in STEPS:
        stored = load_file(source / f"checkpoint-{step}" / "adapter_model.safetensors")
        deltas = load_file(tmp_path / "window" / "steps" / f"{step:06d}.safetensors")
        assert sorted(deltas) == [f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1)]
        for name, delta in deltas.items():
            a, b = (stored[f"base_model.model.{name.removesuffix('.weight')}.lora_{x}.weight"].double() for x in "AB")
            torch.testing.assert_close(delta.double(), 3 / 4**0.5 * (b @ a), rtol=1e-5, atol=1e-9)


def test_candidates_of_adapters_are_whole_merged_weights(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")
    source = train(tiny_llama, tmp_path / "run", base, target_modules=PROJECTIONS)
    arguments = ["import", str(source), "--out", str(tmp_path / "window"), "--codec", "float16"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    extrapolate_folder(tmp_path / "window", base, Request((20,), Options(), "extrapolate"), tmp_path / "out")
    candidate, theta = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out/step_000020", base))
    moved = {name for name in theta if not torch.equal(candidate[name], theta[name])}
    assert candidate.keys() == theta.keys()
    assert {name.split(".")[-2] for name in moved} == set(PROJECTIONS)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def run(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")
    return train(tiny_llama, tmp_path / "run", base, target_modules=["q_proj"]), base


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "DoRA rescales whole weights"),
        ({"loftq_config": {"loftq_bits": 4}}, "quantised base"),
        ({"init_lora_weights": "pissa_niter_4"}, "takes a part out of the base's weights"),
        ({"layer_replication": [[0, 2]]}, "layers that the base lacks"),
        ({"use_something_new": True}, "use_something_new: this kind of adapter is not read"),
        ({"peft_type": "IA3"}, "not a LoRA adapter; expected peft_type LORA; found IA3"),
        ({"r": 8}, "another rank than the configuration says"),
        ({"r": 0}, "not a rank and a scale"),
        ({"lora_alpha": None}, "not a rank and a scale"),
        ({"alpha_pattern": {"(": 1}}, "not patterns"),
        ({"alpha_pattern": {"q_proj": 1, "layers.0.*": 2}}, "several patterns with different values"),
        ({"rank_pattern": [1]}, "not patterns"),
    ],
)
def test_what_is_not_plain_lora_is_refused_with_the_reason(run, tmp_path, changes, said):
    source, base = run
    edit(source / "checkpoint-4", **changes)
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        import_checkpoints(source, base, tmp_path / "window")
    assert not (tmp_path / "window").exists()


def test_a_quantised_base_is_refused(run, tmp_path):
    source, base = run
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(InputError, match="the base is quantised.*give the unquantised base"):
        import_checkpoints(source, base, tmp_path / "window")


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ],
)
def test_tied_weights_as_targets_are_refused(tmp_path, settings):
    base = save(tiny_llama(), tmp_path / "base")
    source = train(tiny_llama, tmp_path / "run", base, **settings)
    with pytest.raises(InputError, match="ties"):
        import_checkpoints(source, base, tmp_path / "window")


def without(folder: Path, part: str) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if part not in name}, path)


def test_adapters_that_do_not_belong_together_or_to_the_base_are_refused(run, tmp_path):
    source, base = run
    other = save(tiny_llama(hidden_size=32), tmp_path / "other")
    with pytest.raises(CorruptArtifact, match="the factors do not fit"):
        import_checkpoints(source, other, tmp_path / "window")
    shallow = save(tiny_llama(num_hidden_layers=1), tmp_path / "shallow")
    with pytest.raises(InputError, match="a tensor that the base lacks"):
        import_checkpoints(source, shallow, tmp_path / "window")
    without(source / "checkpoint-7", "layers.1")
    with pytest.raises(CorruptArtifact, match="layers.1.*other tensors than the first adapter"):
        import_checkpoints(source, base, tmp_path / "window")
    without(source / "checkpoint-4", "lora_B")
    with pytest.raises(CorruptArtifact, match="one of the two factors is missing"):
        import_checkpoints(source, base, tmp_path / "window")
    save(tiny_llama(), source / "checkpoint-9")
    with pytest.raises(InputError, match="adapters and whole checkpoints in one run"):
        import_checkpoints(source, base, tmp_path / "window")


def test_another_base_than_the_adapters_name_is_noted_in_the_summary(run, tmp_path):
    source, base = run
    assert "note" not in import_checkpoints(source, base, tmp_path / "same")
    edit(source / f"checkpoint-{STEPS[-1]}", base_model_name_or_path="some/other-model")
    said = import_checkpoints(source, base, tmp_path / "window")
    assert f"names the base 'some/other-model'; --base {base} is used" in said


@pytest.mark.parametrize("named", [None, "owner/model", 3])
def test_a_base_that_is_not_there_must_be_given(run, tmp_path, named):
    source, base = run
    edit(source / "checkpoint-2", base_model_name_or_path=named)
    with pytest.raises(InputError, match="give its checkpoint folder as --base"):
        import_checkpoints(source, None, tmp_path / "window")
    import_checkpoints(source, base, tmp_path / "window")


def test_whole_checkpoints_need_a_base(tmp_path):
    for step in STEPS:
        save(tiny_llama(), tmp_path / "run" / f"checkpoint-{step}")
    with pytest.raises(InputError, match="--base: no base"):
        import_checkpoints(tmp_path / "run", None, tmp_path / "window")
