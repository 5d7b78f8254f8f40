"""A night's metrics and timings on disk, made by the stages' own functions from tiny inputs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relex.params.load import load
from relex.rewards.problem import make_problem
from relex.stages.decide import stage as decide
from relex.stages.diagnose.scan import statistics
from relex.stages.diagnose.stage import diagnose_folder
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.metrics import summarise
from relex.stages.evaluate.schema import OUTPUT
from relex.stages.evaluate.suites.sampling import Sampling
from relex.stages.evaluate.suites.suite import Suite
from tests.builders import ROOT
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory

STEPS = list(range(1, 11))
SAMPLES = 4
SIZES = {"choose": 60, "gate": 60, "test": 80, "ood": 50}


def write_night(
    folder: Path, accuracy: Mapping[str, float], *, champion_version: str = "3", sizes: Mapping[str, int] = SIZES
) -> Path:
    """metrics/ and timings/ of a night whose models answer right with the given probabilities.

    accuracy: by model, `base` and `observed` among them, `champion` where there is one, and step_<N> for candidates.
    """
    suites = [_suite(role, size) for role, size in sizes.items()]
    contestants = [_contestant(name, champion_version) for name in accuracy]
    metrics, rows = folder / "metrics", folder / "evaluation/rows"
    metrics.mkdir(parents=True)
    rows.mkdir(parents=True)
    measured: dict[str, dict[str, Any]] = {}
    for contestant in contestants:
        tables = {suite.name: _table(contestant, suite, accuracy[contestant.name]) for suite in suites}
        pq.write_table(pa.concat_tables(list(tables.values())), rows / f"{contestant.name}.parquet")
        measured[contestant.name] = {
            name: summarise(table, (1, SAMPLES), 0.95, 200, 0) for name, table in tables.items()
        }
    dump(
        metrics / "evaluate.json",
        {
            "protocol": {
                "engine": {"backend": "vllm", "dtype": "float32", "versions": {"vllm": "0.31.0"}},
                "confidence": 0.95,
                "suites": {suite.name: suite.protocol() for suite in suites},
            },
            "models": {contestant.name: contestant.facts() for contestant in contestants},
            "metrics": measured,
            "halving": None,
        },
    )
    dump(metrics / "diagnose.json", _diagnosis(folder / "scratch"))
    dump(metrics / "base.json", {"kind": "embedded", "parameters": 297472, "weights_sha256": "ba" * 32})
    dump(
        metrics / "train.json",
        {"steps": len(STEPS), "completions": 2560, "share_without_signal": 0.1, "share_truncated": 0.0},
    )
    lines = [f"{step},{0.3 + 0.01 * step:.3f}" for step in STEPS]
    (metrics / "train_steps.csv").write_text("\n".join(["step,reward", *lines]) + "\n")
    (folder / "timings").mkdir()
    dump(folder / "timings/train.json", {"seconds": 25.0, "steps": [9.0] + [2.0] * 9})
    dump(folder / "timings/extrapolate.json", {"seconds": 0.25})
    dump(folder / "timings/evaluate.json", {"seconds": 130.0})
    with contextlib.chdir(folder):
        params = load(ROOT / "params.yaml")
        decide.run(params.decide, params.evaluate.seed)
    return folder


def dump(path: Path, value: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value))


def change(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file."""
    dump(path, json.loads(path.read_text()) | changes)


def _suite(role: str, size: int) -> Suite:
    problems = tuple(make_problem(f"{role} {number}=", str(number), "exact") for number in range(size))
    return Suite(role, role, problems, Sampling(SAMPLES, 1.0, 1.0, 12, 0))


def _contestant(name: str, version: str) -> Contestant:
    kind = "candidate" if name.startswith("step_") else name
    step = {"base": 0, "observed": STEPS[-1], "champion": None}.get(name, 0)
    step = int(name.removeprefix("step_")) if kind == "candidate" else step
    digest = (name.encode().hex() * 8)[:64]
    return Contestant(name, kind, step, Path(name), digest, digest, version if kind == "champion" else None)


def _table(contestant: Contestant, suite: Suite, probability: float) -> pa.Table:
    """The rows of one model on one suite; the same draws for every model, so that a better one is right wherever a
    worse one is."""
    count = len(suite.problems) * SAMPLES
    right = np.random.default_rng(len(suite.name)).random(count) < probability
    columns = {
        "model": [contestant.name] * count,
        "model_sha256": [contestant.model_sha256] * count,
        "suite": [suite.name] * count,
        "role": [suite.role] * count,
        "problem": np.repeat([problem.id for problem in suite.problems], SAMPLES),
        "sample": np.tile(range(SAMPLES), len(suite.problems)),
        "score": right.astype(np.float64),
        "extracted": np.where(right, "right", "wrong"),
        "finish_reason": ["stop"] * count,
        "timed_out": [False] * count,
        "tokens": [5] * count,
    }
    return pa.table([pa.array(columns.get(field.name, [None] * count), field.type) for field in OUTPUT], schema=OUTPUT)


def _diagnosis(scratch: Path) -> dict[str, Any]:
    base = save(tiny_llama(), scratch / "base")
    trajectory = write_trajectory(scratch / "trajectory", base, STEPS, line_with_noise(), rewards=True)
    diagnose_folder(trajectory, base, None, scratch / "out")
    return json.loads((scratch / "out/diagnose.json").read_text())


def likelihood_scan(best: int, steps: tuple[int, ...] = (10, 20, 40, 80, 160)) -> dict[str, Any]:
    """The scan of 20 prompts with a right and a wrong completion each; the right ones are most likely at `best`."""
    rewards = np.tile([1.0, 0.0], 20)
    curve = -1.0 - np.abs(np.log(np.array(steps) / best))
    likelihoods = curve[:, None] * np.where(rewards > 0.5, 1.0, 2.0) + np.linspace(0.0, 0.1, 40)
    return statistics(likelihoods, np.full(40, -1.5), rewards, np.repeat(np.arange(20), 2).astype(str).tolist(), steps)
