"""Rows: one per model, problem and sample. In the cache in batches, keyed by content; in a stage output per model.

A batch is a fixed set of problems of a suite. Its rows are kept one by one as they finish (rows_part.py) and put
into one file when all are there, so an evaluation that was killed generates only the rows that it lacks. Every row has
a seed of its own, and so comes out the same in whatever company (on a GPU bit for bit only where vLLM's kernels do not
depend on the company either: VLLM_BATCH_INVARIANT=1, which is part of the key). The key holds whatever could change a
row: weights, configuration, tokenizer, problems, sampling, engine, scorer code.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from relex.core.atomic import new_file, remove_leftovers
from relex.core.digest import json_sha256
from relex.core.owner import PREFIX
from relex.rewards.problem import Problem
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.rows_part import RowsPart
from relex.stages.evaluate.schema import CACHED, OUTPUT
from relex.stages.evaluate.suites.suite import Suite

CACHE_BYTES = 4 << 30  # about a hundred nights of 100,000 rows of a thousand characters


@dataclass(frozen=True)
class Batch:
    """Some problems of a suite; file: where the cache keeps its rows."""

    suite: Suite
    problems: tuple[Problem, ...]
    file: Path

    def whole(self) -> bool:
        """Whether the cache has it."""
        return self.file.is_file()

    @property
    def part(self) -> RowsPart:
        """Its rows as far as they are finished, until it is whole."""
        return RowsPart(self.file.with_suffix(".part"))

    @property
    def rows(self) -> list[tuple[Problem, int]]:
        """(problem, sample) in the order of the rows."""
        return [(problem, sample) for problem in self.problems for sample in range(self.suite.sampling.samples)]


def plan(
    cache: Path, contestant: Contestant, suite: Suite, engine: dict[str, Any], problems_per_batch: int
) -> list[Batch]:
    """The batches of one model on one suite. engine: name and version, settings, hash of the scorers' code."""
    facts = {
        "model": contestant.model_sha256,
        "engine": engine,
    }
    batches = []
    for start in range(0, len(suite.problems), problems_per_batch):
        part = suite.problems[start : start + problems_per_batch]
        key = json_sha256(facts | {"suite": suite.facts(part)})
        batches.append(Batch(suite, part, cache / contestant.model_sha256[:16] / f"{key}.parquet"))
    return batches


def save(batch: Batch, rows: list[dict[str, Any]]) -> None:
    """Put a batch's rows (columns of CACHED) into the cache, whole or not at all."""
    table = pa.Table.from_pylist(rows, schema=CACHED)
    with new_file(batch.file) as temporary:
        pq.write_table(table, temporary)
    batch.part.remove()


def prune(cache: Path, used: Iterable[Path], limit: int = CACHE_BYTES) -> int:
    """Keep the cache within `limit` bytes: the batches used longest ago go first, those in `used` never; bytes removed.

    Also removes what killed writers left; the finished rows of a batch that is not whole have an age like batches.
    """
    now, keep = time.time(), set(used)
    for path in keep:
        os.utime(path, (now, now))
    folders = [path for path in cache.glob("*") if path.is_dir()]
    for folder in folders:
        remove_leftovers(folder)
        for part in folder.glob("*.part"):
            if part.with_suffix(".parquet").is_file():
                part.unlink()
    files = [(path, path.stat()) for folder in folders for path in folder.iterdir() if not path.name.startswith(PREFIX)]
    excess, removed = sum(facts.st_size for _, facts in files) - limit, 0
    for path, facts in sorted(files, key=lambda item: (item[1].st_mtime, item[0])):
        if removed >= excess:
            break
        if path not in keep:
            path.unlink()
            removed += facts.st_size
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()
    return removed


def load(batches: list[Batch]) -> pa.Table:
    """The rows of finished batches, in order."""
    return pa.concat_tables([pq.read_table(batch.file, schema=CACHED) for batch in batches])


def output_table(contestant: Contestant, suite: Suite, table: pa.Table) -> pa.Table:
    """Cached rows with the columns of OUTPUT."""
    count = table.num_rows
    for place, (name, value) in enumerate(
        [
            ("model", contestant.name),
            ("model_sha256", contestant.model_sha256),
            ("suite", suite.name),
            ("role", suite.role),
        ]
    ):
        table = table.add_column(place, name, pa.array([value] * count, pa.string()))
    return table.drop_columns(["seconds"]).cast(OUTPUT)
