"""Bytes that a night takes on each device, phase by phase, from a model's shape and the parameters alone. Pure.

What grows with the model or the settings is counted; _RUNTIME stands for the rest of a process on a GPU. Held against
peaks measured on processors (python -m tests.benchmarks.memory, docs/gpu.md): no GPU has been at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relex.core.sizes import parse_size
from relex.params.load import Params
from relex.stages.train.params import Train

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
_RUNTIME = 2 << 30  # CUDA context, NCCL, the allocator's holes
# TRL projects onto the vocabulary in tiles of so many tokens and words, and holds about so many buffers of a tile.
_TILE_TOKENS, _TILE_WORDS, _TILE_BUFFERS = 4096, 32_768, 4
_FITTED = 2048  # tokens of one batch in policy/likelihood.py where a pass back follows
_LIKELIHOOD = 256 << 20  # bytes of a batch's logits in policy/likelihood.py
_LIKELIHOOD_BUFFERS = 3  # as large as those
_SCORED = 16_384  # tokens of a batch there, prompts included, on a GPU
_COMPARED = 10  # buffers as large as the next-token distributions that a backtest compares, on the host
_QUEUE = 3  # steps that a capture holds: the one taken, one that waits, one that is written


@dataclass(frozen=True)
class Shape:
    """A decoder. parameters: how many values; head_width: of one head; normed: whether queries and keys are normalised
    (Qwen3); the others as configurations name them."""

    parameters: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    tied: bool
    normed: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From the content of a config.json of the Llama and Qwen families; KeyError for one that lacks a size."""
        config = config.get("text_config", config)
        hidden, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
        heads = config["num_attention_heads"]
        kv_heads, width = config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads
        attention = hidden * width * (2 * heads + 2 * kv_heads)
        inner, tied = config["intermediate_size"], bool(config.get("tie_word_embeddings"))
        normed = config.get("model_type") == "qwen3"
        layer = attention + 3 * hidden * inner + 2 * hidden + (2 * width if normed else 0)
        embeddings = vocabulary * hidden * (1 if tied else 2)
        whole = embeddings + layers * layer + hidden
        return cls(whole, hidden, inner, layers, heads, kv_heads, width, vocabulary, tied, normed)

    def cache(self, tokens: int, width: int) -> int:
        """Keys and values of so many tokens."""
        return 2 * self.layers * self.kv_heads * self.head_width * width * tokens

    @property
    def embeddings(self) -> int:
        """Values of the embedding, and of the output head where it is another."""
        return self.vocabulary * self.hidden_size * (1 if self.tied else 2)

    def layer_activations(self, *, bf16: bool) -> int:
        """Bytes that one layer keeps of a token for its backward pass: what autograd saves of transformers' Llama and
        Qwen3 (tests/params/test_ledger.py holds it against that); half of it is narrower with bfloat16 arithmetic."""
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        # Two norms of three vectors; queries, keys and values repeated for all heads, attention; four inner vectors.
        normed = 2 * (queries + keys) * 4 if self.normed else 0
        if bf16:
            return 22 * self.hidden_size + 10 * queries + 8 * self.intermediate_size + normed
        return 4 * (6 * self.hidden_size + 4 * queries + 4 * self.intermediate_size) + normed

    def forward(self, tokens: int, width: int = 4) -> int:
        """Bytes of a forward pass without gradients over so many tokens, at its widest place."""
        return tokens * width * (3 * self.intermediate_size + 4 * self.hidden_size)


@dataclass(frozen=True)
class Machine:
    """gpus of gpu_bytes each."""

    gpus: int
    gpu_bytes: int

    @classmethod
    def parse(cls, text: str) -> Machine:
        """Of `8x80GiB`; ValueError for anything else."""
        count, _, size = text.partition("x")
        if not count.isdecimal() or int(count) < 1:
            raise ValueError(f"{text!r} is not a machine: write GPUs x the memory of one, such as 8x80GiB")
        return cls(int(count), parse_size(size))


@dataclass(frozen=True)
class Line:
    """What one phase takes on each device of a kind, part by part. todo: what makes it less."""

    phase: str
    device: str  # "GPU" or "host"
    parts: Mapping[str, int]
    todo: str

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def ledger(
    params: Params,
    shape: Shape,
    machine: Machine,
    *,
    processes: int,
    sharded: bool,
    prompt: int,
    scored: int = _SCORED,
) -> list[Line]:
    """Every phase of a night, training among them where this project trains. processes: that train; sharded: whether
    each holds a part of the weights; prompt: tokens of the longest prompt; scored: tokens whose likelihood is computed
    together."""
    train = params.train
    training = _training(train, shape, machine, processes, sharded, prompt) if isinstance(train, Train) else []
    return [*training, *_after(params, shape, prompt, scored)]


