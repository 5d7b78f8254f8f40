"""What a tensor of a transformer is for, and in which of its layers, by its name. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from relex.core.choices import TensorKind

# Tried in this order: a norm inside an attention block is a norm.
_KINDS: Mapping[TensorKind, re.Pattern[str]] = {
    "norms": re.compile(r"norm|(^|[._])ln([._]|\d|$)", re.IGNORECASE),
    "embeddings": re.compile(r"embed|lm_head|(^|\.)w[tp]e\."),
    "attention": re.compile(r"att(n|ention)"),
    "mlp": re.compile(r"mlp|feed_?forward|ffn|expert|moe|(^|\.)fc\d"),
}


def kind_of(name: str) -> TensorKind:
    """The kind of the tensor of that name in a checkpoint of Hugging Face; `other` where the name tells none.

    A language model's head counts as an embedding: it often is the same tensor.
    """
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(name)), "other")


_LAYER = re.compile(r"\.(\d+)\.")  # the first number: of a mixture's experts the later one counts them


def group_of(name: str) -> str:
    """Its kind and the number of its layer, `mlp.11`; the kind alone outside of the layers."""
    layer, kind = _LAYER.search(name), kind_of(name)
    return f"{kind}.{layer[1]}" if layer else kind
