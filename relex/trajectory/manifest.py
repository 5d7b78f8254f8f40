"""manifest.json of a trajectory: what the window is, and the files and hashes it consists of.

Two kinds: `deltas` (our own: steps/<step>.safetensors hold theta_t - theta_0 under a codec) and `reference` (full
checkpoints that something else saved, named with their hashes and never copied).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from relex.checkpoints import repeats
from relex.checkpoints.header import ITEM_BYTES
from relex.core import atomic
from relex.core.digest import json_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.trajectory import numbering
from relex.trajectory.codec import CODECS

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class StepFile:
    """One file of a step: its name below the step's folder, its SHA-256 and its size in bytes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Step:
    """One observed step: `step` counts true optimiser steps; `reward` is the mean reward of its rollouts if known.

    `folder` is the trajectory itself for deltas ("") and the absolute path of a full checkpoint for references.
    """

    step: int
    files: tuple[StepFile, ...]
    reward: float | None = None
    folder: str = ""

    @property
    def sha256(self) -> str:
        """Content of the step, whatever its folder is called."""
        return json_sha256([[file.file, file.sha256] for file in self.files])

    @property
    def sha256_of_files(self) -> tuple[str, ...]:
        """Hashes of the files alone: equal for steps with the same content under other names."""
        return tuple(file.sha256 for file in self.files)


@dataclass(frozen=True)
class Manifest:
    """The whole of manifest.json. `tensors` maps each name that moves to its dtype and shape in the base."""

    kind: str
    base_sha256: str
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    codec: str
    identity: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "base": {
                "weights_sha256": self.base_sha256,
                "tensors": {name: [dtype, list(shape)] for name, (dtype, shape) in self.tensors.items()},
            },
            "codec": self.codec,
            "identity": self.identity,
            "steps": [asdict(step) for step in self.steps],
        }

    @property
    def sha256(self) -> str:
        """Hash over what the window is: base, codec, identity, steps, rewards, contents; not where it lies."""
        value = self.to_json()
        value["steps"] = [[step.step, step.sha256, step.reward] for step in self.steps]
        return json_sha256(value)

    def save(self, folder: Path) -> None:
        """Write manifest.json atomically."""
        atomic.write_json(Path(folder) / NAME, self.to_json())


def load(folder: Path) -> Manifest:
    """Read and check a trajectory's manifest; InputError when there is none, CorruptArtifact when it is not sound."""
    path = Path(folder) / NAME
    if not path.exists():
        raise InputError(
            "not a trajectory", where=folder, expected=f"a folder with {NAME}", todo="relex import makes one"
        )
    try:
        value = atomic.read_json(path)
    except RecursionError:
        raise CorruptArtifact("the file cannot be read as JSON", where=path, found="nested too deep") from None
    if isinstance(value, dict) and value.get("format") != FORMAT:
        raise InputError("unknown format version", where=path, expected=FORMAT, found=repr(value.get("format")))
    try:
        manifest = _parse(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise CorruptArtifact("not a trajectory's manifest", where=path, found=found) from None
    _check(manifest, path)
    return manifest


def _parse(value: Any) -> Manifest:
    def typed(item: Any, kind: type) -> Any:
        if type(item) is not kind:
            raise TypeError(f"{str(item)[:80]!r} is not {kind.__name__}")
        return item

    steps = []
    for item in typed(value["steps"], list):
        files = tuple(
            StepFile(typed(entry["file"], str), typed(entry["sha256"], str), typed(entry["bytes"], int))
            for entry in typed(item["files"], list)
        )
        reward = None if item["reward"] is None else float(item["reward"])
        steps.append(Step(typed(item["step"], int), files, reward, typed(item["folder"], str)))
    tensors = {
        typed(name, str): (typed(dtype, str), tuple(typed(n, int) for n in typed(shape, list)))
        for name, (dtype, shape) in value["base"]["tensors"].items()
    }
    return Manifest(
        kind=typed(value["kind"], str),
        base_sha256=typed(value["base"]["weights_sha256"], str),
        tensors=tensors,
        codec=typed(value["codec"], str),
        identity=typed(value["identity"], dict),
        steps=tuple(steps),
    )


def _check(manifest: Manifest, path: Path) -> None:
    if manifest.kind not in {"deltas", "reference"}:
        raise CorruptArtifact("unknown kind", where=path, expected="deltas or reference", found=manifest.kind[:50])
    if manifest.codec not in CODECS:
        raise CorruptArtifact("unknown codec", where=path, expected=", ".join(CODECS), found=manifest.codec[:50])
    for name, (dtype, shape) in manifest.tensors.items():
        if dtype not in ITEM_BYTES or any(n < 0 for n in shape):
            raise CorruptArtifact("not a tensor", where=f"{path}: {name[:200]}", found=f"{dtype[:50]} {list(shape)}")
    for step in manifest.steps:
        if not step.files:
            raise CorruptArtifact("a step without files", where=path, found=f"step {step.step}")
        if step.reward is not None and not math.isfinite(step.reward):
            raise CorruptArtifact("a reward is not a number", where=path, found=f"step {step.step}")
        for file in step.files:
            parts = PurePosixPath(file.file).parts
            if not parts or PurePosixPath(file.file).is_absolute() or ".." in parts or "\0" in file.file:
                raise InputError("a step's file leaves the folder", where=path, found=repr(file.file[:200]))
    numbering.check(manifest, path)


def warn_of_repeats(manifest: Manifest, where: Path) -> None:
    """One line on stderr for steps that have the very content of another step."""
    groups = repeats.same_content((step.step, step.sha256_of_files) for step in manifest.steps)
    repeats.warn(groups, where, repeats.TRAINED if "train" in manifest.identity else repeats.SAVED)
