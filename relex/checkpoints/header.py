"""The header of a safetensors file, read and written: which tensor lies where. Needs no torch.

The format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the tensors' bytes).
Every header is checked before a byte of a tensor is used, because the files come from elsewhere.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from relex.core.errors import CorruptArtifact, InputError

_MAX_HEADER = 100_000_000  # the format's own limit
# Bytes of one value, by the format's names of dtypes.
ITEM_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}
FLOATING = frozenset({"F32", "F16", "BF16"})  # what a delta can be taken of


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies: safetensors dtype name, shape, and its bytes [start, start + nbytes) in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return ITEM_BYTES[self.dtype]


def read_header(path: Path) -> tuple[dict[str, TensorSpec], dict[str, str]]:
    """The tensors of a safetensors file in the order of their bytes, and the file's metadata.

    InputError when the file is missing or unreadable; CorruptArtifact when it is truncated or its header is not
    sound: bytes that overlap, leave holes, pass the end, or do not agree with dtype and shape.
    """
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            prefix = handle.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(size - 8, _MAX_HEADER):
                raise CorruptArtifact(
                    "truncated or not a safetensors file",
                    where=path,
                    expected=f"a header of {length} bytes" if len(prefix) == 8 else "at least 8 bytes",
                    found=f"a file of {size} bytes",
                )
            text = handle.read(length)
    except FileNotFoundError:
        raise InputError("the file is missing", where=path, todo="the folder is not whole: copy it again") from None
    except OSError as error:
        raise InputError("the file cannot be read", where=path, found=error.strerror or error) from error
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptArtifact("the header is not JSON", where=path, found=str(error)[:200]) from None
    return _check_header(path, header, 8 + length, size)


def _check_header(path: Path, header: Any, begin: int, size: int) -> tuple[dict[str, TensorSpec], dict[str, str]]:
    def bad(what: str, name: str, found: object = "") -> CorruptArtifact:
        return CorruptArtifact(what, where=f"{path}: {name[:200]}", found=found)

    if not isinstance(header, dict):
        raise CorruptArtifact("the header is not a JSON object", where=path, found=type(header).__name__)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise bad("the metadata is not a mapping of strings", "__metadata__")
    specs = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
            raise bad("the header's entry lacks dtype, shape or data_offsets", name)
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
            raise bad(f"unknown dtype; known are {', '.join(ITEM_BYTES)}", name, str(dtype)[:50])
        if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
            raise bad("the shape is not a list of whole numbers", name, str(shape)[:100])
        if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int and n >= 0 for n in offsets)):
            raise bad("data_offsets are not two whole numbers", name, str(offsets)[:100])
        nbytes = math.prod(shape) * ITEM_BYTES[dtype]
        if offsets[1] - offsets[0] != nbytes:
            raise bad(f"dtype and shape take {nbytes} bytes, data_offsets say otherwise", name, offsets)
        specs.append(TensorSpec(name, dtype, tuple(shape), begin + offsets[0], nbytes))
    specs.sort(key=lambda spec: (spec.start, spec.nbytes))
    end = begin
    for spec in specs:
        if spec.start != end:
            raise bad("the bytes of the tensors overlap or leave a hole", spec.name, f"{spec.start}, not {end}")
        end += spec.nbytes
    if end != size:
        raise CorruptArtifact(
            "truncated or padded", where=path, expected=f"{end} bytes by its header", found=f"{size} bytes"
        )
    return {spec.name: spec for spec in specs}, metadata


def write_header(
    handle: BinaryIO,
    layout: Mapping[str, tuple[str, tuple[int, ...]]],
    metadata: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Write the header of a safetensors file whose tensors follow in the order of `layout` (the format's
    name of the dtype, and the shape, by tensor).

    Returns where in the file each tensor begins; the first lies on a multiple of 8 bytes.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    begins, end = {}, 0
    for name, (dtype, shape) in layout.items():
        begins[name], start = end, end
        end += math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    handle.write(len(text).to_bytes(8, "little") + text)
    return {name: 8 + len(text) + begin for name, begin in begins.items()}
