"""Bytes that a night takes on each device, phase by phase, from a model's shape and the parameters alone. Pure.

What grows with the model or the settings is counted; _RUNTIME stands for the rest of a process on a GPU. Counted, not
measured: no GPU has been at hand to hold it against.
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
_PROMPT = 512  # tokens, where nothing says how long prompts are
_LOGITS = 3  # buffers as large as a batch's logits: themselves, their softmax, their gradient
_FORWARD = 8 << 30  # that a scan's passes leave free of directions
_QUEUE = 3  # steps that a capture holds: the one taken, one that waits, one that is written


@dataclass(frozen=True)
class Shape:
    """A decoder. parameters: how many values; head_width: of one head; the others as configurations name them."""

    parameters: int
    hidden_size: int
    layers: int
    kv_heads: int
    head_width: int
    vocabulary: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From the content of a config.json of the Llama and Qwen families; KeyError for one that lacks a size."""
        config = config.get("text_config", config)
        hidden, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
        heads = config["num_attention_heads"]
        kv_heads, width = config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads
        attention = hidden * width * (2 * heads + 2 * kv_heads)
        layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
        embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
        return cls(embeddings + layers * layer + hidden, hidden, layers, kv_heads, width, vocabulary)

    def cache(self, tokens: int, width: int) -> int:
        """Keys and values of so many tokens."""
        return 2 * self.layers * self.kv_heads * self.head_width * width * tokens


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


def ledger(params: Params, shape: Shape, machine: Machine, *, processes: int, sharded: bool) -> list[Line]:
    """Every phase of a night, training among them where this project trains. processes: that train; sharded: whether
    each holds a part of the weights."""
    train = params.train
    training = _training(train, shape, machine, processes, sharded) if isinstance(train, Train) else []
    return [*training, *_after(params, shape)]


def _training(train: Train, shape: Shape, machine: Machine, processes: int, sharded: bool) -> list[Line]:
    whole = 4 * shape.parameters
    share = whole // processes if sharded else whole
    tokens = _PROMPT + train.max_completion_length
    state = {"weights": share, "optimiser": 2 * share, "runtime": _RUNTIME}
    if train.lora is not None:
        state["optimiser"] = 0
    if not sharded and train.lora is None:
        state["theta_0"] = whole
    lines = [Line("load", "host", {"weights": whole}, "train.accelerate: zero3.yaml or fsdp.yaml load once a machine")]
    rollout: dict[str, int] = {}
    if train.generation.backend == "vllm" and train.generation.mode == "colocate":
        rollout = {"vllm": int(train.generation.gpu_memory_utilization * machine.gpu_bytes)}
        engine = 2 * shape.parameters // train.generation.tensor_parallel + shape.cache(tokens, 2)
        rollout["vllm"] = max(rollout["vllm"], engine + _RUNTIME)  # below that it does not start
    elif train.generation.backend == "transformers":
        rows = min(train.per_device_train_batch_size, train.prompts_per_step * train.num_generations)
        rollout = {"caches": shape.cache(rows * tokens, 4), **({"gathered weights": whole} if sharded else {})}
    lines.append(Line("rollout", "GPU", {**state, **rollout}, "lower train.generation.gpu_memory_utilization"))
    batch = train.per_device_train_batch_size
    activations = batch * tokens * shape.hidden_size * 2
    update = {
        "gradients": 0 if train.lora is not None else share,
        "logits": _LOGITS * 4 * batch * train.max_completion_length * shape.vocabulary,
        "activations": activations * (shape.layers if train.gradient_checkpointing else 16 * shape.layers),
    }
    held = {name: size for name, size in rollout.items() if name == "vllm"}
    todo = "lower train.per_device_train_batch_size (a step's result stays the same)"
    lines.append(Line("update", "GPU", {**state, **held, **update}, todo))
    if sharded:
        captured = {"gathered weights": whole, "deltas": whole, "queue": (_QUEUE - 1) * whole}
    else:
        captured = {"deltas": _QUEUE * whole}
        lines.append(Line("capture", "GPU", {**state, **held, "deltas": whole}, "train.accelerate: fsdp.yaml"))
    lines.append(Line("capture and its queue", "host", captured, "a machine with more memory, or train.lora"))
    return lines


def _after(params: Params, shape: Shape) -> list[Line]:
    train, evaluate, whole = params.train, params.evaluate, 4 * shape.parameters
    tokens = _PROMPT + train.max_completion_length
    memory = parse_size(params.extrapolate.memory)
    width = _WIDTH[evaluate.dtype]
    one = {"weights": whole, "runtime": _RUNTIME}
    alone = "a GPU with more memory: one float32 model must fit"
    lines = [
        Line("completions", "GPU", {**one, "cache of one row": shape.cache(tokens, 4)}, alone),
        Line("scan and backtest", "GPU", {**one, "forward passes": _FORWARD}, alone),
        Line("Gram and sums", "host", {"buffers": memory}, "lower extrapolate.memory"),
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
