"""Time and memory of a night, estimated from what this machine was measured to do; the assumptions err upwards."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from relex.checkpoints.size import CheckpointSize
from relex.core.atomic import scratch_folder
from relex.core.sizes import FLOAT32_BYTES, show_bytes
from relex.params.disk import DiskNeed
from relex.params.load import Params
from relex.params.stand_in import Rates, Shape, measure
from relex.stages.base.params import Base, EmbeddedBase
from relex.stages.base.symbols import SYMBOLS
from relex.stages.diagnose.params import FIT_STEPS
from relex.stages.train.params import Train

_ENGINE_SECONDS = 30.0  # until an engine answers
_ROOM_SECONDS = 60.0  # DVC, Prefect, MLflow and the start of eight stages
_PROMPT = 64  # tokens, where the context leaves more for it
_ROWS = 128  # sequences generated together, at most
_WRITTEN = 64 << 20  # bytes, to measure the disk
_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Sizes:
    """A decoder's width, vocabulary, layers, and the parameters of one layer."""

    width: int
    vocabulary: int
    layers: int
    layer_parameters: int


def sizes_of(base: Base, found: CheckpointSize) -> Sizes | None:
    """From the sections' numbers or the names and shapes of the base's tensors; None where they do not tell."""
    source = base.source
    if isinstance(source, EmbeddedBase):
        width, vocabulary, layers = source.hidden_size, len(SYMBOLS), source.layers
    else:
        shapes = found.shapes or {}
        tables = [shape for name, shape in shapes.items() if len(shape) == 2 and re.search(r"embed|embd|wte", name)]
        numbers = {match[1] for name in shapes if (match := re.search(r"(?:layers|blk|h|blocks)\.(\d+)\.", name))}
        if not tables or not numbers:
            return None
        vocabulary, width = max(tables[0]), min(tables[0])
        layers = len(numbers)
    return Sizes(width, vocabulary, layers, max(1, (found.parameters - vocabulary * width) // layers))


def page(params: Params, found: CheckpointSize, need: DiskNeed, rows: int | None, root: Path) -> list[str]:
    """Lines for people: time by part and memory. rows: the most that the proof asks for, None where it is not known."""
    lines = [f"memory     at most about {show_bytes(memory(params, found))}, estimated; {_there()}"]
    sizes = sizes_of(params.base, found)
    rates = measure(shape(params, sizes)) if sizes else None
    if rates is None:
        return [*lines, "time       unknown: a decoder of this size could not be measured here"]
    parts = seconds(params, need, rows, rates, disk_rate(root))
    total = sum(parts.values())
    told = ", ".join(f"{name} {_show(taken)}" for name, taken in parts.items() if taken >= 1)
    how = f"{1 / rates.trained:,.0f} tokens a second trained, {1 / rates.generated:,.0f} generated"
    assumed = [f"prompts of {_prompt(params)} tokens", "every completion as long as it may be"]
    assumed += ["vLLM no quicker"] if params.evaluate.backend == "vllm" else []
    assumed += [] if rows is not None else ["no proof, as the sizes of its suites are not known yet"]
    lines += [
        f"time       of a hop about {_show(total)}, more likely less, estimated: {told}",
        f"             measured now, on {rates.device}, on a stand-in of the base's size: {how}",
        f"             assumed: {', '.join(assumed)}",
    ]
    return lines


def shape(params: Params, sizes: Sizes) -> Shape:
    """What is measured for a night with these parameters."""
    train = params.train
    rows, threads, half = train.completions.prompts * train.completions.samples, 0, False
    if isinstance(train, Train):
        rows, threads, half = train.prompts_per_step * train.num_generations, train.threads, train.bf16
    return Shape(
        width=sizes.width,
        vocabulary=sizes.vocabulary,
        layers=sizes.layers,
        layer_parameters=sizes.layer_parameters,
        tokens=_prompt(params) + train.max_completion_length,
        rows=min(_ROWS, rows),
        threads=threads,
        half=half,
    )


def seconds(params: Params, need: DiskNeed, rows: int | None, rates: Rates, disk: float) -> Mapping[str, float]:
    """Seconds by part, at most. disk: bytes a second that are written and synced."""
    train, pretraining = params.train, 0
    if isinstance(params.base.source, EmbeddedBase):
        recipe = params.base.source.pretraining
        pretraining = recipe.steps * recipe.batch * 2 * (recipe.lengths[1] + 1)
    completion = train.max_completion_length
    drawn = train.completions.prompts * train.completions.samples
    training = train.rollouts * (completion * rates.generated + (_prompt(params) + completion) * rates.trained)
    if isinstance(train, Train) and train.budget.minutes is not None:
        training = min(training, 60 * train.budget.minutes)
    longest = max([params.evaluate.max_tokens, *(suite.max_tokens or 0 for suite in params.evaluate.suites)])
    proof = (rows or 0) * longest * rates.generated + _ENGINE_SECONDS
    if params.evaluate.budget.minutes is not None:
        proof = min(proof, 60 * params.evaluate.budget.minutes)
    # A scan reads every drawn completion once per horizon: a forward pass, a third of a training step. Step sizes are
    # fitted by whole ones on half of the completions.
    rays, fits = params.extrapolate.scanned, params.extrapolate.fits
    read = params.diagnose.scan_horizons * (1 + len(rays)) / 3 + FIT_STEPS * fits / 2
    scan = drawn * read * (_prompt(params) + completion) * rates.trained
    return {
        "base": pretraining * rates.trained + need.base / disk,
        "train": training + drawn * completion * rates.generated + (need.trajectory + need.training_state) / disk,
        "diagnose": scan + need.trajectory / disk,
        "extrapolate": (need.trajectory + need.candidates + need.observed) / disk,
        "proof": proof,
        "the rest": _ROOM_SECONDS + need.registry / disk,
    }


def memory(params: Params, found: CheckpointSize) -> int:
    """Bytes that the hungrier of training and evaluation takes at most, on a GPU or beside it."""
    train, count = params.train, found.parameters
    values, tokens = count, 0  # another trainer's: the model that the completions are drawn from
    if isinstance(train, Train):
        # Weights, theta_0 and the deltas of two steps under way; gradients and Adam's two moments of what is trained.
        values = count * (4 + (0 if train.lora else 3))
        tokens = train.per_device_train_batch_size * (_prompt(params) + train.max_completion_length)
    sizes = sizes_of(params.base, found)
    # Logits, their softmax and their gradient; of every layer what its backward pass needs.
    activations = tokens * (3 * sizes.vocabulary + 16 * sizes.width * sizes.layers) if sizes else 0
    evaluate = params.evaluate
    cache = evaluate.cpu_kv_cache_gib << 30 if evaluate.backend == "vllm" else 0
    engines = evaluate.engines * (count * _WIDTHS[evaluate.dtype] + cache + (1 << 30))
    return max(FLOAT32_BYTES * (values + activations) + (1 << 30), engines)


def disk_rate(root: Path) -> float:
    """Bytes a second that the project's disk takes, synced."""
    with scratch_folder(root, "rate") as folder:
        start = time.perf_counter()
        with open(folder / "written", "wb") as handle:
            for _ in range(_WRITTEN >> 20):
                handle.write(os.urandom(1 << 20))
            handle.flush()
            os.fsync(handle.fileno())
        return _WRITTEN / (time.perf_counter() - start)


def _prompt(params: Params) -> int:
    return max(1, min(_PROMPT, params.evaluate.max_model_len - params.evaluate.max_tokens))


def _there() -> str:
    return f"{show_bytes(psutil.virtual_memory().available)} of it are free here"


def _show(taken: float) -> str:
    if taken < 90:
        return f"{taken:.0f} s"
    return f"{taken / 60:.0f} min" if taken < 5400 else f"{taken / 3600:.1f} h"
