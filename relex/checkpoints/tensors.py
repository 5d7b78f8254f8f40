"""Streaming tensors out of safetensors files and checkpoint folders: mapped, checked, never loaded as a whole.

The format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the tensors' bytes).
Every header is checked before a byte of a tensor is used, because the files come from elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from relex.checkpoints.header import read_header
from relex.core.errors import CorruptArtifact, InputError

SINGLE, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"


if TYPE_CHECKING:
    import torch

# torch's names of the dtypes. It is imported only where a tensor of its own is asked for: most callers want bytes.
_TORCH: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype with one of the format's names."""
    import torch

    return getattr(torch, _TORCH[name])


class TensorFile:
    """One safetensors file, mapped into memory on first use. Views stay valid after close()."""

    def __init__(self, path: Path):
        """Read and check the header; errors as read_header's."""
        self.path = Path(path)
        self.specs, self.metadata = read_header(self.path)
        self._map: mmap.mmap | None = None

    def raw(self, name: str) -> memoryview:
        """The bytes of one tensor, read-only, without a copy."""
        spec = self.specs[name]
        return memoryview(self._mapped())[spec.start : spec.start + spec.nbytes].toreadonly()

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor on the mapped bytes, without a copy; writing to it changes memory only, never the file."""
        import torch

        spec = self.specs[name]
        dtype = torch_dtype(spec.dtype)
        if spec.nbytes == 0:
            return torch.empty(spec.shape, dtype=dtype)
        flat = torch.frombuffer(self._mapped(), dtype=torch.uint8, offset=spec.start, count=spec.nbytes)
        # The format does not align tensors to their item size; a copy of such a tensor is then needed.
        aligned = flat if spec.start % spec.itemsize == 0 else flat.clone()
        return aligned.view(dtype).reshape(spec.shape)

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            with open(self.path, "rb") as handle:
                self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._map

    def close(self) -> None:
        """Let go of the mapping; it ends with its last view."""
        self._map = None


class CheckpointReader:
    """The tensors of a checkpoint folder: model.safetensors, or shards with an index, or adapter_model.safetensors.

    `names` is sorted; `specs[name]` has dtype, shape and nbytes; `files` maps each file name to its TensorFile in
    the folder's own order. A context manager. Two-file ambiguities are settled as transformers does: the single
    file first.
    """

    def __init__(self, folder: Path):
        """Read and check every header and the index; InputError or CorruptArtifact name the faulty file."""
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError("not a checkpoint folder", where=self.folder, expected=f"a folder with {SINGLE}")
        self.files: dict[str, TensorFile] = {}
        self.index: dict[str, Any] | None = None
        if (self.folder / SINGLE).exists():
            self.files[SINGLE] = TensorFile(self.folder / SINGLE)
        elif (self.folder / INDEX).exists():
            self._open_shards()
        elif (self.folder / ADAPTER).exists():
            self.files[ADAPTER] = TensorFile(self.folder / ADAPTER)
        else:
            raise InputError(
                "no weights in safetensors format",
                where=self.folder,
                expected=f"{SINGLE}, {INDEX} or {ADAPTER}",
                todo="pickled weights are not read: save the checkpoint as safetensors",
            )
        self.file_of = {name: file for file, opened in self.files.items() for name in opened.specs}
        self.names = sorted(self.file_of)
        self.specs = {name: self.files[self.file_of[name]].specs[name] for name in self.names}

    def _open_shards(self) -> None:
        path = self.folder / INDEX
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            weight_map = index["weight_map"]
            if not all(isinstance(file, str) for file in weight_map.values()):
                raise TypeError("weight_map holds something other than file names")
        except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptArtifact("not an index of shards", where=path, found=str(error)[:200]) from None
        for file in sorted(set(weight_map.values())):
            if file in {"", ".", ".."} or "/" in file or "\\" in file or "\0" in file:
                raise InputError("a shard's name leaves the folder", where=path, found=repr(file[:200]))
            self.files[file] = TensorFile(self.folder / file)
        listed = {(name, file) for name, file in weight_map.items()}
        held = {(name, file) for file, opened in self.files.items() for name in opened.specs}
        for name, file in sorted(listed ^ held)[:1]:
            what = "the index lists a tensor that the shard lacks" if (name, file) in listed else "not in the index"
            raise CorruptArtifact(what, where=f"{self.folder / file}: {name[:200]}", found=f"index {path.name}")
        self.index = index

    def raw(self, name: str) -> memoryview:
        """The bytes of one tensor, read-only, without a copy."""
        return self.files[self.file_of[name]].raw(name)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor on the mapped bytes, without a copy."""
        return self.files[self.file_of[name]].tensor(name)

    def config(self) -> dict[str, Any]:
        """config.json as a dictionary; empty where there is none (adapters)."""
        with contextlib.suppress(FileNotFoundError):
            path = self.folder / "config.json"
            try:
                config = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise CorruptArtifact("not JSON", where=path, found=error) from None
            if not isinstance(config, dict):
                raise CorruptArtifact("not a JSON object", where=path)
            return config
        return {}

    def close(self) -> None:
        for opened in self.files.values():
            opened.close()

    def __enter__(self) -> CheckpointReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
