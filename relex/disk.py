"""How much disk a night needs, from parameters alone, before anything is written."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from relex.errors import CorruptArtifact, InputError
from relex.package_base import tensor_shapes
from relex.params import Base, EmbeddedBase, Extrapolate, FolderBase, HubBase, PackageBase, Params, Train
from relex.tensors import read_header
from relex.workspace import BASE, STATE, TRAJECTORY

# Bytes of one value of a delta; int8 keeps two bytes of scale for every 64.
_CODEC_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0 + 2 / 64}
_FLOAT32 = 4
_STATE_VALUES = 3  # per trained parameter: the weight, and Adam's two moments
_STATE_COPIES = 2  # the newest complete state, and the next one while it is being written
_SPARE = 256 << 20  # databases, logs, rows and reports
_NOT_LINEAR = ("embed", "embd", "lm_head", "output.weight")  # two-dimensional, and yet adapters leave them out

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class BaseSize:
    """size: bytes of the base's weight files. parameters: how many values. shapes: of its tensors, where known."""

    size: int
    parameters: int
    shapes: Shapes | None = None

    @classmethod
    def of(cls, shapes: Shapes, width: float) -> BaseSize:
        count = sum(math.prod(shape) for shape in shapes.values())
        return cls(int(count * width), count, shapes)


@dataclass(frozen=True)
class DiskNeed:
    """Bytes a night writes, by artifact. DVC's cache links to the files where the file system can link."""

    base: int
    trajectory: int
    training_state: int
    candidates: int
    observed: int
    registry: int
    spare: int = _SPARE

    @property
    def total(self) -> int:
        written = self.base + self.trajectory + self.training_state + self.candidates + self.observed
        return written + self.registry + self.spare


def disk_need(base: Base, train: Train, extrapolate: Extrapolate, root: Path) -> DiskNeed | None:
    """What a night will write; None where the base's size is not known yet (see `unknown_size`)."""
    found = base_size(base, root)
    return None if found is None else night_bytes(found, train, extrapolate)


def night_bytes(found: BaseSize, train: Train, extrapolate: Extrapolate) -> DiskNeed:
    """What a night on a base of this size will write."""
    return DiskNeed(
        base=found.size,
        trajectory=trajectory_bytes(train, found.parameters),
        training_state=state_bytes(train, found),
        candidates=found.size * extrapolate.target_count,
        observed=found.size,
        registry=2 * found.size,  # the version, and the champion fetched for comparison
    )


def trajectory_bytes(train: Train, parameters: int) -> int:
    """Deltas of every step of the window."""
    return int(parameters * _CODEC_BYTES[train.codec]) * len(train.window.steps)


def state_bytes(train: Train, base: BaseSize) -> int:
    """What a resume needs, twice: the newest state stays until the next one is complete."""
    trained = base.parameters
    if train.lora is not None and base.shapes is not None:
        linear = [shape for name, shape in base.shapes.items() if not any(part in name for part in _NOT_LINEAR)]
        trained = min(trained, sum(train.lora.r * sum(shape) for shape in linear if len(shape) == 2))
    return trained * _STATE_VALUES * _FLOAT32 * _STATE_COPIES


def check_room_for_training(params: Params, root: Path = Path()) -> None:
    """InputError when the window and the training state do not fit beside what an interrupted run has left of them.

    root: the project, with the base in place.
    """
    base = folder_size(root / BASE)
    need = trajectory_bytes(params.train, base.parameters) + state_bytes(params.train, base)
    there = sum(_bytes_below(root / place) for place in (TRAJECTORY, STATE / "train"))
    free = shutil.disk_usage(root).free
    if need - there > free:
        raise InputError(
            "too little disk for training",
            where=root.resolve(),
            expected=f"{show_bytes(need - there)} free for the window and the training state",
            found=show_bytes(free),
            todo="free room, or use a shorter window (train.window) or a smaller codec (train.codec)",
        )


def base_size(base: Base, root: Path) -> BaseSize | None:
    """The size of the base that params.yaml names; None for a hub base that this machine knows nothing about."""
    source = base.source
    if isinstance(source, EmbeddedBase):
        count = embedded_parameters(source)
        return BaseSize(count * _FLOAT32, count)
    if isinstance(source, PackageBase):
        return BaseSize.of(tensor_shapes(source), _FLOAT32)
    if isinstance(source, FolderBase):
        return folder_size(root / source.path)
    return _cached_size(source)


def unknown_size(source: HubBase, train: Train, extrapolate: Extrapolate) -> str:
    """How to find out what a hub base that is not in the cache will need, and what it needs a billion parameters."""
    billion = night_bytes(BaseSize(2 * 10**9, 10**9), train, extrapolate).total
    return (
        f"{show_bytes(billion)} for every billion parameters of a bfloat16 base; how many there are is unknown until "
        f"the Hugging Face cache holds something of {source.repo}. Its index is enough: hf download {source.repo} "
        f"model.safetensors.index.json --revision {source.revision} (model.safetensors, where it is one file)"
    )


def folder_size(folder: Path) -> BaseSize:
    """The size of a checkpoint folder, from its headers; an unreadable header counts as values of two bytes."""
    files = sorted(folder.glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files)
    try:
        shapes = {name: tuple(spec.shape) for file in files for name, spec in read_header(file)[0].items()}
    except (CorruptArtifact, OSError):
        return BaseSize(size, size // 2)  # an upper bound: no supported dtype is narrower
    return BaseSize(size, sum(math.prod(shape) for shape in shapes.values()), shapes)


def _cached_size(source: HubBase) -> BaseSize | None:
    """From the weights, or else the index, that the Hugging Face cache holds of a hub revision; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(source.repo, "model.safetensors.index.json", revision=source.revision)
    if isinstance(index, str):
        document = json.loads(Path(index).read_text(encoding="utf-8"))
        if all((Path(index).parent / name).is_file() for name in set(document["weight_map"].values())):
            return folder_size(Path(index).parent)
        metadata = document.get("metadata", {})
        size = metadata.get("total_size")
        return None if size is None else BaseSize(int(size), int(metadata.get("total_parameters", size // 2)))
    single = try_to_load_from_cache(source.repo, "model.safetensors", revision=source.revision)
    return folder_size(Path(single).parent) if isinstance(single, str) else None


def embedded_parameters(source: EmbeddedBase) -> int:
    """Parameters of the embedded Qwen3 decoder with tied embeddings."""
    from relex.embedded import VOCABULARY_SIZE

    hidden, head = source.hidden_size, source.head_dim
    attention = hidden * head * (2 * source.heads + 2 * source.kv_heads) + 2 * head
    layer = attention + 3 * hidden * source.intermediate_size + 2 * hidden
    return VOCABULARY_SIZE * hidden + source.layers * layer + hidden


def show_bytes(count: int) -> str:
    """Bytes for people: 1.5 GiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.1f} {unit}" if unit != "B" else f"{count} B"
        value /= 1024
    return f"{value:.1f} TiB"


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
