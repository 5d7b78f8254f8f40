"""Whether the answers at other horizons tell what a horizon that was not asked would have answered: for a first hop of
which all were asked, each of its horizons is withheld in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows.study.mixture import Floats, Numbers, from_mixture, on_the_line
from flows.study.rows import CONFIDENCE, RESAMPLES
from relex.core import progress
from relex.core.atomic import read_json, write_json
from relex.core.right import RIGHT
from relex.core.workspace import BASE, CANDIDATES, EVALUATION, OBSERVED, PARAMS
from relex.params.load import load
from relex.policy.likelihood import log_likelihoods
from relex.stages.evaluate.statistics import bootstrap_intervals

KEPT = Path("metrics/withheld.json")
_SUITE = "test"


def withheld(folder: Path, steps: Mapping[int, str]) -> list[dict[str, Any]]:
    """By horizon but the first and the last, what it answered and what others say of it; kept beside the metrics.

    folder: where a hop has run. steps: the models of one ray, the last observed checkpoint among them, by their step.
    """
    if (folder / KEPT).is_file():
        kept: list[dict[str, Any]] = read_json(folder / KEPT)
        return kept
    ordered = sorted(steps)
    samples = [_rows(folder, steps[step]) for step in ordered]
    every = [row for rows in samples for row in rows]
    found = _withheld(
        ordered,
        _likelihoods(folder, [steps[step] for step in ordered], every),
        np.repeat(np.arange(len(samples)), [len(rows) for rows in samples]),
        np.array([float(row["score"] > RIGHT) for row in every]),
        np.unique([row["problem"] for row in every], return_inverse=True)[1],
    )
    write_json(folder / KEPT, found)
    return found


def _withheld(
    steps: Sequence[int], likelihoods: Floats, source: Numbers, right: Floats, problems: Numbers
) -> list[dict[str, Any]]:
    """likelihoods [K, N] of all samples under the models at `steps` [K]; source [N]: which of them gave each."""
    count = int(problems.max()) + 1

    def asked(at: int) -> Floats:
        own = source == at
        return np.bincount(problems[own], right[own], count) / np.bincount(problems[own], minlength=count)

    def estimated(at: int, others: Sequence[int]) -> dict[str, Any]:
        kept = np.isin(source, others)
        found = from_mixture(likelihoods[others][:, kept], likelihoods[at][kept], right[kept], problems[kept])
        return {**_off(found.right, asked(at)), "effective": found.effective}

    found = []
    for at in range(1, len(steps) - 1):
        line = on_the_line(steps[at], steps[at - 1], steps[at + 1], asked(at - 1), asked(at + 1))
        found.append(
            {
                "step": steps[at],
                "asked": float(asked(at).mean()),
                "all_others": estimated(at, [one for one in range(len(steps)) if one != at]),
                "neighbours": estimated(at, [at - 1, at + 1]),
                "line": _off(line, asked(at)),
            }
        )
    return found


def _off(estimate: Floats, asked: Floats) -> dict[str, float]:
    """How far an estimate [P] is from what was answered, with its interval over problems."""
    (interval,) = bootstrap_intervals((estimate - asked)[:, None], CONFIDENCE, RESAMPLES, seed=0)
    return {"off": interval.value, "low": interval.low, "high": interval.high}


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    table = pq.read_table(folder / EVALUATION / "rows" / f"{name}.parquet")
    return [row for row in table.to_pylist() if row["suite"] == _SUITE]


def _likelihoods(folder: Path, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Floats:
    """Log-likelihoods [K, N] of the rows' completions under the models of these names."""
    tokenizer = AutoTokenizer.from_pretrained(folder / BASE)
    prompts = [tokenizer(row["prompt"], add_special_tokens=False)["input_ids"] for row in rows]
    completions = [_tokens(tokenizer, row) for row in rows]
    temperature = load(folder / PARAMS).evaluate.temperature
    found = []
    for name in progress.bar(names, desc=f"{folder.name}: likelihoods", unit="model"):
        place = folder / (OBSERVED if name == "observed" else CANDIDATES / name)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
        found.append(log_likelihoods(model, prompts, completions, temperature=temperature))
    return np.stack(found)


def _tokens(tokenizer: Any, row: Mapping[str, Any]) -> list[int]:
    """A completion's tokens. Rows keep its text, which has no token for the end: where one is missing, that was it."""
    tokens: list[int] = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
    return tokens if len(tokens) >= row["tokens"] else [*tokens, tokenizer.eos_token_id]
