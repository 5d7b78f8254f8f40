"""Stage evaluate: generate, score, and measure every model of the night under one protocol.

Writes evaluation/rows/<model>.parquet and metrics/evaluate.json, the same bytes from the same inputs, and the seconds
into timings/evaluate.json. Rows come from the cache (rows.py) wherever their content has been evaluated before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from relex.core import workspace
from relex.core.asking import Asking
from relex.core.atomic import new_folder, write_json
from relex.core.timing import timed
from relex.stages.evaluate import rows
from relex.stages.evaluate.contestants import Contestant, load_contestants
from relex.stages.evaluate.engine.settings import engine_facts
from relex.stages.evaluate.generation import generate
from relex.stages.evaluate.halving import rounds, survivors
from relex.stages.evaluate.metrics import summarise
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.rows import Batch
from relex.stages.evaluate.schema import CHOOSE
from relex.stages.evaluate.suites.suite import Suite, load_suites


def run(evaluate: Evaluate, problems: Asking) -> None:
    """Evaluate base, last observed, champion and candidates on every suite."""
    with timed("evaluate") as details:
        evaluation = Evaluation(evaluate, load_suites(evaluate, problems), load_contestants())
        halving = evaluation.halve()
        evaluation.fill(evaluation.contestants, evaluation.suites)
        metrics = evaluation.write_rows()
        write_json(workspace.EVALUATION_METRICS, evaluation.protocol() | {"metrics": metrics, "halving": halving})
        rows.prune(workspace.ROWS_CACHE, evaluation.used)
        details.update(evaluation.spent)
        if evaluation.spent["generate_seconds"]:
            details["tokens_per_engine_second"] = evaluation.spent["tokens"] / evaluation.spent["generate_seconds"]
    print_table(metrics, [suite.name for suite in evaluation.suites])


class Evaluation:
    """The suites, the models still in it, and where their rows are."""

    def __init__(self, settings: Evaluate, suites: list[Suite], contestants: list[Contestant]):
        self.settings = settings
        self.suites = suites
        self.contestants = contestants
        self.engine = engine_facts(self.settings)
        self.spent: Counter[str] = Counter()
        self.used: set[Path] = set()  # batches in the cache that this evaluation read

    def batches(self, contestant: Contestant, suite: Suite) -> list[Batch]:
        """The batches of one model on one suite."""
        return rows.plan(workspace.ROWS_CACHE, contestant, suite, self.engine, self.settings.problems_per_batch)

    def fill(self, contestants: Iterable[Contestant], suites: list[Suite], first: int | None = None) -> None:
        """Generate what the cache lacks; of each suite only the `first` batches."""
        pending, planned = [], set[Any]()
        for contestant in contestants:
            batches = [batch for suite in suites for batch in self.batches(contestant, suite)[:first]]
            missing = [batch for batch in batches if not batch.whole() and batch.file not in planned]
            planned.update(batch.file for batch in missing)
            pending.append((contestant, missing))
        self.spent.update(generate(pending, self.settings))

    def halve(self) -> dict[str, Any] | None:
        """Drop candidates on few choosing problems when there are many; what happened, or None when there are not."""
        candidates = {c.name: c for c in self.contestants if c.kind == "candidate"}
        if len(candidates) <= self.settings.halving.above:
            return None
        choosing = [suite for suite in self.suites if suite.role == CHOOSE]
        most = max(len(self.batches(self.contestants[0], suite)) for suite in choosing)
        played, names, before = [], list(candidates), len(candidates)
        for turn in rounds(before, most, self.settings.halving.keep):
            self.fill([candidates[name] for name in names], choosing, turn.batches)
            scores = {name: self._score(candidates[name], choosing, turn.batches) for name in names}
            names = survivors(scores, turn.kept)
            problems = sum(
                min(len(suite.problems), turn.batches * self.settings.problems_per_batch) for suite in choosing
            )
            played.append({"problems": problems, "scores": scores, "kept": names})
        self.contestants = [c for c in self.contestants if c.kind != "candidate" or c.name in names]
        rows_each = sum(len(suite.problems) * suite.sampling.samples for suite in self.suites)
        return {
            "candidates": {name: candidates[name].facts() for name in candidates},
            "rounds": played,
            "rows_saved": self._rows_saved(list(candidates.values()), names, rows_each),
            "rows_without": before * rows_each,
        }

    def _score(self, contestant: Contestant, suites: list[Suite], first: int) -> float:
        """avg@k on the first batches of the choosing suites: the mean over the suites."""
        values = []
        for suite in suites:
            table = self._load(self.batches(contestant, suite)[:first])
            values.append(sum(table.column("score").to_pylist()) / table.num_rows)
        return round(sum(values) / len(values), 6)

    def _load(self, batches: list[Batch]) -> pa.Table:
        self.used.update(batch.file for batch in batches)
        return rows.load(batches)

    def _rows_saved(self, candidates: list[Contestant], kept: list[str], rows_each: int) -> int:
        dropped = [candidate for candidate in candidates if candidate.name not in kept]
        made = sum(
            len(batch.rows)
            for candidate in dropped
            for suite in self.suites
            if suite.role == CHOOSE
            for batch in self.batches(candidate, suite)
            if batch.whole()
        )
        return len(dropped) * rows_each - made

    def write_rows(self) -> dict[str, dict[str, Any]]:
        """evaluation/rows/<model>.parquet; the metrics by model and suite."""
        settings = self.settings
        metrics: dict[str, dict[str, Any]] = {}
        with new_folder(workspace.EVALUATION, replace=True) as folder:
            (folder / "rows").mkdir()
            for contestant in self.contestants:
                metrics[contestant.name] = {}
                with pq.ParquetWriter(folder / "rows" / f"{contestant.name}.parquet", rows.OUTPUT) as writer:
                    for suite in self.suites:
                        table = self._load(self.batches(contestant, suite))
                        writer.write_table(rows.output_table(contestant, suite, table))
                        metrics[contestant.name][suite.name] = summarise(
                            table, settings.pass_k, settings.confidence, settings.resamples, settings.seed
                        )
        return metrics

    def protocol(self) -> dict[str, Any]:
        """metrics/evaluate.json without the metrics."""
        return {
            "protocol": {
                "engine": {key: value for key, value in self.engine.items() if key != "code"},
                "confidence": self.settings.confidence,
                "resamples": self.settings.resamples,
                "suites": {suite.name: suite.protocol() for suite in self.suites},
            },
            "models": {contestant.name: contestant.facts() for contestant in self.contestants},
        }


def print_table(metrics: dict[str, dict[str, Any]], suites: list[str]) -> None:
    """avg@k by model and suite."""
    width = max([22, *map(len, metrics)])
    columns = [max(8, len(suite)) for suite in suites]
    print("share of right samples".ljust(width), *(s.rjust(c) for s, c in zip(suites, columns, strict=True)), sep="  ")
    for name, by_suite in metrics.items():
        values = [
            next(v["value"] for key, v in by_suite[suite].items() if key.startswith("avg_at_")) for suite in suites
        ]
        print(name.ljust(width), *(f"{v:{c}.3f}" for v, c in zip(values, columns, strict=True)), sep="  ")
