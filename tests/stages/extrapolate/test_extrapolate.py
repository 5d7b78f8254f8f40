"""`extrapolate` on real checkpoints on disk, against float64, for every kind of model folder and of request."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM

from relex.checkpoints.tensors import INDEX
from relex.core.digest import folder_sha256
from relex.core.errors import InputError, InputErrors
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory
from relex.window.importing import import_checkpoints
from relex.window.options import Options
from relex.window.request import Request
from tests.builders.windows import (
    base_tensors,
    deltas_at,
    line_with_noise,
    save,
    tiny_llama,
    write_checkpoints,
    write_trajectory,
)

STEPS = [2, 3, 7, 8, 15, 16, 21]
# float32 weights of size w round a predicted delta of size |d| by 2**-24 w / |d|; the base is made small for that.
SMALL = 1e-3


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """(trajectory, base) of float32 deltas that are large beside their base, so that float32 shows 1e-5."""
    folder = tmp_path_factory.mktemp("window")
    model = tiny_llama()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(SMALL)
    base = save(model, folder / "base")
    return write_trajectory(folder / "window", base, STEPS, line_with_noise(rate=1e-2, noise=1e-2)), base


def stacked(base: Path, path=None) -> dict[str, np.ndarray]:
    """The true deltas [T, d] per tensor, float64."""
    path = path or line_with_noise(rate=1e-2, noise=1e-2)
    tensors = base_tensors(base)
    rows = [deltas_at(step, tensors, path) for step in STEPS]
    return {name: np.stack([row[name].double().numpy().ravel() for row in rows]) for name in tensors}


def predicted(out: Path, base: Path, target: int) -> dict[str, np.ndarray]:
    found, origin = base_tensors(out / f"step_{target:06d}"), base_tensors(base)
    return {name: (found[name].double() - origin[name].double()).numpy().ravel() for name in origin}


def by_svd(deltas: np.ndarray, target: int, rank: int) -> np.ndarray:
    left, sizes, right = np.linalg.svd(deltas, full_matrices=False)
    fits = [np.polynomial.Polynomial.fit(STEPS, sizes[k] * left[:, k], 1)(target) for k in range(rank)]
    return np.array(fits) @ right[:rank]


@pytest.mark.parametrize("rank", [*range(1, len(STEPS) + 1)])
def test_every_rank_is_exact_to_float64(window, tmp_path, rank):
    trajectory, base = window
    extrapolate_folder(trajectory, base, Request((30, 90), options=Options(rank=rank)), tmp_path / "out")
    for name, deltas in stacked(base).items():
        for target in (30, 90):
            wanted = by_svd(deltas, target, rank)
            found = predicted(tmp_path / "out", base, target)[name]
            assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-5, (name, target)


@pytest.mark.parametrize("shard", ["1GB", "4KB"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_foreign_checkpoints_of_every_layout(tmp_path, dtype, tied, shard):
    model = tiny_llama(tied=tied, bias=True)
    base = save(model, tmp_path / "base", dtype=dtype, shard=shard)
    path = line_with_noise(rate=1e-2, noise=1e-3)
    source = write_checkpoints(tmp_path / "full", model, STEPS, path, dtype=dtype, shard=shard, layout="global_step_{}")
    import_checkpoints(source, base, tmp_path / "window")
    extrapolate_folder(tmp_path / "window", base, Request((60,)), tmp_path / "out")
    out = tmp_path / "out" / "step_000060"
    assert {path.name for path in base.iterdir()} == {path.name for path in out.iterdir()}
    origin, found = base_tensors(base), base_tensors(out)
    saved = [base_tensors(source / f"global_step_{step}") for step in STEPS]
    for name, start in origin.items():
        deltas = np.stack([(row[name].float() - start.float()).double().numpy().ravel() for row in saved])
        wanted = start.double() + torch.from_numpy(by_svd(deltas, 60, 1)).view_as(start)
        # Rounded once, from a float32 that is within 1e-6 of the exact value.
        gap = (found[name].double() - wanted).abs()
        assert found[name].dtype == dtype
        assert (gap <= wanted.abs() * torch.finfo(dtype).eps * 0.501 + 1e-7).all(), name
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert loaded.config.tie_word_embeddings == tied


@pytest.mark.parametrize("layout", ["checkpoint-{}", "step_{}", "step-{}", "global_step_{}/actor/huggingface"])
def test_a_tied_head_that_is_written_out_follows_its_embedding(tmp_path, layout):
    model = tiny_llama(tied=True)
    base = save(model, tmp_path / "base")
    source = write_checkpoints(tmp_path / "full", model, [1, 2, 4], line_with_noise(rate=1e-2), layout=layout)
    for folder in (base, *(source / layout.format(step) for step in (1, 2, 4))):
        weights = load_file(folder / "model.safetensors")
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    import_checkpoints(source, base, tmp_path / "window")
    extrapolate_folder(tmp_path / "window", base, Request((9,)), tmp_path / "out")
    found = base_tensors(tmp_path / "out" / "step_000009")
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])
    assert not torch.equal(found["lm_head.weight"], base_tensors(base)["lm_head.weight"])


def test_a_mixture_of_experts(tmp_path):
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=3,
        max_position_embeddings=32,
    )
    base = save(MixtralForCausalLM(config), tmp_path / "base")
    names = base_tensors(base)
    assert any("expert" in name for name in names)
    path = line_with_noise(rate=1e-2, noise=0.0)
    trajectory = write_trajectory(tmp_path / "window", base, [1, 2, 3], path)
    extrapolate_folder(trajectory, base, Request((10,)), tmp_path / "out")
    found = base_tensors(tmp_path / "out" / "step_000010")
    for name, start in names.items():
        assert torch.allclose(found[name], start + path(10, name, start), atol=1e-6)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "step_000010") is not None


def test_an_adapter_folder_is_extrapolated_as_such(tmp_path):
    def adapter(folder: Path, step: int) -> Path:
        folder.mkdir(parents=True)
        a, b = torch.arange(12.0).view(2, 6) / 7, torch.zeros(5, 2)
        weights = {
            "q.lora_A.weight": a + step * 0.01,
            "q.lora_B.weight": b + step * torch.linspace(-1, 1, 10).view(5, 2),
        }
        save_file(weights, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text('{"r": 2}')
        return folder

    base = adapter(tmp_path / "base", 0)
    for step in (1, 3, 4):
        adapter(tmp_path / "full" / f"checkpoint-{step}", step)
    import_checkpoints(tmp_path / "full", base, tmp_path / "window")
    extrapolate_folder(tmp_path / "window", base, Request((20,)), tmp_path / "out")
    out = tmp_path / "out" / "step_000020"
    wanted = load_file(adapter(tmp_path / "wanted", 20) / "adapter_model.safetensors")
    for name, value in load_file(out / "adapter_model.safetensors").items():
        assert torch.allclose(value, wanted[name], atol=1e-5)
    assert (out / "adapter_config.json").read_text() == '{"r": 2}'


def test_what_never_moved_keeps_its_bytes_and_its_signs_of_zero(tmp_path):
    model = tiny_llama()
    with torch.no_grad():
        model.model.norm.weight[:3] = torch.tensor([-0.0, 0.0, -0.0])
        model.model.embed_tokens.weight[0, :4] = -0.0
    base = save(model, tmp_path / "base", dtype=torch.bfloat16)

    def path(step, name, theta):
        delta = torch.zeros(theta.shape)
        if "embed" in name:
            delta[5:] = step * 1e-2  # the first rows never move
        return delta

    trajectory = write_trajectory(tmp_path / "window", base, [1, 2, 3], path)
    extrapolate_folder(trajectory, base, Request((10,)), tmp_path / "out")
    start, found = base_tensors(base), base_tensors(tmp_path / "out" / "step_000010")
    for name, value in start.items():
        same = found[name].view(torch.int16) == value.view(torch.int16)
        assert same[:5].all() if "embed" in name else same.all()


def test_sub_window_anchor_shrink_and_choice_of_tensors(window, tmp_path):
    trajectory, base = window
    request = Request((40,), options=Options(rank="full", first=7, last=16, anchor="last", shrink=0.25, only=r"mlp"))
    extrapolate_folder(trajectory, base, request, tmp_path / "out")
    used = [7, 8, 15, 16]
    for name, found in predicted(tmp_path / "out", base, 40).items():
        deltas = stacked(base)[name][2:6]
        slope = np.polyfit(used, deltas, 1)[0]
        wanted = deltas[-1] + (0.75 * slope * (40 - 16) if "mlp" in name else 0.0)
        assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-5, name


@pytest.mark.parametrize("mode", ["reconstruct", "fit-reconstruct"])
def test_observed_steps_are_reconstructed(window, tmp_path, mode):
    trajectory, base = window
    extrapolate_folder(trajectory, base, Request((8,), mode=mode, options=Options(rank=2)), tmp_path / "out")
    for name, found in predicted(tmp_path / "out", base, 8).items():
        deltas = stacked(base)[name]
        left, sizes, right = np.linalg.svd(deltas, full_matrices=False)
        projected = left[3, :2] * sizes[:2] @ right[:2]
        wanted = projected if mode == "reconstruct" else by_svd(deltas, 8, 2)
        assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-5


def test_tensors_that_fail_their_backtest_stay_and_the_cap_holds(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")

    def path(step, name, theta):
        torch.manual_seed(3)
        direction = torch.randn(theta.shape)
        straight = step * direction
        turned = min(step, 4) * direction - max(step - 4, 0) * direction
        return 1e-2 * (turned if "mlp" in name else straight)

    trajectory = write_trajectory(tmp_path / "window", base, list(range(1, 9)), path)
    extrapolate_folder(
        trajectory, base, Request((40,), options=Options(backtested=True, norm_cap=2.0)), tmp_path / "out"
    )
    fit = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert {name: facts["size"] for name, facts in fit["tensors"].items()} == {
        name: 0.0 if "mlp" in name else 1.0 for name in base_tensors(base)
    }
    for name, found in predicted(tmp_path / "out", base, 40).items():
        last = path(8, name, base_tensors(base)[name]).double().numpy().ravel()
        np.testing.assert_allclose(found, last if "mlp" in name else 2.0 * last, atol=1e-6)


def test_the_same_bytes_whatever_the_budget_and_the_cache(window, tmp_path):
    trajectory, base = window
    (trajectory / "cache" / "gram.safetensors").unlink(missing_ok=True)
    extrapolate_folder(trajectory, base, Request((30, 60), options=Options(memory="1GiB")), tmp_path / "a")
    assert (trajectory / "cache" / "gram.safetensors").exists()
    extrapolate_folder(trajectory, base, Request((30, 60), options=Options(memory="16MiB")), tmp_path / "b")
    (trajectory / "cache" / "gram.safetensors").unlink()
    extrapolate_folder(trajectory, base, Request((30, 60), options=Options(memory="16MiB")), tmp_path / "c")
    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "b") == folder_sha256(tmp_path / "c")
    extrapolate_folder(trajectory, base, Request((60,)), tmp_path / "d")
    assert folder_sha256(tmp_path / "d" / "step_000060") == folder_sha256(tmp_path / "a" / "step_000060")


def test_a_stale_or_damaged_cache_is_not_used(tmp_path):
    base = save(tiny_llama(), tmp_path / "base")
    path = line_with_noise(rate=1e-2, noise=1e-2)
    long = write_trajectory(tmp_path / "long", base, STEPS, path)
    short = write_trajectory(tmp_path / "short", base, STEPS[:5], path)
    other = write_trajectory(tmp_path / "other", base, STEPS, line_with_noise(seed=4, rate=1e-2))
    extrapolate_folder(long, base, Request((60,)), tmp_path / "wanted")
    cache = long / "cache" / "gram.safetensors"
    for source in (short, other):
        extrapolate_folder(source, base, Request((60,)), tmp_path / f"from-{source.name}")
        cache.write_bytes((source / "cache" / "gram.safetensors").read_bytes())
        extrapolate_folder(long, base, Request((60,)), tmp_path / f"with-{source.name}")
        wanted = predicted(tmp_path / "wanted", base, 60)
        for name, found in predicted(tmp_path / f"with-{source.name}", base, 60).items():
            np.testing.assert_allclose(found, wanted[name], rtol=1e-5, atol=1e-8)
    cache.write_bytes(b"damaged")
    extrapolate_folder(long, base, Request((60,)), tmp_path / "again")
    assert folder_sha256(tmp_path / "again") == folder_sha256(tmp_path / "wanted")
    content = bytearray(cache.read_bytes())
    content[-2] ^= 0x10  # the exponent of a matrix's last number
    cache.write_bytes(content)
    extrapolate_folder(long, base, Request((60,)), tmp_path / "flipped")
    assert folder_sha256(tmp_path / "flipped") == folder_sha256(tmp_path / "wanted")


def test_with_known_gram_matrices_the_window_is_read_once(window, tmp_path, monkeypatch):
    from relex.window import stream

    trajectory, base = window
    extrapolate_folder(trajectory, base, Request((30,)), tmp_path / "first")
    asked = []
    true_gram = stream.Stream.begin_gram
    monkeypatch.setattr(stream.Stream, "begin_gram", lambda *args: asked.append(args) or true_gram(*args))
    request = Request((44, 55), options=Options(rank=3, fit="polynomial", shrink=0.5, first=3))
    extrapolate_folder(trajectory, base, request, tmp_path / "second")
    assert asked == []
    (trajectory / "cache" / "gram.safetensors").unlink()
    extrapolate_folder(trajectory, base, request, tmp_path / "third")
    assert asked


def test_fit_json_says_what_was_done(window, tmp_path):
    trajectory, base = window
    extrapolate_folder(trajectory, base, Request((30,)), tmp_path / "out")
    found = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert found["trajectory_sha256"] == Trajectory(trajectory).sha256
    assert found["steps"] == STEPS
    assert found["candidates"] == {"step_000030": 30}
    assert set(found["tensors"]) == set(base_tensors(base))
    share = found["tensors"]["model.norm.weight"]["explained_share"]
    sizes = np.linalg.svd(stacked(base)["model.norm.weight"])[1]
    assert share == pytest.approx(sizes[0] ** 2 / np.sum(sizes**2))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request((21,)), "not beyond the window"),
        (Request((30, 15)), "not beyond the window"),
        (Request((30, 30)), "distinct"),
        (Request((9,), mode="reconstruct"), "needs observed steps"),
        (Request((30,), options=Options(rank=8)), "above the window"),
        (Request((30,), options=Options(rank=3, first=8, last=15)), "above the window"),
        (Request((30,), options=Options(first=16, last=20)), "fewer than two"),
        (Request((30,), options=Options(fit="polynomial", degree=7)), "more steps"),
        (Request((30,), options=Options(fit="sinusoid", rank="full")), "sinusoid"),
        (Request((30,), options=Options(only="nothing like it")), "matches no tensor"),
        (Request((30,), Options.of_flags({"only": "("})), "regular expression"),
        (Request((30,), Options.of_flags({"shrink": 1.5})), r"\[0, 1\]"),
        (Request((30,), Options.of_flags({"autoregressive": 0})), "at least one step"),
        (Request((30,), Options.of_flags({"norm_cap": 0.0})), "above zero"),
        (Request((30,), options=Options(memory="1KiB")), "too little memory"),
        (Request((30,), Options.of_flags({"memory": "lots"})), "not a size"),
        (Request((30,), Options.of_flags({"memory": "nanGiB"})), "not a size"),
    ],
)
def test_an_impossible_request_is_refused_and_leaves_nothing(window, tmp_path, request_, said):
    trajectory, base = window
    with pytest.raises(InputError, match=said):
        extrapolate_folder(trajectory, base, request_, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_all_faults_of_a_request_are_reported_together(window, tmp_path):
    with pytest.raises(InputErrors) as caught:
        extrapolate_folder(*window, Request((3,), Options.of_flags({"rank": 99, "shrink": -1.0})), tmp_path / "out")
    assert len(caught.value.errors) == 3


def test_an_output_that_exists_is_left_alone(window, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        extrapolate_folder(*window, Request((30,)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_full_disk_leaves_nothing(window, tmp_path, monkeypatch, call):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match="out: cannot write the checkpoint; found No space left"):
        extrapolate_folder(*window, Request((30,)), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_missing_cuda_device_is_said(window, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(InputError, match="no CUDA device"):
        extrapolate_folder(*window, Request((30,), options=Options(device="cuda")), tmp_path / "out")


@pytest.mark.parametrize("codec", ["float32", "bfloat16", "float16", "int8"])
def test_materialize_gives_an_observed_step_back(tmp_path, codec):
    model = tiny_llama()
    base = save(model, tmp_path / "base", shard="4KB")
    path = line_with_noise(rate=1e-3)
    trajectory = write_trajectory(tmp_path / "window", base, STEPS, path, codec=codec)
    materialize(trajectory, base, 15, tmp_path / "out")
    assert (tmp_path / "out" / INDEX).exists()
    start = base_tensors(base)
    for name, value in base_tensors(tmp_path / "out").items():
        delta = path(15, name, start[name])
        error = {"float32": 1e-7, "bfloat16": 2.0**-8, "float16": 2.0**-11, "int8": 1 / 50}[codec]
        assert (value - start[name] - delta).norm() <= error * delta.norm() + 6e-8 * start[name].norm()
    with pytest.raises(InputError, match="not an observed step"):
        materialize(trajectory, base, 4, tmp_path / "other")


def test_materialize_gives_a_foreign_checkpoint_back_bit_by_bit(tmp_path):
    model = tiny_llama()
    base = save(model, tmp_path / "base", dtype=torch.bfloat16)
    source = write_checkpoints(tmp_path / "full", model, STEPS, line_with_noise(rate=1e-2), dtype=torch.bfloat16)
    import_checkpoints(source, base, tmp_path / "window")
    materialize(tmp_path / "window", base, 8, tmp_path / "out")
    wanted, found = base_tensors(source / "checkpoint-8"), base_tensors(tmp_path / "out")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
