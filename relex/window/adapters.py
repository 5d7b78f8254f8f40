"""Checkpoints that are LoRA adapters, as PEFT saves them: what they change about their base, theta_t - theta_0.

Not A and B themselves: where both move along a line their product moves along a parabola, so it is the product that a
forecast must see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from relex.checkpoints.header import FLOATING
from relex.checkpoints.tensors import ADAPTER, INDEX, SINGLE, CheckpointReader
from relex.checkpoints.tying import tied_names
from relex.core.errors import CorruptArtifact, InputError
from relex.window.adapter_config import CONFIG, Lora

_PREFIX = "base_model.model."


@dataclass
class _Part:
    """What one tensor of the base becomes: its own new values, or the product of two factors on top, or both.

    The names under which the adapter holds them; `module` is what the model calls the factors' place.
    """

    module: str
    full: str = ""
    a: str = ""
    b: str = ""
    embedding: bool = False


def is_adapter(folder: Path) -> bool:
    """Whether a checkpoint folder holds an adapter and no whole weights."""
    return not any((folder / name).exists() for name in (SINGLE, INDEX)) and any(
        (folder / name).exists() for name in (CONFIG, ADAPTER)
    )


class Adapter(Mapping[str, torch.Tensor]):
    """The deltas of one adapter folder, float32 by the base's names, each computed when asked for.

    A context manager. InputError for what is not plain LoRA, a quantised base and tied weights; CorruptArtifact for
    factors that are incomplete or do not fit the base.
    """

    def __init__(self, folder: Path, base: CheckpointReader):
        self.folder, self._base = Path(folder), base
        self._lora = Lora.read(folder)
        if base.config().get("quantization_config"):
            raise InputError(
                "the base is quantised",
                where=base.folder,
                todo="give the unquantised base that it was made from: the change is taken of its weights",
            )
        self._file = CheckpointReader(folder)
        try:
            self._parts = self._read_parts()
            for name, part in self._parts.items():
                self._check(name, part)
        except BaseException:
            self._file.close()
            raise

    def __getitem__(self, name: str) -> torch.Tensor:
        part, theta = self._parts[name], self._base.tensor(name)
        delta = torch.zeros(theta.shape)
        if part.full:
            delta += self._file.tensor(part.full).float() - theta.float()
        if part.a:
            a, b = (self._file.tensor(factor).float() for factor in (part.a, part.b))
            product = (b @ a) * self._lora.scale(part.module, a.shape[0])
            delta += product.T if self._transposed(name, part) else product
        return delta

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Adapter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_parts(self) -> dict[str, _Part]:
        parts: dict[str, _Part] = {}
        for stored in self._file.names:
            plain = stored.removeprefix(_PREFIX)
            factor = re.fullmatch(r"(.+)\.lora_(embedding_)?([AB])(?:\.weight)?", plain)
            if factor:
                part = parts.setdefault(self._name(f"{factor[1]}.weight", stored), _Part(factor[1]))
                part.embedding = bool(factor[2])
                setattr(part, factor[3].lower(), stored)
            elif "lora_" in plain:
                raise InputError("not a tensor of plain LoRA", where=f"{self.folder}: {stored[:200]}")
            else:  # modules_to_save, biases, and embeddings that PEFT saves beside their factors
                own = plain.replace(".base_layer.", ".").replace(".modules_to_save.", ".")
                parts.setdefault(self._name(own, stored), _Part(own.rpartition(".")[0])).full = stored
        return parts

    def _name(self, name: str, stored: str) -> str:
        """The base's own name of a tensor; a checkpoint may leave out the model's outermost part."""
        found = [name] if name in self._base.specs else [own for own in self._base.names if name.endswith("." + own)]
        if len(found) == 1:
            return found[0]
        head = name.endswith(("lm_head.weight", "embed_out.weight"))
        tied = "the base ties it to its embedding: what it becomes alone cannot be written" if head else ""
        raise InputError(
            "a tensor that the base lacks",
            where=f"{self.folder}: {stored[:200]}",
            expected=f"one of {self._base.folder}",
            todo=tied or "adapters and base must be of one model",
        )

    def _check(self, name: str, part: _Part) -> None:
        where, spec = f"{self.folder}: {name[:200]}", self._base.specs[name]
        if spec.dtype not in FLOATING:
            raise InputError(
                "the base is quantised",
                where=f"{self._base.folder}: {name}",
                found=spec.dtype,
                todo="give it unquantised",
            )
        if name in tied_names(self._base) and not self._stays(name, part):
            raise InputError(
                "the adapter changes a weight that the base ties to another",
                where=where,
                todo="merging would untie them, or change both; train without it in target_modules and modules_to_save",
            )
        specs = self._file.specs
        if part.full and specs[part.full].shape != spec.shape:
            raise CorruptArtifact("wrong shape", where=where, expected=spec.shape, found=specs[part.full].shape)
        if bool(part.a) != bool(part.b):
            raise CorruptArtifact("one of the two factors is missing", where=where)
        if part.a:
            a, b = specs[part.a].shape, specs[part.b].shape
            fits = len(a) == len(b) == 2 and a[0] == b[1] and spec.shape in ((b[0], a[1]), (a[1], b[0]))
            if not fits:
                raise CorruptArtifact(
                    "the factors do not fit the weight", where=where, expected=spec.shape, found=(b, a)
                )
            if not self._lora.can_have_rank(part.module, a[0]):
                raise CorruptArtifact("another rank than the configuration says", where=where, found=a[0])
            self._lora.scale(part.module, a[0])  # it is said before anything is written

    def _stays(self, name: str, part: _Part) -> bool:
        """Whether a tensor is only saved along, with the base's own values."""
        return (
            not part.a
            and self._file.specs[part.full].shape == self._base.specs[name].shape
            and torch.equal(self._file.tensor(part.full).float(), self._base.tensor(name).float())
        )

    def _transposed(self, name: str, part: _Part) -> bool:
        shape = (self._file.specs[part.b].shape[0], self._file.specs[part.a].shape[1])
        if shape[0] != shape[1]:
            return shape != self._base.specs[name].shape
        return part.embedding or self._lora.fan_in_fan_out
