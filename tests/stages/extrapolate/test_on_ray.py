"""Extrapolation on a real, local Ray: the same files as in one process, and the same errors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from relex.core.digest import file_sha256, folder_sha256
from relex.core.errors import InputError
from relex.stages.extrapolate.on_ray import balanced
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.trajectory.reader import Trajectory
from relex.window.importing import import_checkpoints
from relex.window.options import Options
from relex.window.request import Request
from relex.window.rows import Window
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints

pytestmark = pytest.mark.real

pytest.importorskip("ray", reason="Ray is an optional extra")
STEPS = [2, 3, 7, 8, 15]


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def window(tmp_path):
    """A sharded model whose tied head is written out."""
    model = tiny_llama(tied=True)
    base = save(model, tmp_path / "base", dtype=torch.bfloat16)
    path = line_with_noise(rate=1e-2)
    source = write_checkpoints(tmp_path / "full", model, STEPS, path, dtype=torch.bfloat16)
    for folder in (base, *source.iterdir()):
        weights = load_file(folder / "model.safetensors")
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    import_checkpoints(source, base, tmp_path / "window")
    return tmp_path / "window", base


@pytest.mark.slow
def test_ray_and_one_process_write_identical_files(cluster, window, tmp_path):
    trajectory, base = window
    request = Request((20, 44), options=Options(rank=2, anchor="last", memory="64MiB", device="cpu"))
    extrapolate_folder(trajectory, base, request, tmp_path / "ray", ray="local")
    cached = file_sha256(trajectory / "cache" / "gram.safetensors")
    (trajectory / "cache" / "gram.safetensors").unlink()
    extrapolate_folder(trajectory, base, request, tmp_path / "one")
    assert folder_sha256(tmp_path / "ray") == folder_sha256(tmp_path / "one")
    assert file_sha256(trajectory / "cache" / "gram.safetensors") == cached
    extrapolate_folder(trajectory, base, request, tmp_path / "known", ray="local")
    assert folder_sha256(tmp_path / "known") == folder_sha256(tmp_path / "one")


@pytest.mark.slow
def test_a_fault_in_a_task_is_the_same_error(cluster, tmp_path):
    model = tiny_llama()
    base = save(model, tmp_path / "base")
    source = write_checkpoints(tmp_path / "full", model, STEPS, line_with_noise())
    path = source / "checkpoint-7" / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"][0] = float("inf")
    save_file(weights, path, metadata={"format": "pt"})
    import_checkpoints(source, base, tmp_path / "window")
    with pytest.raises(InputError, match=r"checkpoint-7/model\.safetensors: model\.norm\.weight.*found 1 of 16"):
        extrapolate_folder(
            tmp_path / "window", base, Request((20,), options=Options(device="cpu")), tmp_path / "out", ray="local"
        )
    assert not (tmp_path / "out").exists()


def test_groups_hold_every_tensor_once_and_are_even(window):
    with Window(Trajectory(window[0]), window[1]) as opened:
        groups = balanced(opened, 3)
        names = sorted(name for group in groups for name in group)
        assert names == [name for name in opened.base.names if name != "lm_head.weight"]
        sizes = [sum(opened.base.specs[name].nbytes for name in group) for group in groups]
        assert max(sizes) <= 1.5 * min(sizes)
        assert len(balanced(opened, 1000)) == len(names)
