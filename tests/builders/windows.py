"""Tiny real checkpoints and trajectories on disk, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from relex.trajectory.writer import TrajectoryWriter

Path_ = Callable[[int, str, torch.Tensor], torch.Tensor]  # (step, tensor name, theta_0) -> delta, float32


def tiny_llama(*, seed: int = 0, tied: bool = True, bias: bool = False, **changes: Any) -> PreTrainedModel:
    """A two-layer Llama with a few thousand weights, float32."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 48,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        **changes,
    }
    config = LlamaConfig(**sizes, tie_word_embeddings=tied, attention_bias=bias)
    return LlamaForCausalLM(config).eval()


def save(model: PreTrainedModel, folder: Path, *, dtype: torch.dtype = torch.float32, shard: str = "1GB") -> Path:
    """Save a model as a checkpoint folder; `shard` is transformers' max_shard_size."""
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return folder


def line_with_noise(*, seed: int = 0, rate: float = 1e-4, noise: float = 1e-4) -> Path_:
    """Deltas that grow linearly along a fixed direction per tensor, plus independent noise at every step."""

    def delta(step: int, name: str, theta: torch.Tensor) -> torch.Tensor:
        direction = torch.randn(theta.shape, generator=_generator(seed, name))
        return step * rate * direction + noise * torch.randn(theta.shape, generator=_generator(seed + step, name))

    return delta


def bent(*, seed: int = 0, rate: float = 1e-4, turn: int = 10) -> Path_:
    """Deltas that follow one direction until step `turn` and an orthogonal one from there on."""

    def delta(step: int, name: str, theta: torch.Tensor) -> torch.Tensor:
        first = torch.randn(theta.shape, generator=_generator(seed, name))
        second = torch.randn(theta.shape, generator=_generator(seed + 1, name))
        return rate * (min(step, turn) * first + max(step - turn, 0) * second)

    return delta


def _generator(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + sum(ord(c) * 31**i for i, c in enumerate(name)) % 2**40)


def deltas_at(step: int, base: Mapping[str, torch.Tensor], path: Path_) -> dict[str, torch.Tensor]:
    """The deltas of all tensors at one step, float32."""
    return {name: path(step, name, theta) for name, theta in base.items()}


def base_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint folder, copied."""
    from relex.checkpoints.tensors import CheckpointReader

    with CheckpointReader(folder) as reader:
        return {name: reader.tensor(name).clone() for name in reader.names}


def write_trajectory(
    folder: Path, base: Path, steps: list[int], path: Path_, *, codec: str = "float32", rewards: bool = False
) -> Path:
    """A trajectory of our own kind over `base`."""
    writer = TrajectoryWriter(folder, base=base, codec=codec, identity={"made_by": "tests"})
    tensors = base_tensors(base)
    for step in steps:
        writer.append(step, deltas_at(step, tensors, path), reward=step / 100 if rewards else None)
    return folder


def write_checkpoints(
    folder: Path,
    model: PreTrainedModel,
    steps: list[int],
    path: Path_,
    *,
    layout: str = "checkpoint-{}",
    dtype: torch.dtype = torch.float32,
    shard: str = "1GB",
) -> Path:
    """Full checkpoints of theta_0 + delta under a foreign layout, `{}` standing for the step."""
    origin = {name: value.clone() for name, value in model.state_dict().items()}
    for step in steps:
        moved = {name: (value.float() + path(step, name, value)).to(value.dtype) for name, value in origin.items()}
        model.load_state_dict(moved)
        save(model, folder / layout.format(step), dtype=dtype, shard=shard)
    model.load_state_dict(origin)
    return folder