def _training(train: Train, shape: Shape, machine: Machine, processes: int, sharded: bool, prompt: int) -> list[Line]:
    whole = 4 * shape.parameters
    share = whole // processes if sharded else whole
    trained = 0 if train.lora is not None else share  # an adapter's own bytes do not count
    tokens = prompt + train.max_completion_length
    state = {"weights": share, "optimiser": 2 * trained, "runtime": _RUNTIME}
    if not sharded and train.lora is None:
        state["theta_0"] = whole
    lines = [Line("load", "host", {"weights": whole}, "train.accelerate: zero3.yaml or fsdp.yaml load once a machine")]
    rollout: dict[str, int] = {}
    if train.generation.backend == "vllm" and train.generation.mode == "colocate":
        rollout = {"vllm": int(train.generation.gpu_memory_utilization * machine.gpu_bytes)}
        engine = 2 * shape.parameters // train.generation.tensor_parallel + shape.cache(tokens, 2)
        rollout["vllm"] = max(rollout["vllm"], engine + _RUNTIME)  # below that it does not start
    elif train.generation.backend == "transformers":
        # TRL generates all that a process needs for a step at once.
        rows = train.prompts_per_step * train.num_generations // processes
        rollout = {
            "caches": shape.cache(rows * tokens, 4),
            "forward pass": shape.forward(rows * prompt),
            **({"gathered weights": whole} if sharded else {}),
        }
    lines.append(Line("rollout", "GPU", {**state, **rollout}, "lower train.generation.gpu_memory_utilization"))
    held = {name: size for name, size in rollout.items() if name == "vllm"}
    todo = "lower train.per_device_train_batch_size (a step's result stays the same)"
    update = _update(train, shape, share, tokens, sharded)
    if not sharded and processes > 1:
        update["buckets"] = trained  # that DDP sums gradients in
    lines.append(Line("update", "GPU", {**state, **held, **update}, todo))
    if sharded:
        captured = {"gathered weights": whole, "deltas": whole, "queue": (_QUEUE - 1) * whole}
    else:
        captured = {"deltas": _QUEUE * whole}
        lines.append(Line("capture", "GPU", {**state, **held, "deltas": whole}, "train.accelerate: fsdp.yaml"))
    lines.append(Line("capture and its queue", "host", captured, "a machine with more memory, or train.lora"))
    return lines


def _update(train: Train, shape: Shape, share: int, tokens: int, sharded: bool) -> dict[str, int]:
    """What a pass forward and back takes beside weights and optimiser."""
    batch, hidden = train.per_device_train_batch_size * tokens, shape.hidden_size
    layer = batch * shape.layer_activations(bf16=train.bf16)
    kept = layer + shape.layers * batch * 4 * hidden if train.gradient_checkpointing else shape.layers * layer
    tile = 4 * min(batch, _TILE_TOKENS) * min(shape.vocabulary, _TILE_WORDS)
    head = 4 * shape.vocabulary * hidden  # its gradient is added up apart
    narrow = 2 * (shape.embeddings + 2 * (shape.parameters - shape.embeddings) // shape.layers) if sharded else 0
    if train.bf16 and not sharded:
        narrow = 2 * shape.parameters  # autocast keeps what it has cast until the pass has ended
    return {
        "gradients": 0 if train.lora is not None else share,
        "logits": _TILE_BUFFERS * tile + head + 4 * batch * hidden,
        "activations": kept + shape.forward(batch, 2 if train.bf16 else 4),  # and the gradients of those of a layer
        "gathered or narrow weights": narrow + (head if sharded else 0),
    }


def _fitting(params: Params, shape: Shape, tokens: int) -> list[Line]:
    """Where a ray's step sizes are fitted: a pass forward and back in float32. A gradient is let go of at once where
    the tensor's directions are held, else after the pass; counted as if none were."""
    if not params.extrapolate.fits:
        return []
    whole = 4 * shape.parameters
    parts = {
        "weights": whole,
        "gradients": whole,
        "activations": shape.layers * tokens * shape.layer_activations(bf16=False) + shape.forward(tokens),
        "logits": _LIKELIHOOD_BUFFERS * _LIKELIHOOD,
        "runtime": _RUNTIME,
    }
    return [Line("fitting step sizes", "GPU", parts, "leave out the variant with kinds: fitted")]


def _after(params: Params, shape: Shape, prompt: int, scored: int) -> list[Line]:
    train, evaluate, whole = params.train, params.evaluate, 4 * shape.parameters
    tokens = prompt + train.max_completion_length
    memory = parse_size(params.extrapolate.memory)
    width = _WIDTH[evaluate.dtype]
    one = {"weights": whole, "runtime": _RUNTIME}
    alone = "a GPU with more memory: one float32 model must fit"
    asked = train.completions.prompts * train.completions.samples
    distributions = 4 * shape.vocabulary * asked * train.max_completion_length
    passes = _LIKELIHOOD_BUFFERS * min(distributions, _LIKELIHOOD) + shape.forward(min(asked * tokens, scored))
    compared = _COMPARED * min(distributions, _LIKELIHOOD)
    cache = {"cache of one row": shape.cache(tokens, 4), "likelihoods": passes}
    lines = [
        Line("completions", "GPU", {**one, **cache}, alone),
        Line(
            "scan and backtest",
            "GPU",
            {**one, "forward passes": passes, "blocks beyond": max(0, memory - passes)},
            alone,
        ),
        *_fitting(params, shape, min(asked * tokens, max(tokens, _FITTED))),
        Line("backtest", "host", {"next-token distributions": compared}, "lower train.completions"),
        Line("Gram and sums", "host", {"buffers, at most": memory}, "lower extrapolate.memory"),
        Line("Gram and sums", "GPU", {"blocks": memory, "runtime": _RUNTIME}, "lower extrapolate.memory"),
    ]
    engine = {
        "weights": width * shape.parameters // evaluate.tensor_parallel,
        "cache of one row": shape.cache(evaluate.max_model_len, width) // evaluate.tensor_parallel,
        "runtime": _RUNTIME,
    }
    return [*lines, Line("evaluation, each engine", "GPU", engine, "raise evaluate.tensor_parallel")]


def too_large(lines: list[Line], machine: Machine, host_bytes: int | None) -> list[Line]:
    """The lines that do not fit. host_bytes: the machine's memory; None where it is not known."""
    limits = {"GPU": machine.gpu_bytes, "host": host_bytes}
    return [line for line in lines if (most := limits[line.device]) is not None and line.total > most]
