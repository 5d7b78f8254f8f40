"""A proof on disk as the stages leave it: the policy asks, drawn answers stand in for engines, the decision is real.

Only what was asked is written: evaluation/rows, metrics/evaluate.json and, by the stage decide, metrics/decision.json.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relex.core.atomic import write_json
from relex.params.load import Params
from relex.proof.answers import Marks
from relex.proof.plan import Plan
from relex.proof.policy import play
from relex.proof.roles import CHOOSE, GATE, OOD, TEST
from relex.proof.rounds import Room
from relex.proof.spending import Spending
from relex.rewards.problem import make_problem
from relex.stages.decide import stage as decide
from relex.stages.evaluate.metrics import summarise
from relex.stages.evaluate.schema import OUTPUT
from relex.stages.evaluate.suites.sampling import Sampling
from relex.stages.evaluate.suites.suite import Suite

REPORTED = 4  # samples a problem in the report
TOKENS = 5  # of every answer
SIZES: Mapping[str, int] = {CHOOSE: 60, GATE: 60, TEST: 80, OOD: 50}
_MOST = 16

Models = Mapping[str, Mapping[str, Any]]  # by name, the facts of metrics/evaluate.json


def write_proof(
    folder: Path, models: Models, accuracy: Mapping[str, float], params: Params, sizes: Mapping[str, int] = SIZES
) -> None:
    """The proof of a night whose models answer right with the given probabilities, in `folder`.

    models: name -> kind, step, model_sha256, weights_sha256, folder. sizes: problems of each role, a suite each.
    """
    asked = _Asked(models)
    suites = {role: _suite(role, size) for role, size in sizes.items()}
    rooms = [Room.read(name, suite.protocol()) for name, suite in suites.items()]
    plan = Plan(20, 4, _MOST, _MOST)
    answers = _Drawn(accuracy)
    proof = play(decide.players(models), rooms, plan, params.decide, answers)
    try:
        while True:
            ask = next(proof)
            asked.add(ask.purpose, ask.models, ask.asked)
    except StopIteration as end:
        about = ("base", "observed", "champion", end.value.promoted)
    reported = [(name, size, REPORTED) for name, size in sizes.items() if name in (TEST, OOD)]
    asked.add("report", [name for name in models if name in about], reported)
    metrics = _write_rows(folder, models, suites, asked.most, answers)
    spent = {purpose: asked.spending.rows[purpose] for purpose in ("race", "gate", "guards", "report")}
    write_json(
        folder / "metrics/evaluate.json",
        {
            "protocol": {
                "engine": {"backend": "vllm", "dtype": "float32", "versions": {"vllm": "0.31.0"}},
                "confidence": 0.95,
                "resamples": 200,
                "suites": {name: suite.protocol() for name, suite in suites.items()},
            },
            "models": models,
            "metrics": metrics,
            "proof": {
                "plan": plan.facts() | {"report": "winner"},
                "spent": {purpose: {"rows": rows, "tokens": TOKENS * rows} for purpose, rows in spent.items()},
            },
        },
    )
    with contextlib.chdir(folder):
        decide.run(params.decide)


class _Asked:
    """What was asked of each model and suite, and the rows that each purpose took."""

    def __init__(self, models: Models):
        self.models, self.spending = models, Spending()
        self.most: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, purpose: str, names: Any, asked: Any) -> None:
        self.spending.add(purpose, [self.models[name]["model_sha256"] for name in names], asked)
        for name in names:
            for suite, problems, samples in asked:
                had = self.most.get((name, suite), (0, 0))
                self.most[name, suite] = (max(had[0], problems), max(had[1], samples))


@dataclass(frozen=True)
class _Drawn:
    """The same draws for every model, so that a better one is right wherever a worse one is."""

    accuracy: Mapping[str, float]

    def right(self, model: str, suite: str, problems: int, samples: int) -> np.ndarray:
        """bool [problems, samples]."""
        draws = np.random.default_rng(len(suite)).random((1000, _MOST))
        return draws[:problems, :samples] < self.accuracy[model]

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        """See proof.answers.Source."""
        none = np.zeros(problems, np.int64)
        return Marks(self.right(model, suite, problems, samples).sum(axis=1), none, none, samples)


def _suite(role: str, size: int) -> Suite:
    problems = tuple(make_problem(f"{role} {number}=", str(number), "exact") for number in range(size))
    return Suite(role, role, problems, Sampling(REPORTED, 1.0, 1.0, 12, 0))


def _write_rows(
    folder: Path,
    models: Models,
    suites: Mapping[str, Suite],
    asked: Mapping[tuple[str, str], tuple[int, int]],
    answers: _Drawn,
) -> dict[str, dict[str, Any]]:
    """evaluation/rows/<model>.parquet; the metrics by model and suite."""
    (folder / "evaluation/rows").mkdir(parents=True, exist_ok=True)
    metrics: dict[str, dict[str, Any]] = {}
    for name, facts in models.items():
        tables = {
            suite: _table(name, facts["model_sha256"], about, answers.right(name, suite, *asked[name, suite]))
            for suite, about in suites.items()
            if (name, suite) in asked
        }
        pq.write_table(
            pa.concat_tables([OUTPUT.empty_table(), *tables.values()]), folder / f"evaluation/rows/{name}.parquet"
        )
        metrics[name] = {suite: summarise(table, (1, REPORTED), 0.95, 200, 0) for suite, table in tables.items()}
    return metrics


def _table(model: str, sha256: str, suite: Suite, right: np.ndarray) -> pa.Table:
    problems, samples = right.shape
    count = right.size
    columns = {
        "model": [model] * count,
        "model_sha256": [sha256] * count,
        "suite": [suite.name] * count,
        "role": [suite.role] * count,
        "problem": np.repeat([problem.id for problem in suite.problems[:problems]], samples),
        "sample": np.tile(range(samples), problems),
        "prompt": np.repeat([problem.prompt for problem in suite.problems[:problems]], samples),
        "completion": [f"{model} says {'right' if good else 'wrong'}" for good in right.ravel()],
        "score": right.ravel().astype(np.float64),
        "extracted": np.where(right.ravel(), "right", "wrong"),
        "finish_reason": ["stop"] * count,
        "timed_out": [False] * count,
        "tokens": [TOKENS] * count,
    }
    return pa.table([pa.array(columns.get(field.name, [None] * count), field.type) for field in OUTPUT], schema=OUTPUT)
