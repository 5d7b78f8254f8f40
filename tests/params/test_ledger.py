"""What a night takes on GPUs, counted from its parameters: shapes against real models, profiles against machines."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaModel, Qwen3Config, Qwen3Model

from relex.core.errors import InputError
from relex.core.topology import Gpu, Topology
from relex.params import memory, preflight
from relex.params.ledger import Machine, Shape, ledger, too_large
from relex.params.load import load
from relex.params.shapes import shape_of
from relex.stages.base.size import base_size
from tests.builders import ROOT
from tests.builders.windows import tiny_llama

PROFILES = ROOT / "infra/profiles"


@pytest.mark.parametrize("tied", [True, False])
def test_a_shape_counts_the_parameters_and_the_cache_of_a_real_model(tied: bool) -> None:
    model = tiny_llama(tied=tied)
    shape = Shape.of(model.config.to_dict())
    assert shape.parameters == model.num_parameters()
    assert shape.cache(7, 4) == 7 * 2 * 2 * 8 * 4  # keys and values of two layers, one head of 8


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("smollm2-135m", 134_515_008), ("qwen2.5-math-1.5b", 1_543_714_304), ("qwen3-8b-base", 8_190_735_360)],
)
def test_the_profiles_bases_are_known_within_a_tenth_of_a_percent(name: str, parameters: int) -> None:
    shape = shape_of(load(PROFILES / f"{name}.yaml").base, ROOT)
    assert shape is not None
    assert shape.parameters == pytest.approx(parameters, rel=1e-3)


def test_the_embedded_base_has_the_parameters_that_its_disk_need_says() -> None:
    base = load(ROOT / "params.yaml").base
    shape, size = shape_of(base, ROOT), base_size(base, ROOT)
    assert shape is not None
    assert size is not None
    assert shape.parameters == pytest.approx(size.parameters, rel=1e-2)  # without its small norms of queries and keys


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("smollm2-135m", "1x24GiB"),
        ("qwen2.5-math-1.5b", "1x80GiB"),
        ("qwen3-4b-base", "8x80GiB"),
        ("qwen3-8b-base", "8x80GiB"),
    ],
)
def test_every_profile_fits_the_machine_that_it_is_meant_for(name: str, machine: str) -> None:
    page, faults = memory.examine(PROFILES / f"{name}.yaml", machine, ROOT)
    assert faults == []
    assert "raise evaluate.engines" not in page
    for phase in ("load", "rollout", "update", "capture", "completions", "scan and backtest", "evaluation"):
        assert phase in page


def test_what_does_not_fit_names_the_phase_and_the_setting() -> None:
    _, faults = memory.examine(PROFILES / "qwen3-8b-base.yaml", "8x24GiB", ROOT)
    said = "\n".join(str(fault) for fault in faults)
    assert "update does not fit; expected at most 24.0 GiB of GPU memory" in said
    assert "lower train.per_device_train_batch_size" in said
    assert "scan and backtest does not fit" in said


def test_fitting_step_sizes_is_counted_where_a_ray_has_them_fitted() -> None:
    params = load(ROOT / "params.yaml")
    shape = shape_of(params.base, ROOT)
    assert shape is not None
    machine = Machine.parse("1x80GiB")

    def fitting(rays: str, variants: tuple[object, ...]) -> list[int]:
        extrapolate = params.extrapolate.model_copy(update={"rays": rays, "variants": variants})
        changed = params.model_copy(update={"extrapolate": extrapolate})
        lines = ledger(changed, shape, machine, processes=1, sharded=False, prompt=8)
        return [line.total for line in lines if line.phase == "fitting step sizes"]

    (found,) = fitting("auto", params.extrapolate.variants)
    assert found > 2 * 4 * shape.parameters
    assert fitting("auto", params.extrapolate.variants[:1]) == []
    assert fitting("named", ()) == []


def test_a_line_grows_with_the_setting_that_it_names() -> None:
    params = load(PROFILES / "qwen3-8b-base.yaml")
    shape = shape_of(params.base, ROOT)
    assert shape is not None
    machine = Machine.parse("8x80GiB")

    def update(size: int) -> int:
        train = params.train.model_copy(update={"per_device_train_batch_size": size})
        lines = ledger(
            params.model_copy(update={"train": train}), shape, machine, processes=8, sharded=True, prompt=512
        )
        return next(line.total for line in lines if line.phase == "update")

    assert update(2) < update(4) < update(8)
    lines = ledger(params, shape, machine, processes=8, sharded=True, prompt=512)
    assert {line.phase for line in too_large(lines, machine, 100 << 30)} == {"capture and its queue"}


@pytest.mark.parametrize("text", ["80GiB", "x80GiB", "0x80GiB", "8x", "8xlots"])
def test_a_machine_is_written_as_gpus_times_memory(text: str) -> None:
    with pytest.raises(InputError, match="--gpus"):
        memory.examine(ROOT / "params.yaml", text, ROOT)


def test_a_base_that_nobody_knows_says_how_to_make_it_known(tmp_path: Path) -> None:
    text = (PROFILES / "qwen3-8b-base.yaml").read_text().replace("Qwen/Qwen3-8B-Base", "nobody/unknown")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match="the base's shape is not known here"):
        memory.examine(tmp_path / "params.yaml", "8x80GiB", ROOT)


def test_preflight_refuses_a_night_that_does_not_fit_the_gpus_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text((PROFILES / "qwen2.5-math-1.5b.yaml").read_text())
    shutil.copytree(PROFILES / "shapes", tmp_path / "infra/profiles/shapes")

    def said(gib: int) -> str:
        machine = Topology((Gpu("some", gib << 30, "0"),), "cuda")
        monkeypatch.setattr(preflight, "topology", lambda: machine)
        monkeypatch.setattr(preflight, "has_cuda", lambda: True)
        return "\n".join(str(error) for error in preflight.faults(tmp_path / "params.yaml")[1])

    assert "does not fit" not in said(80)
    assert "this machine: update does not fit; expected at most 24.0 GiB of GPU memory" in said(24)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=8 << 30))
    assert "this machine: capture and its queue does not fit; expected at most 8.0 GiB of host memory" in said(80)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_layer_keeps_what_autograd_saves_of_a_real_one(family: str) -> None:
    """Of float32, within a tenth: the mask, and what is kept of a token or a head alone, are left out."""
    batch, tokens = 4, 32
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"vocab_size": 48, "head_dim": 32}
    configs, models = {"llama": LlamaConfig, "qwen3": Qwen3Config}, {"llama": LlamaModel, "qwen3": Qwen3Model}

    def kept(layers: int) -> int:
        torch.manual_seed(0)
        model = models[family](configs[family](**sizes, num_hidden_layers=layers)).train()
        own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        held: list[torch.Tensor] = []  # else another one would get the place of one that was let go of
        with torch.autograd.graph.saved_tensors_hooks(lambda saved: held.append(saved) or saved, lambda saved: saved):
            model(input_ids=torch.ones(batch, tokens, dtype=torch.long), use_cache=False)
        sizes_of = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in held}
        return sum(size for place, size in sizes_of.items() if place not in own)

    shape = Shape.of({**sizes, "num_hidden_layers": 2, "model_type": family})
    counted = batch * tokens * shape.layer_activations(bf16=False)
    assert counted == pytest.approx(kept(3) - kept(2), rel=0.1)
