"""How fast this machine trains and generates with a decoder of the base's size: measured in seconds, in a process.

    python -m relex.params.stand_in        (started by `measure`, never by hand)

The decoder is a stand-in: a Llama with the base's width, vocabulary and parameters a layer, its weights not even
random. Of a large one only some layers are made, and the time of a layer is multiplied.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from relex.core.bound import bound

if TYPE_CHECKING:
    import torch

_SECONDS = 120.0  # a measurement that takes longer says that this machine is too small for the base
_LAYER_PARAMETERS = 30_000_000  # made at most, of all layers together
_OPERATIONS = 1e11  # of one measurement: a few seconds on one core


@dataclass(frozen=True)
class Shape:
    """What is measured: the decoder's sizes, and the batches that a night gives it.

    layer_parameters: of one layer. tokens: of a sequence, prompt and completion. rows: sequences generated together.
    threads: of torch on a CPU, 0 for one per core. half: arithmetic in bfloat16.
    """

    width: int
    vocabulary: int
    layers: int
    layer_parameters: int
    tokens: int
    rows: int
    threads: int
    half: bool


@dataclass(frozen=True)
class Rates:
    """Seconds a token: `trained`, forward and backward; `generated`, one more token a sequence. device: where."""

    trained: float
    generated: float
    device: str


def measure(shape: Shape) -> Rates | None:
    """What a process of its own measures; None where it fails, for want of memory or of time."""
    command = bound([sys.executable, "-m", "relex.params.stand_in", json.dumps(asdict(shape))])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
        return Rates(**json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.SubprocessError, ValueError, IndexError, TypeError):
        return None


def _model(shape: Shape, layers: int, device: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = max(1, shape.width // 64)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=heads * (shape.width // heads // 2 * 2),
        intermediate_size=max(1, (shape.layer_parameters - 4 * shape.width**2) // (3 * shape.width)),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max(2048, 2 * shape.tokens),
        tie_word_embeddings=True,
        pad_token_id=None,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to(torch.bfloat16 if shape.half else torch.float32).to_empty(device=device)
    for tensor in (*model.parameters(), *model.buffers()):  # what lies in memory could be slow to compute with
        tensor.data.fill_(0.01)
    model.tie_weights()
    return model.eval()


def _seconds(run: Callable[[], None], device: str) -> float:
    """Of the second call: the first one warms up."""
    import torch

    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        taken = time.perf_counter() - start
    return taken


def _measure(shape: Shape) -> Rates:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if shape.threads:
        torch.set_num_threads(shape.threads)
    made = max(1, min(shape.layers, _LAYER_PARAMETERS // shape.layer_parameters))
    count = made * shape.layer_parameters + shape.vocabulary * shape.width
    rows = max(1, min(shape.rows, int(_OPERATIONS / (6 * count * shape.tokens))))
    found = {}
    for layers in {0, made}:
        model = _model(shape, layers, device)
        ids = torch.ones((rows, shape.tokens), dtype=torch.int64, device=device)
        found[layers] = (
            _seconds(lambda m=model, i=ids: m(input_ids=i, labels=i).loss.backward(), device) / ids.numel(),  # type: ignore[misc]
            _seconds(lambda m=model: _generate(m, shape, device), device),  # type: ignore[misc]
        )
    whole = [found[0][at] + max(0.0, found[made][at] - found[0][at]) * shape.layers / made for at in (0, 1)]
    return Rates(whole[0], whole[1] / (shape.rows * _NEW), device)


_NEW = 4  # tokens generated a sequence


def _generate(model: Any, shape: Shape, device: str) -> None:
    """A few more tokens of every sequence, each after those before it, as an engine does."""
    import torch

    with torch.inference_mode():
        ids: torch.Tensor = torch.ones((shape.rows, 1), dtype=torch.int64, device=device)
        cache = None
        for _ in range(_NEW):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True)
            cache, ids = out.past_key_values, out.logits[:, -1:].argmax(-1)


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(Shape(**json.loads(sys.argv[1]))))))
