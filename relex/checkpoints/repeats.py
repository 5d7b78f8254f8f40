"""Which of several checkpoints hold the same weights, and the one line that says so."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.tensors import CheckpointReader

_SHOWN = 8  # groups, and steps of a group, that the line lists
_LOOK = 64  # bytes at three places of every tensor


def same_weights(checkpoints: Iterable[tuple[int, Path]]) -> list[list[int]]:
    """Steps of (step, folder) whose weights are equal bit for bit, in groups of two and more, however they are sharded.

    A look at a few bytes of every tensor tells most apart; only those that it does not are hashed.
    """
    alike = _groups((_glance(folder), (step, folder)) for step, folder in checkpoints)
    found = []
    for group in alike:
        found += _groups((weights_sha256(folder), step) for step, folder in group)
    return found


def same_content(steps: Iterable[tuple[int, Sequence[str]]]) -> list[list[int]]:
    """Steps of (step, hashes of its files) whose files are equal, in groups of two and more."""
    return _groups((tuple(hashes), step) for step, hashes in steps)


SAVED = "frozen weights or a repeated save?"  # what may be behind it where checkpoints were saved
TRAINED = "nothing was learnt between them: no differences in reward within a group, or a learning rate of zero"


def warn(groups: Sequence[Sequence[int]], where: object, why: str = SAVED) -> None:
    """One line on stderr however many there are; nothing for none."""
    if groups:
        shown = "; ".join(_group(steps) for steps in groups[:_SHOWN])
        more = f"; and {len(groups) - _SHOWN} more groups" if len(groups) > _SHOWN else ""
        print(
            f"relex: warning: {where}: identical checkpoints: steps {shown}{more}; {why}",
            file=sys.stderr,
        )


def _group(steps: Sequence[int]) -> str:
    shown = [str(step) for step in steps]
    return " = ".join(shown if len(shown) <= _SHOWN else [*shown[:3], "...", f"{shown[-1]} ({len(shown)} steps)"])


def _groups(pairs: Iterable[tuple[Any, Any]]) -> list[list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return [values for values in found.values() if len(values) > 1]


def _glance(folder: Path) -> str:
    digest = hashlib.sha256()
    with CheckpointReader(folder) as reader:
        for name in reader.names:
            spec, view = reader.specs[name], memoryview(reader.raw(name))
            middle = len(view) // 2
            digest.update(f"{name}\0{spec.dtype}\0{list(spec.shape)}\n".encode())
            for part in (view[:_LOOK], view[middle : middle + _LOOK], view[-_LOOK:]):
                digest.update(part)
    return digest.hexdigest()
