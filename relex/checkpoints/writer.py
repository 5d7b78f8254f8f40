"""Writing a checkpoint in another checkpoint's layout: same files, order, dtypes and metadata, tensor by tensor.

The whole header is known before the first byte, so tensors (or parts of them) are written straight to their place
in the file, in any order and from any thread; the model is never held in memory.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from relex.checkpoints.header import read_header, write_header
from relex.checkpoints.tensors import INDEX, CheckpointReader, TensorFile, torch_dtype
from relex.core.errors import InputError, RelexError
from relex.core.owner import final_name

if TYPE_CHECKING:
    import torch

_SYNC_BYTES = 32 << 20


class CheckpointWriter:
    """A checkpoint folder with the layout of `like`: write every tensor once, in any order, then finish().

    A context manager over an existing empty `folder` (a temporary one: see atomic.new_folder). Leaving it without an
    error calls finish(). Thread-safe: parts go to disjoint places by pwrite. Written bytes are synced in the
    background while the work goes on, so that finishing waits for the last of them only.

    With `join`, another writer has made the files: this one writes some tensors into them and finishes nothing; the
    other accepts() them.
    """

    def __init__(self, folder: Path, like: CheckpointReader, *, join: bool = False):
        self.folder, self._like, self._join = Path(folder), like, join
        self._unsynced = 0
        self._sync = ThreadPoolExecutor(1, thread_name_prefix="relex-sync")
        self._files: dict[str, BinaryIO] = {}
        self._left = {name: spec.nbytes for name, spec in like.specs.items()}
        self._begin: dict[str, int] = {}
        self._lock = threading.Lock()
        try:
            for file, opened in like.files.items():
                self._open(file, opened)
        except OSError as error:
            self._close()
            raise self._full(error) from error

    def _open(self, file: str, like: TensorFile) -> None:
        """Reserve the file's whole size, so that a full disk shows before the work, and write its header."""
        if self._join:
            self._files[file] = open(self.folder / file, "r+b", buffering=0)  # noqa: SIM115
            self._begin.update({spec.name: spec.start for spec in read_header(self.folder / file)[0].values()})
            return
        layout = {spec.name: (spec.dtype, spec.shape) for spec in like.specs.values()}
        handle = open(self.folder / file, "xb", buffering=0)  # noqa: SIM115
        self._files[file] = handle
        self._begin.update(write_header(handle, layout, like.metadata))
        size = sum(spec.nbytes for spec in like.specs.values())
        if size:
            os.posix_fallocate(handle.fileno(), 0, handle.tell() + size)

    def write(self, name: str, values: torch.Tensor, offset: int = 0) -> None:
        """Write the elements [offset, offset + n) of a tensor; `values` [n] (any shape) must have its dtype."""
        import torch  # a tensor was given: it is loaded

        if values.dtype != torch_dtype(self._like.specs[name].dtype):
            raise ValueError(f"{name}: {values.dtype} given for {self._like.specs[name].dtype}")
        flat = values.detach().contiguous().reshape(-1)
        data = memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else memoryview(b"")
        self.write_raw(name, data, offset * values.element_size())

    def write_raw(self, name: str, data: memoryview | bytes, offset: int = 0) -> None:
        """Write bytes of a tensor, beginning at byte `offset` of it."""
        data = memoryview(data)
        handle = self._files[self._like.file_of[name]].fileno()
        try:
            self._pwrite(handle, data, self._begin[name] + offset)
        except OSError as error:
            raise self._full(error) from error
        with self._lock:
            self._left[name] -= len(data)
            self._unsynced += len(data)
            if self._unsynced >= _SYNC_BYTES:
                self._unsynced = 0
                # An error here comes again from the sync that ends the work; see atomic.new_folder.
                self._sync.submit(os.fdatasync, handle)

    def accept(self, names: Iterable[str]) -> None:
        """Count tensors as complete that joined writers have written."""
        self._left.update(dict.fromkeys(names, 0))

    def finish(self) -> None:
        """Check that every tensor is complete, write the index of shards, close the files."""
        if self._join:
            self._close()
            return
        wrong = {name: left for name, left in self._left.items() if left}
        if wrong:
            name = min(wrong)
            raise RelexError(f"{self.folder}: {len(wrong)} tensors incomplete, {name} by {wrong[name]} bytes")
        if self._like.index is not None:
            text = json.dumps(self._like.index, indent=2, sort_keys=True) + "\n"
            (self.folder / INDEX).write_text(text, encoding="utf-8")
        self._close()

    def _full(self, error: OSError) -> InputError:
        return InputError(
            "cannot write the checkpoint",
            where=final_name(self.folder.parent),
            found=error.strerror or str(error),
            todo="nothing was left under the output's name; free space there or name another output",
        )

    @staticmethod
    def _pwrite(handle: int, data: memoryview, position: int) -> None:
        while len(data):
            done = os.pwrite(handle, data[: 1 << 30], position)
            data, position = data[done:], position + done

    def _close(self) -> None:
        self._sync.shutdown(cancel_futures=True)
        for handle in self._files.values():
            handle.close()
        self._files.clear()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self._close()
