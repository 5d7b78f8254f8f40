"""Whether a checkpoint that somebody hands over is a model: weights, configuration and tokenizer that fit together.

One read of the weights; no model is made. What loads it later would say the same after minutes, or say nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relex.checkpoints.header import FLOATING
from relex.checkpoints.tensors import CheckpointReader
from relex.core.errors import CorruptArtifact, InputError

_PIECE = 1 << 22  # values at a time
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def check(folder: Path) -> None:
    """InputError for weights that are not finite, are float64, or have other shapes than the configuration gives them,
    and for a tokenizer that cannot be read or has more tokens than the model."""
    with CheckpointReader(folder) as reader:
        for name, spec in reader.specs.items():
            if spec.dtype == "F64":
                expected = "float32, bfloat16, float16"
                raise InputError("float64 weights", where=f"{folder}: {name}", expected=expected, todo="convert them")
        shapes = _shapes(folder, reader)
        for name in reader.names:
            found = reader.specs[name].shape
            if shapes.get(name, found) != found:
                raise CorruptArtifact(
                    "wrong shape",
                    where=f"{folder}: {name}",
                    expected=f"{list(shapes[name])}, as config.json says",
                    found=list(found),
                    todo="take configuration and weights from one checkpoint",
                )
        for name in reader.names:
            _check_finite(reader, name)
    _check_tokenizer(folder, shapes)


def _shapes(folder: Path, reader: CheckpointReader) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the configuration's model; empty where transformers does not know the model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    reader.config()  # says what is wrong with a file that is not JSON
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise CorruptArtifact(
            "not a model's configuration", where=folder / "config.json", found=" ".join(str(error).split())[:200]
        ) from None
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, TypeError, ImportError):  # a model with code of its own: nothing is known of it
        return {}
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _check_finite(reader: CheckpointReader, name: str) -> None:
    spec = reader.specs[name]
    if spec.dtype not in FLOATING:
        return
    values: Any = reader.tensor(name).view(-1)
    bad = sum(int((~part.isfinite()).sum()) for part in values.split(_PIECE))
    if bad:
        raise InputError(
            "NaN or infinite weights",
            where=f"{reader.folder}: {name}",
            found=f"{bad} of {spec.numel}",
            todo="the checkpoint is of a run that diverged, or damaged: take another one",
        )


def _check_tokenizer(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return  # evaluation says so
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        largest = max(tokenizer.get_vocab().values(), default=-1)
    except Exception as error:  # whatever the tokenizer's own reader raises of a file that is none
        found = " ".join(str(error).split())[:200]
        todo = "take all its files from one checkpoint"
        raise CorruptArtifact("the tokenizer cannot be read", where=folder, found=found, todo=todo) from None
    rows = next((shape[0] for name, shape in shapes.items() if name.endswith("embed_tokens.weight")), None)
    if rows is not None and largest >= rows:
        raise InputError(
            "the tokenizer has more tokens than the model",
            where=folder,
            expected=f"numbers below {rows}",
            found=largest,
            todo="take tokenizer and weights from one checkpoint",
        )
