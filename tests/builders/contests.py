"""Folders ready to be evaluated: real problems, and real models that differ in what they are worth."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from relex.checkpoints.digest import model_sha256
from relex.core import hop, workspace
from relex.core.atomic import write_json
from relex.core.digest import json_sha256
from relex.params.load import Params, load
from relex.rewards import problem as problem_set
from relex.stages.base.embedded import pretrain
from relex.stages.base.params import EmbeddedBase
from tests.builders import ROOT

SIZES = {"train": 20, "validation": 120, "test": 40, "ood": 40}
SMALL: Mapping[str, Any] = {
    "problems.sizes": SIZES,
    "train.prompts_per_step": 4,
    "train.per_device_train_batch_size": 32,
    "evaluate.proof": {"first": 20, "race_samples": 4, "samples": 8},
    "evaluate.engines": 2,
}


def write_params(folder: Path, changes: Mapping[str, Any]) -> Params:
    """The committed params.yaml in `folder` with dotted keys changed; what it says."""
    yaml = YAML()
    document = yaml.load((ROOT / "params.yaml").read_text())
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = document
        for parent in parents:
            section = section[parent]
        section[last] = value
    with open(folder / "params.yaml", "w") as handle:
        yaml.dump(document, handle)
    return load(folder / "params.yaml")


def pretrained(params: Params, steps: int, wrong_share: tuple[float, float], out: Path) -> None:
    """An embedded model after `steps` of pretraining on a corpus with that share of the wrong procedure."""
    source = params.base.source
    assert isinstance(source, EmbeddedBase)
    recipe = source.pretraining.model_copy(
        update={
            "steps": steps,
            "warmup_steps": 10,
            "wrong_share_low": wrong_share[0],
            "wrong_share_high": wrong_share[1],
        }
    )
    held_out = {p.prompt for split in problem_set.SPLITS[1:] for p in problem_set.load_split(workspace.PROBLEMS, split)}
    source = source.model_copy(update={"pretraining": recipe})
    key = json_sha256([source.model_dump(mode="json"), sorted(held_out)])
    kept = _kept() / key
    if not kept.is_dir():
        making = kept.with_suffix(".making")
        making.mkdir()
        pretrain(source, held_out, making)
        making.rename(kept)
    shutil.copytree(kept, out)


@cache
def _kept() -> Path:
    """Where this process keeps the models that it has pretrained: several files of tests ask for the same ones."""
    folder = Path(tempfile.mkdtemp(prefix="relex-pretrained-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def changed(source: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """A copy of a checkpoint folder with its tensors changed in place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, out)
    tensors = load_file(out / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def add_noise(tensors: dict[str, torch.Tensor]) -> None:
    """Enough noise to ruin the model."""
    generator = torch.Generator().manual_seed(0)
    for tensor in tensors.values():
        tensor += 0.5 * tensor.std() * torch.randn(tensor.shape, generator=generator)


def spoil(tensors: dict[str, torch.Tensor]) -> None:
    """One value that is not a number."""
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")


def always(token: int) -> Callable[[dict[str, torch.Tensor]], None]:
    """Make a model with tied embeddings and residual layers answer with this token whatever it is asked.

    The layers add nothing, and every token's embedding points one way, that of `token` furthest.
    """

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                tensor.zero_()
        embedding = tensors["model.embed_tokens.weight"]
        embedding.zero_()
        embedding[:, 0] = 1.0
        embedding[token, 0] = 100.0
        tensors["model.norm.weight"].fill_(1.0)

    return change


def set_observed_step(step: int) -> None:
    """What the stage extrapolate says beside the candidates of the step that was observed last."""
    write_json(workspace.EXTRAPOLATION_METRICS, {"observed_step": step})


def set_champion(folder: Path | None) -> None:
    """hop.json with a champion, and its weights from `folder`; None for no champion."""
    shutil.rmtree(workspace.CHAMPION_WEIGHTS, ignore_errors=True)
    if folder is None:
        hop.write(hop.Hop())
        return
    shutil.copytree(folder, workspace.CHAMPION_WEIGHTS)
    hop.write(hop.Hop(champion=hop.Model(version="3", model_sha256=model_sha256(folder))))
