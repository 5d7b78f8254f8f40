"""How large the base of each kind will be, before it is there."""

from __future__ import annotations

import json
from pathlib import Path

from relex.checkpoints.size import CheckpointSize, folder_size
from relex.core.sizes import FLOAT32_BYTES
from relex.stages.base.package import tensor_shapes
from relex.stages.base.params import Base, EmbeddedBase, FolderBase, HubBase, PackageBase
from relex.stages.base.symbols import SYMBOLS


def base_size(base: Base, root: Path) -> CheckpointSize | None:
    """The size of the base that params.yaml names; None for a hub base that this machine knows nothing about."""
    source = base.source
    if isinstance(source, EmbeddedBase):
        count = embedded_parameters(source)
        return CheckpointSize(count * FLOAT32_BYTES, count)
    if isinstance(source, PackageBase):
        return CheckpointSize.of(tensor_shapes(source), FLOAT32_BYTES)
    if isinstance(source, FolderBase):
        return folder_size(root / source.path)
    return _cached_size(source)


def _cached_size(source: HubBase) -> CheckpointSize | None:
    """From the weights, or else the index, that the Hugging Face cache holds of a hub revision; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(source.repo, "model.safetensors.index.json", revision=source.revision)
    if isinstance(index, str):
        document = json.loads(Path(index).read_text(encoding="utf-8"))
        if all((Path(index).parent / name).is_file() for name in set(document["weight_map"].values())):
            return folder_size(Path(index).parent)
        metadata = document.get("metadata", {})
        size = metadata.get("total_size")
        return None if size is None else CheckpointSize(int(size), int(metadata.get("total_parameters", size // 2)))
    single = try_to_load_from_cache(source.repo, "model.safetensors", revision=source.revision)
    return folder_size(Path(single).parent) if isinstance(single, str) else None


def embedded_parameters(source: EmbeddedBase) -> int:
    """Parameters of the embedded Qwen3 decoder with tied embeddings."""
    hidden, head = source.hidden_size, source.head_dim
    attention = hidden * head * (2 * source.heads + 2 * source.kv_heads) + 2 * head
    layer = attention + 3 * hidden * source.intermediate_size + 2 * hidden
    return len(SYMBOLS) * hidden + source.layers * layer + hidden
