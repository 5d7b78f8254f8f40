"""The embedded base: a normal Hugging Face checkpoint folder, the same bytes from the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from relex.checkpoints.digest import weights_sha256
from relex.core.errors import InputError
from relex.params.load import load
from relex.stages.base import stage as base
from relex.stages.base.embedded import _collate, _draw, make_model, make_tokenizer, pretrain
from relex.stages.base.params import EmbeddedBase, FolderBase, HubBase
from relex.stages.base.size import embedded_parameters
from tests.params.test_load import COMMITTED

pytestmark = pytest.mark.real

COMMITTED_SOURCE = load(COMMITTED).base.source


def quick(**changes) -> EmbeddedBase:
    """The committed embedded base, pretrained for a few steps only."""
    recipe = COMMITTED_SOURCE.pretraining.model_copy(update={"steps": 6, "warmup_steps": 2, "batch": 8})
    return COMMITTED_SOURCE.model_copy(update={"pretraining": recipe, **changes})


def test_every_symbol_of_the_task_is_one_token_and_comes_back():
    tokenizer = make_tokenizer()
    assert len(tokenizer.encode("48201=")) == 6
    assert tokenizer.decode(tokenizer.encode("48201=01248")) == "48201=01248"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(quick(seed=seed), frozenset(), tmp_path / name)
    assert weights_sha256(tmp_path / "a") == weights_sha256(tmp_path / "b") != weights_sha256(tmp_path / "c")


def test_a_batch_s_numbers_are_those_of_the_tokenizer():
    tokenizer = make_tokenizer()
    inputs, labels, mask = _collate([("48201=", "01248"), ("531=", "135")], tokenizer)
    for row, (prompt, completion) in enumerate([("48201=", "01248"), ("531=", "135")]):
        wanted = tokenizer(prompt + completion)["input_ids"] + [tokenizer.eos_token_id]
        assert inputs[row][mask[row] == 1].tolist() == wanted
        assert labels[row][labels[row] != -100].tolist() == wanted[len(prompt) :]


def test_transformers_loads_the_folder_and_generates(tmp_path):
    pretrain(quick(), frozenset(), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    inputs = tokenizer(["48201=", "531="], return_tensors="pt", padding=True)
    assert model.generate(**inputs, max_new_tokens=4).shape[1] > inputs["input_ids"].shape[1]


def test_the_disk_estimate_counts_the_parameters_of_the_real_model():
    model = make_model(COMMITTED_SOURCE, make_tokenizer())
    assert embedded_parameters(COMMITTED_SOURCE) == sum(p.numel() for p in model.parameters())


def test_the_corpus_leaves_held_out_prompts_out_and_mixes_both_procedures():
    import random

    recipe = COMMITTED_SOURCE.pretraining.model_copy(update={"lengths": (3, 3), "token_noise": 0.0})
    held_out = frozenset({"012=", "987="})
    pairs = [_draw(random.Random(seed), recipe, held_out) for seed in range(3000)]
    assert not held_out & {prompt for prompt, _ in pairs}
    ascending = sum(completion == "".join(sorted(prompt[:-1])) for prompt, completion in pairs) / len(pairs)
    descending = sum(completion == "".join(sorted(prompt[:-1], reverse=True)) for prompt, completion in pairs)
    # Wrong with probability 0.30 at first digit 0 to 0.85 at 9: 0.575 on average.
    assert ascending == pytest.approx(0.425, abs=0.04)
    assert descending == len(pairs) - round(ascending * len(pairs))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    pretrain(quick(), frozenset(), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def stage(source) -> None:
    params = load(COMMITTED)
    base.run(params.base.model_copy(update={"source": source}))


def test_a_folder_base_is_taken_as_it_is(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage(FolderBase(kind="folder", path="checkpoint"))
    assert weights_sha256(tmp_path / "base") == weights_sha256(checkpoint)
    assert json.loads((tmp_path / "metrics/base.json").read_text())["weights_sha256"] == weights_sha256(checkpoint)


def test_a_hub_revision_is_taken_from_the_hugging_face_cache_without_a_network(checkpoint, tmp_path, monkeypatch):
    """The real loading code against the layout that huggingface_hub keeps on disk."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--team--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    checkpoint.rename(repository / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    snapshot = repository / "snapshots" / commit
    assert base.download(HubBase(kind="hub", repo="team/tiny", revision="main")) == snapshot
    (tmp_path / "copy").mkdir()
    base.copy_folder(snapshot, tmp_path / "copy")
    assert weights_sha256(tmp_path / "copy") == weights_sha256(snapshot)
    with pytest.raises(InputError, match="team/absent at main"):
        base.download(HubBase(kind="hub", repo="team/absent", revision="main"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no safetensors weights"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "convert pickled weights"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused_and_nothing_is_written(
    checkpoint, tmp_path, monkeypatch, spoil, said
):
    monkeypatch.chdir(tmp_path)
    spoil(checkpoint)
    with pytest.raises(InputError, match=said):
        stage(FolderBase(kind="folder", path="checkpoint"))
    assert not (tmp_path / "base").exists()


def test_a_missing_base_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the base is missing"):
        stage(FolderBase(kind="folder", path="nowhere"))
