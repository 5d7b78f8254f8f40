"""What a checkpoint folder is: its weights, whatever files they lie in, and all else that changes what it says."""

from __future__ import annotations

import hashlib
from pathlib import Path

from relex.checkpoints.side_files import speaking_files
from relex.checkpoints.tensors import CheckpointReader
from relex.core.digest import file_sha256, json_sha256

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


def speech_sha256(folder: Path) -> str:
    """Hash of the files beside the weights that change what a model says: configuration, tokenizer, templates, code."""
    return json_sha256({path.name: file_sha256(path) for path in speaking_files(folder)})


def model_sha256(folder: Path) -> str:
    """What a model is: the hash of its weights and of everything beside them that changes what it says.

    The same weights under another tokenizer or another rope_theta are another model. Cards, licences and lineages are
    not part of it.
    """
    return combined(weights_sha256(folder), speech_sha256(folder))


def combined(weights: str, speech: str) -> str:
    """model_sha256 from weights_sha256 and speech_sha256."""
    return json_sha256({"weights": weights, "speech": speech})
