"""Tied output embeddings: one weight that a checkpoint may hold once, or twice under two names."""

from __future__ import annotations

from collections.abc import Iterable

from relex.checkpoints.tensors import CheckpointReader

_HEADS = ("lm_head.weight", "embed_out.weight")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


def _embedding(names: Iterable[str]) -> str | None:
    found = [name for name in names if name.endswith(_EMBEDDINGS)]
    return found[0] if len(found) == 1 else None


def tied_twins(base: CheckpointReader) -> dict[str, str]:
    """Tensors that `base` holds although they are another tensor again: {output head: input embedding}.

    Only where the configuration says tied and the bytes agree; the head then follows the embedding.
    """
    embedding = _embedding(base.names)
    heads = [name for name in base.names if name.endswith(_HEADS)]
    if not _says_tied(base) or embedding is None or len(heads) != 1:
        return {}
    same_shape = base.specs[heads[0]].shape == base.specs[embedding].shape
    same = same_shape and base.raw(heads[0]) == base.raw(embedding)
    return {heads[0]: embedding} if same else {}


def tied_names(base: CheckpointReader) -> set[str]:
    """The tensors of `base` that its configuration makes one with another, which it may leave out: changing one of
    them alone unties them."""
    return {name for name in base.names if name.endswith(_HEADS + _EMBEDDINGS)} if _says_tied(base) else set()


def _says_tied(base: CheckpointReader) -> bool:
    config = base.config()
    return bool(config.get("tie_word_embeddings", config.get("text_config", {}).get("tie_word_embeddings", False)))


def implied_heads(base: CheckpointReader, names: Iterable[str]) -> dict[str, str]:
    """Among `names`, output heads that `base` leaves out because they are tied: {head: input embedding}."""
    embedding = _embedding(base.names)
    if embedding is None or any(name.endswith(_HEADS) for name in base.names):
        return {}
    return {name: embedding for name in names if name.endswith(_HEADS) and name not in base.specs}
