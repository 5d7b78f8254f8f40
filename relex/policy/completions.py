"""Verified completions for the likelihood scan: several samples per held-out prompt, right and wrong, in one Parquet
file with their log-probability when they were sampled."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from relex.core import progress
from relex.core.asking import BARE, Asking
from relex.core.atomic import new_file
from relex.core.errors import InputError
from relex.policy.likelihood import log_likelihoods
from relex.policy.memory import cache_bytes, room_beside, rows_at_once
from relex.policy.prompts import render
from relex.policy.seeded_sampling import Place, SeededSampling
from relex.rewards.problem import Problem
from relex.rewards.score import Answered, score_all

_BATCH = 256  # completions whose noise is drawn together; generated at once where their caches fit into memory
TEMPERATURE = b"temperature"

SCHEMA = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),  # 0, 1, .. within a problem
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("completion", pa.string(), nullable=False),
        pa.field("prompt_tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("completion_tokens", pa.list_(pa.int32()), nullable=False),  # with the end-of-text token if reached
        pa.field("reward", pa.float64(), nullable=False),  # of rewards.score
        pa.field("log_probability", pa.float64(), nullable=False),  # of the completion when sampled, nats
    ]
)


def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    asking: Asking = BARE,
    room: int | None = None,
) -> pa.Table:
    """Sample and score `samples` completions of every problem; a table of SCHEMA with the temperature as metadata.

    room: bytes for the key-value caches; None: what the model's device has. The draws do not depend on it. The model
    is left as it was, and so is torch's random state. Completions of zero tokens cannot occur: at least
    the end-of-text token is generated.
    """
    ends = model.generation_config.eos_token_id
    stops = set(ends if isinstance(ends, list) else [ends]) - {None}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0)
    rows: list[dict[str, object]] = []
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    per_batch = max(1, _BATCH // samples)
    room = room_beside(model) if room is None else room
    each = cache_bytes(model.config, next(model.parameters()).element_size())
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        for start in progress.bar(range(0, len(problems), per_batch), desc="completions for the scan", unit="batch"):
            part = problems[start : start + per_batch]
            encoded = tokenizer([render(tokenizer, problem.prompt, asking) for problem in part])["input_ids"]
            width = max(len(tokens) for tokens in encoded)
            padded = [[pad] * (width - len(tokens)) + tokens for tokens in encoded for _ in range(samples)]
            masks = [[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in encoded for _ in range(samples)]
            generated: list[list[int]] = []
            at_once = rows_at_once(each, width + max_new_tokens, room)
            for first in range(0, len(padded), at_once):
                place = partial(_part, Place(start, first, len(padded)))
                sampling = SeededSampling(seed, temperature=temperature, top_k=0, top_p=1.0, place=place)
                generated += model.generate(
                    input_ids=torch.tensor(padded[first : first + at_once], device=model.device),
                    attention_mask=torch.tensor(masks[first : first + at_once], device=model.device),
                    do_sample=True,
                    temperature=1.0,  # as all else that shapes a sample, the business of the processor
                    top_k=0,
                    top_p=1.0,
                    logits_processor=LogitsProcessorList([sampling]),
                    max_new_tokens=max_new_tokens,
                    pad_token_id=pad,
                )[:, width:].tolist()
            kept = [until_end(tokens, stops) for tokens in generated]
            texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in kept]
            asked = [problem for problem in part for _ in range(samples)]
            scores = score_all(
                [
                    Answered(problem.scorer, text, problem.answer, problem.entry)
                    for problem, text in zip(asked, texts, strict=True)
                ]
            )
            for at, problem in enumerate(part):
                for sample in range(samples):
                    number = at * samples + sample
                    rows.append(
                        {
                            "problem_id": problem.id,
                            "sample": sample,
                            "prompt": problem.prompt,
                            "completion": texts[number],
                            "prompt_tokens": encoded[at],
                            "completion_tokens": kept[number],
                            "reward": float(scores[number].value),
                        }
                    )
    found = log_likelihoods(
        model,
        [row["prompt_tokens"] for row in rows],  # type: ignore[misc]
        [row["completion_tokens"] for row in rows],  # type: ignore[misc]
        temperature=temperature,
    )
    model.train(was_training)
    for row, value in zip(rows, found.tolist(), strict=True):
        row["log_probability"] = value
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return table.replace_schema_metadata({TEMPERATURE: repr(float(temperature)).encode()})


def _part(place: Place, rows: int) -> Place:
    """One process generates all rows of a batch, or one part of them after another."""
    return place


def until_end(tokens: list[int], stops: Container[int]) -> list[int]:
    """The tokens up to and including the first stop."""
    for at, token in enumerate(tokens):
        if token in stops:
            return tokens[: at + 1]
    return tokens


def write_completions(path: Path, table: pa.Table) -> None:
    """Write a table of SCHEMA as Parquet."""
    with new_file(path) as temporary:
        pq.write_table(table.cast(SCHEMA.with_metadata(table.schema.metadata)), temporary, compression="zstd")


def read_completions(path: Path) -> tuple[pa.Table, float]:
    """The table of SCHEMA in a Parquet file, and the temperature it was sampled at; InputError when it is not one."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputError("the file is missing", where=path, todo="run `relex train`, which writes it") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError("not a Parquet file", where=path, found=str(error).splitlines()[0][:200]) from None
    missing = [field.name for field in SCHEMA if field.name not in table.column_names]
    if missing:
        raise InputError("columns are missing", where=path, expected=", ".join(SCHEMA.names), found=f"no {missing}")
    metadata = table.schema.metadata or {}
    try:
        temperature = float(metadata.get(TEMPERATURE, b"1.0"))
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise InputError("a column has another type", where=path, found=str(error)[:200]) from None
    if not temperature > 0:
        raise InputError("the sampling temperature must be above zero", where=path, found=temperature)
    if table.num_rows == 0:
        raise InputError("no completions", where=path, expected="at least one row")
    return table, temperature
