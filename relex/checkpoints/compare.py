"""Whether two checkpoints can be of one run: the same tensors, ties and constants."""

from __future__ import annotations

from relex.checkpoints.header import FLOATING
from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.tying import implied_heads, tied_twins
from relex.core.errors import CorruptArtifact


def check_same_tensors(base: CheckpointReader, other: CheckpointReader) -> None:
    """CorruptArtifact unless `other` holds the base's tensors, in their shapes and in a dtype no coarser than theirs.

    A tied head may be written out in one of them and left out in the other. A coarser dtype (bfloat16 checkpoints of
    a float32 base) is refused: such deltas are rounding noise.
    """
    optional = {**tied_twins(base), **implied_heads(base, other.names)}
    for name in sorted(set(base.names) ^ set(other.names)):
        if name not in optional:
            what = "a tensor of the base is missing" if name in base.specs else "a tensor that the base lacks"
            todo = "checkpoints and base must be of one run"
            raise CorruptArtifact(what, where=f"{other.folder}: {name[:200]}", todo=todo)
    for name in sorted(set(base.names) & set(other.names)):
        mine, yours = base.specs[name], other.specs[name]
        finer = mine.dtype in FLOATING and yours.dtype == "F32"
        if mine.shape != yours.shape or not (mine.dtype == yours.dtype or finer):
            raise CorruptArtifact(
                "wrong shape or dtype",
                where=f"{other.folder}: {name}",
                expected=f"{mine.dtype} {list(mine.shape)}",
                found=f"{yours.dtype} {list(yours.shape)}",
                todo="give the base in the dtype the checkpoints have" if mine.shape == yours.shape else "",
            )


def check_tied(reader: CheckpointReader, base: CheckpointReader) -> None:
    """CorruptArtifact when a head that the base leaves out as tied is not its embedding in this checkpoint."""
    for head, embedding in implied_heads(base, reader.names).items():
        if reader.raw(head) != reader.raw(embedding):
            raise CorruptArtifact("the base ties this head to its embedding", where=f"{reader.folder}: {head}")


def check_constants(reader: CheckpointReader, base: CheckpointReader) -> None:
    """CorruptArtifact when a tensor that no delta can be taken of (integers, 8-bit floats) differs from the base."""
    for name in base.names:
        if base.specs[name].dtype not in FLOATING and name in reader.specs and reader.raw(name) != base.raw(name):
            raise CorruptArtifact("this tensor must not change", where=f"{reader.folder}: {name}")
