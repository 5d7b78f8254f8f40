"""The shape of the base that params.yaml names, before it is there."""

from __future__ import annotations

import json
from pathlib import Path

from relex.core.workspace import PROFILES
from relex.params.ledger import Shape
from relex.stages.base.params import Base, EmbeddedBase, FolderBase, HubBase
from relex.stages.base.symbols import SYMBOLS


def shape_of(base: Base, root: Path) -> Shape | None:
    """From a folder's config.json, the Hugging Face cache's, or infra/profiles/shapes/, which has the profiles' bases.

    None where none of them knows it. Asks no network.
    """
    source = base.source
    if isinstance(source, EmbeddedBase):
        return Shape.of(
            {
                "model_type": "qwen3",
                "hidden_size": source.hidden_size,
                "intermediate_size": source.intermediate_size,
                "num_hidden_layers": source.layers,
                "num_attention_heads": source.heads,
                "num_key_value_heads": source.kv_heads,
                "head_dim": source.head_dim,
                "vocab_size": len(SYMBOLS),
                "tie_word_embeddings": True,
            }
        )
    if isinstance(source, FolderBase):
        places = [root / source.path / "config.json"]
    elif isinstance(source, HubBase):
        places = [*_cached(source), root / PROFILES / "shapes" / f"{source.repo.rpartition('/')[2]}.json"]
    else:
        places = [root / PROFILES / "shapes" / f"{source.package}.json"]
    for place in places:
        if place.is_file():
            try:
                return Shape.of(json.loads(place.read_text(encoding="utf-8")))
            except (KeyError, ValueError):  # another family's configuration
                return None
    return None


def _cached(source: HubBase) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repo, "config.json", revision=source.revision)
    return [Path(found)] if isinstance(found, str) else []
