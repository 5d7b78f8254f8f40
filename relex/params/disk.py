"""How much disk a night needs, from parameters alone, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relex.checkpoints.size import CheckpointSize
from relex.core.sizes import show_bytes
from relex.stages.base.params import Base, HubBase
from relex.stages.base.size import base_size
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.train.params import AnyTrain, Train
from relex.stages.train.room import state_bytes, trajectory_bytes

_SPARE = 256 << 20  # databases, logs, rows and reports


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


def disk_need(base: Base, train: AnyTrain, extrapolate: Extrapolate, root: Path) -> DiskNeed | None:
    """What a night will write; None where the base's size is not known yet (see `unknown_size`)."""
    found = base_size(base, root)
    return None if found is None else night_bytes(found, train, extrapolate)


def night_bytes(found: CheckpointSize, train: AnyTrain, extrapolate: Extrapolate) -> DiskNeed:
    """What a night on a base of this size will write. Another trainer's checkpoints are named, not copied."""
    return DiskNeed(
        base=found.size,
        trajectory=trajectory_bytes(train, found.parameters) if isinstance(train, Train) else 0,
        training_state=state_bytes(train, found) if isinstance(train, Train) else 0,
        candidates=extrapolate.candidate_bytes(found.size, found.parameters),
        observed=found.size,
        registry=2 * found.size,  # the version, and the champion fetched for comparison
    )


def unknown_size(source: HubBase, train: AnyTrain, extrapolate: Extrapolate) -> str:
    """How to find out what a hub base that is not in the cache will need, and what it needs a billion parameters."""
    billion = night_bytes(CheckpointSize(2 * 10**9, 10**9), train, extrapolate).total
    return (
        f"{show_bytes(billion)} for every billion parameters of a bfloat16 base; how many there are is unknown until "
        f"the Hugging Face cache holds something of {source.repo}. Its index is enough: hf download {source.repo} "
        f"model.safetensors.index.json --revision {source.revision} (model.safetensors, where it is one file)"
    )
