"""The disk that a night needs, from parameters and what is known about the base, without writing anything."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import pytest
import torch

from relex.checkpoints.size import CheckpointSize, folder_size
from relex.core.errors import InputError
from relex.core.sizes import show_bytes
from relex.params.disk import disk_need, unknown_size
from relex.params.load import Params, load
from relex.stages.base.params import HubBase
from relex.stages.base.size import base_size, embedded_parameters
from relex.stages.train.params import Lora
from relex.stages.train.room import check_room_for_training, state_bytes, trajectory_bytes
from tests.builders.windows import save, tiny_llama
from tests.params.test_load import COMMITTED

Usage = collections.namedtuple("Usage", "total used free")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = HubBase(kind="hub", repo="team/tiny", revision="main")


@pytest.fixture(scope="module")
def params() -> Params:
    return load(COMMITTED)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot folder of an empty repository in a Hugging Face cache of its own."""
    repository = tmp_path / "hub" / "models--team--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


def test_the_need_follows_window_codec_targets_and_base(params: Params, tmp_path: Path) -> None:
    need = disk_need(params.base, params.train, params.extrapolate, tmp_path)
    assert need is not None
    parameters = embedded_parameters(params.base.source)
    assert params.train.codec == "float16"
    assert need.trajectory == 12 * parameters * 2
    assert need.candidates == 15 * need.base == 15 * 4 * parameters  # five targets by three rays
    assert need.training_state == 2 * 3 * 4 * parameters
    assert need.total > need.trajectory + need.candidates + need.training_state
    named = params.extrapolate.model_copy(update={"targets": (90, 180, 300, 450, 630)})
    assert disk_need(params.base, params.train, named, tmp_path) == need  # `auto` places five at most


@pytest.mark.parametrize("shard", ["1GB", "8KB"])
def test_a_folder_is_measured_by_its_headers_in_any_dtype(tmp_path: Path, shard: str) -> None:
    model = tiny_llama()
    count = sum(parameter.numel() for parameter in model.parameters())
    folder = save(model, tmp_path / "base", dtype=torch.bfloat16, shard=shard)
    found = folder_size(folder)
    assert found.parameters == count
    assert found.size == sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def test_adapters_keep_a_smaller_state(tmp_path: Path, params: Params) -> None:
    base = folder_size(save(tiny_llama(), tmp_path / "base"))
    lora = params.train.model_copy(update={"lora": Lora(r=2, alpha=4)})
    # Two layers, hidden 16, feed-forward 24, two heads of 8 and one key-value head: r (in + out) per linear module.
    modules = 2 * ((16 + 16) + (16 + 8) + (16 + 8) + (16 + 16) + 3 * (16 + 24))
    assert state_bytes(lora, base) == 2 * modules * 3 * 4 * 2
    assert state_bytes(params.train, base) == base.parameters * 3 * 4 * 2


def test_a_hub_base_is_unknown_until_its_index_or_weights_are_in_the_cache(cache: Path, params: Params) -> None:
    base = params.base.model_copy(update={"source": HUB})
    assert base_size(base, Path()) is None
    assert disk_need(base, params.train, params.extrapolate, Path()) is None
    said = unknown_size(HUB, params.train, params.extrapolate)
    assert "hf download team/tiny model.safetensors.index.json --revision main" in said
    index = {"metadata": {"total_size": 2000}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (cache / "model.safetensors.index.json").write_text(json.dumps(index))
    assert base_size(base, Path()) == CheckpointSize(2000, 1000)
    (cache / "model.safetensors.index.json").unlink()
    save(tiny_llama(), cache)
    assert base_size(base, Path()) == folder_size(cache)


def test_a_sharded_hub_base_is_measured_when_all_of_it_is_in_the_cache(cache: Path, params: Params) -> None:
    base = params.base.model_copy(update={"source": HUB})
    save(tiny_llama(), cache, shard="8KB")
    whole = base_size(base, Path())
    assert whole == folder_size(cache)
    assert whole is not None
    assert whole.shapes is not None
    next(cache.glob("model-00001*")).unlink()
    partial = base_size(base, Path())
    assert partial is not None
    assert partial.shapes is None
    assert partial.parameters == whole.parameters


def test_training_is_refused_when_window_and_state_do_not_fit_and_counts_what_is_there(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tiny_llama(), tmp_path / "base")
    base = folder_size(tmp_path / "base")
    need = trajectory_bytes(params.train, base.parameters) + state_bytes(params.train, base)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, need - 100))
    with pytest.raises(InputError, match=r"too little disk for training.*expected .* free for the window"):
        check_room_for_training(params.train, tmp_path)
    (tmp_path / "trajectory/steps").mkdir(parents=True)
    (tmp_path / "trajectory/steps/000001.safetensors").write_bytes(bytes(100))
    check_room_for_training(params.train, tmp_path)


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
)
def test_bytes_are_shown_for_people(count: int, text: str) -> None:
    assert show_bytes(count) == text
