"""The cache of rows: one row a model, problem and sample, found by what made it and by nothing else.

A row's key holds whatever could change it: weights, configuration, tokenizer, engine, scorer code, sampling, how it is
asked, the problem itself, the number of the sample. It does not hold the suite: a row is found whatever the suite's
size, the order of its problems, the number of samples or the company it was asked in. Every row has a seed of its own,
and so comes out the same in any company (on a GPU bit for bit only where vLLM's kernels do not depend on the company
either: VLLM_BATCH_INVARIANT=1, which is part of the key).

One file a model and protocol (row_file.py), named by their hash: <model>/<protocol>.rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from relex.core.atomic import remove_leftovers
from relex.core.digest import json_sha256
from relex.core.errors import StageFailed
from relex.core.owner import PREFIX
from relex.rewards.problem import Problem
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.row_file import RowFile
from relex.stages.evaluate.schema import CACHED, OUTPUT
from relex.stages.evaluate.suites.suite import Suite

CACHE_BYTES = 4 << 30  # about a hundred nights of 100,000 rows of a thousand characters
Asked = tuple[Problem, int]  # a problem and the number of the sample, from 0


class RowStore:
    """The rows in a folder. Threads may share it.

    engine: name and version, settings, hash of the scorers' code (engine/settings.py, engine_facts).
    """

    def __init__(self, cache: Path, engine: Mapping[str, Any]):
        self._cache, self._engine = cache, dict(engine)
        self._lock = threading.Lock()
        self._files: dict[Path, RowFile] = {}

    def asked(self, suite: Suite, problems: int, samples: int) -> list[Asked]:
        """The first `samples` samples of the first `problems` problems, in the order of the rows: problem by problem.

        StageFailed for more problems than the suite has.
        """
        if problems > len(suite.problems):
            raise StageFailed(f"{problems} problems are asked of suite {suite.name}, which has {len(suite.problems)}")
        return [(problem, sample) for problem in suite.problems[:problems] for sample in range(samples)]

    def missing(self, contestant: Contestant, suite: Suite, problems: int, samples: int) -> list[Asked]:
        """Those of `asked` that have no row yet, in their order."""
        file, asked = self._file(contestant, suite), self.asked(suite, problems, samples)
        return [one for one, key in zip(asked, row_keys(asked), strict=True) if key not in file]

    def rows(self, contestant: Contestant, suite: Suite, problems: int, samples: int) -> pa.Table:
        """The rows of `asked`, columns CACHED; StageFailed when one is missing."""
        file = self._file(contestant, suite)
        keys = row_keys(self.asked(suite, problems, samples))
        missing = sum(key not in file for key in keys)
        if missing:
            raise StageFailed(f"{missing} of {len(keys)} rows of {contestant.name} on suite {suite.name} are not there")
        return pa.Table.from_pylist(file.read(keys), schema=CACHED)

    def save(self, contestant: Contestant, suite: Suite, rows: Sequence[tuple[Asked, Mapping[str, Any]]]) -> None:
        """Keep finished rows (columns CACHED) by what was asked. StageFailed when the disk is full."""
        file = self._file(contestant, suite)
        try:
            file.append(dict(zip(row_keys([asked for asked, _ in rows]), [row for _, row in rows], strict=True)))
        except OSError as error:
            raise StageFailed(f"{file.path}: rows cannot be written: {error}") from error

    def some(self, contestant: Contestant, suite: Suite) -> Mapping[str, Any] | None:
        """A row of this model under this suite's protocol, or None."""
        file = self._file(contestant, suite)
        return next(iter(file.read(file.keys()[:1])), None)

    def prune(self, limit: int = CACHE_BYTES) -> int:
        """Keep the cache within `limit` bytes: what was used longest ago goes first; bytes removed.

        The files that were asked for through this store never go. Also removes what killed writers left.
        """
        return prune(self._cache, [path for path in self._files if path.is_file()], limit)

    def _file(self, contestant: Contestant, suite: Suite) -> RowFile:
        path = self._cache / contestant.model_sha256[:16] / f"{self.protocol(contestant, suite)}.rows"
        with self._lock:
            if path not in self._files:
                self._files[path] = RowFile(path)
            return self._files[path]

    def protocol(self, contestant: Contestant, suite: Suite) -> str:
        """Hash of what the rows of a model on a suite share: model, engine, sampling, and how it is asked."""
        sampling = suite.sampling
        facts = {
            "model": contestant.model_sha256,
            "engine": self._engine,
            "sampling": [sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.seed],
            "asking": suite.asking.model_dump(),
        }
        return json_sha256(facts)


def row_keys(asked: Sequence[Asked]) -> list[str]:
    """What tells the rows of one model and protocol apart: the problem's content and the number of the sample."""
    keys, last, content = [], None, ""
    for problem, sample in asked:
        if problem is not last:  # the samples of a problem stand side by side
            last, content = problem, json_sha256(asdict(problem))[:32]
        keys.append(f"{content}-{sample}")
    return keys


def prune(cache: Path, used: Iterable[Path], limit: int) -> int:
    """Keep a cache within `limit` bytes: the files used longest ago go first, those in `used` never; bytes removed."""
    now, keep = time.time(), set(used)
    for path in keep:
        os.utime(path, (now, now))
    folders = [path for path in cache.glob("*") if path.is_dir()]
    for folder in folders:
        remove_leftovers(folder)
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
