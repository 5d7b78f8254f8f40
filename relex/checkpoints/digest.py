"""What the weights of a checkpoint folder are, whatever files they lie in."""

from __future__ import annotations

import hashlib
from pathlib import Path

from relex.checkpoints.tensors import CheckpointReader

_BLOCK = 1 << 22


def weights_sha256(folder: Path) -> str:
    """Hexadecimal SHA-256 over the names, dtypes, shapes and bytes of all tensors of a checkpoint folder.

    The tensors are taken in the order of their names, so the hash does not depend on how they are sharded nor on
    the metadata of the files. `folder` holds model.safetensors, or shards with model.safetensors.index.json, or
    adapter_model.safetensors.
    """
    digest = hashlib.sha256()
    with CheckpointReader(folder) as reader:
        for name in reader.names:
            spec = reader.specs[name]
            digest.update(f"{name}\0{spec.dtype}\0{list(spec.shape)}\n".encode())
            view = memoryview(reader.raw(name))
            for start in range(0, len(view), _BLOCK):
                digest.update(view[start : start + _BLOCK])
    return digest.hexdigest()
