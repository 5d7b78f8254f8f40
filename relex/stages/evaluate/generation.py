"""Fill the cache: every missing row through engine processes, several at a time; whole batches scored and saved."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from relex.core.workspace import STATE
from relex.rewards import score as rewards
from relex.rewards.problem import Problem
from relex.stages.evaluate import reload, rows
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.engine.process import EngineProcess
from relex.stages.evaluate.engine.settings import check_memory, engine_environments, engine_facts, engine_settings
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.rows import Batch
from relex.stages.evaluate.schema import NON_FINITE

LOGS = STATE / "engines"
Pending = list[tuple[Contestant, list[Batch]]]


@dataclass(frozen=True)
class Shard:
    """Batches of one model for one engine process."""

    contestant: Contestant
    batches: tuple[Batch, ...]


def generate(pending: Pending, settings: Evaluate) -> dict[str, float]:
    """Generate what pending batches lack, score and save them; what it took, as numbers that add up, for the timings.

    At most `settings.engines` engine processes run at a time. A model gets a fresh engine, or, where reload.py
    proves that exact, one that served another model before.
    """
    if not any(batches for _, batches in pending):
        return {}
    slots = len(engine_environments(settings.tensor_parallel, settings.engines))  # fewer where GPUs are few
    todo = deque(_shards(pending, slots))
    shards = len(todo)
    environments = engine_environments(settings.tensor_parallel, min(slots, shards))
    batches = [batch for shard in todo for batch in shard.batches]
    total, kept = sum(len(batch.rows) for batch in batches), sum(len(batch.part.read()) for batch in batches)
    if _on_cpu(environments):
        check_memory([shard.contestant.folder for shard in todo], settings, len(environments))
    reloading = _may_reload(todo, settings, environments)
    crew = _Crew(todo, settings, environments, reloading)
    with tqdm(total=total, initial=kept, desc="evaluating", unit="row", mininterval=2.0) as crew.bar:
        try:
            crew.work()
        finally:
            reload.remove_twins()
    return {
        "rows": total - kept,
        "reloads": shards - crew.spent["engine_starts"],
        **crew.spent,
    }


class _Crew:
    """One thread per engine slot; each takes the next shard when it is done with one."""

    def __init__(self, todo: deque[Shard], settings: Evaluate, environments: list[dict[str, str]], reloading: bool):
        self._todo, self._settings, self._environments, self._reloading = todo, settings, environments, reloading
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._engines: dict[int, EngineProcess] = {}
        self.spent: dict[str, float] = {"start_seconds": 0.0, "generate_seconds": 0.0, "tokens": 0, "engine_starts": 0}
        self.bar: Any = None

    def work(self) -> None:
        """Run until nothing is left. The first failure ends every engine, and is raised."""
        with ThreadPoolExecutor(len(self._environments)) as pool:
            futures = [pool.submit(self._serve, slot) for slot in range(len(self._environments))]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self._stop.set()
                for engine in list(self._engines.values()):
                    engine.kill()
                raise

    def _serve(self, slot: int) -> None:
        layout = ""
        try:
            while (shard := self._next()) is not None:
                begin = time.perf_counter()
                wanted = reload.architecture(shard.contestant) if self._reloading else ""
                if self._reloading and layout == wanted:
                    self._engines[slot].reload(reload.servable(shard.contestant, _on_cpu(self._environments)))
                else:
                    self._start(slot, shard.contestant)
                    layout = wanted
                started = time.perf_counter()
                tokens = self._complete(self._engines[slot], shard)
                with self._lock:
                    self.spent["start_seconds"] += started - begin
                    self.spent["generate_seconds"] += time.perf_counter() - started
                    self.spent["tokens"] += tokens
        finally:
            if slot in self._engines:
                self._engines[slot].close()

    def _next(self) -> Shard | None:
        with self._lock:
            return self._todo.popleft() if self._todo and not self._stop.is_set() else None

    def _start(self, slot: int, contestant: Contestant) -> None:
        if slot in self._engines:
            self._engines[slot].close()
        folder = reload.servable(contestant, _on_cpu(self._environments)) if self._reloading else contestant.folder
        settings = engine_settings(self._settings) | {"model": str(folder)}
        log = LOGS / f"{contestant.name}-{slot}.log"
        self._engines[slot] = EngineProcess(settings, log, self._environments[slot])
        self._engines[slot].wait_until_ready()
        self.spent["engine_starts"] += 1

    def _complete(self, engine: EngineProcess, shard: Shard) -> int:
        """Every batch of a shard; the number of completion tokens."""
        tokens = 0
        finite = all(_finite(engine, batch) for batch in shard.batches[:1])
        for batch in shard.batches:
            self.bar.set_postfix_str(shard.contestant.name, refresh=False)
            tokens += complete(engine, batch, self.bar.update) if finite else forfeit(batch, self.bar.update)
        return tokens


def _finite(engine: EngineProcess, batch: Batch) -> bool:
    """Whether the model gives numbers at all: a look at the log-probabilities of some greedy completions."""
    prompts = [problem.prompt for problem in batch.problems[: reload.PROBE_PROMPTS]]
    sampling = batch.suite.sampling.request() | {"temperature": 0.0, "top_p": 1.0, "logprobs": True}
    sampling["max_tokens"] = min(sampling["max_tokens"], 16)
    found = engine.generate(prompts, [0] * len(prompts), sampling, batch.suite.asking)
    return all(math.isfinite(value) for item in found for value in item["logprobs"])


def complete(engine: EngineProcess, batch: Batch, progress: Callable[[int], Any]) -> int:
    """Generate the rows that a batch lacks, score and save it; the number of completion tokens generated.

    Every row is kept the moment it finishes. `progress` is told how many did.
    """
    asked, sampling, part = batch.rows, batch.suite.sampling, batch.part
    found = part.read()
    missing = [place for place in range(len(asked)) if place not in found]
    tokens, begin = 0, time.perf_counter()
    for finished in engine.stream(
        [asked[place][0].prompt for place in missing],
        [sampling.row_seed(asked[place][0].id, asked[place][1]) for place in missing],
        sampling.request(),
        batch.suite.asking,
    ):
        seconds = (time.perf_counter() - begin) / len(finished)
        begin = time.perf_counter()
        rows_done = {missing[i]: completion | {"seconds": seconds} for i, completion in finished.items()}
        part.append(rows_done)
        found.update(rows_done)
        tokens += sum(completion["tokens"] for completion in finished.values())
        progress(len(finished))
    scores = rewards.score_all(
        [
            rewards.Answered(problem.scorer, found[place]["text"], problem.answer, problem.entry)
            for place, (problem, _) in enumerate(asked)
        ]
    )
    rows.save(
        batch,
        [_scored(problem, sample, found[place], scores[place]) for place, (problem, sample) in enumerate(asked)],
    )
    return tokens


def _scored(problem: Problem, sample: int, completion: dict[str, Any], result: rewards.Score) -> dict[str, Any]:
    return {
        "problem": problem.id,
        "sample": sample,
        "prompt": completion["prompt"],
        "completion": completion["text"],
        "tokens": completion["tokens"],
        "finish_reason": completion["finish"],
        "extracted": result.extracted,
        "score": result.value,
        "timed_out": result.timed_out,
        "seconds": completion["seconds"],
    }


def forfeit(batch: Batch, progress: Callable[[int], Any]) -> int:
    """Save a batch of a model whose logits are not numbers: every row is wrong, and says why. It has 0 tokens."""
    empty = {"completion": "", "tokens": 0, "finish_reason": NON_FINITE, "extracted": None, "score": 0.0}
    progress(len(batch.rows) - len(batch.part.read()))
    rows.save(
        batch,
        [
            {
                "problem": problem.id,
                "sample": sample,
                "prompt": problem.prompt,
                "timed_out": False,
                "seconds": 0.0,
                **empty,
            }
            for problem, sample in batch.rows
        ],
    )
    return 0


def _may_reload(todo: deque[Shard], settings: Evaluate, environments: list[dict[str, str]]) -> bool:
    """Whether one engine may serve several of these models: asked for, of use, and proven."""
    first, last = todo[0], todo[-1]
    if not settings.reload or len(todo) <= len(environments):
        return False
    if settings.backend == "transformers":
        return True  # its reload is a fresh load
    if reload.architecture(first.contestant) != reload.architecture(last.contestant):
        return False
    suite = first.batches[0].suite
    exact = reload.proven(
        first.contestant,
        last.contestant,
        engine_settings(settings) | {"on_cpu": _on_cpu(environments)},
        engine_facts(settings),
        [problem.prompt for problem in suite.problems],
        suite.sampling.request(),
        suite.asking,
        environments[:2],
        LOGS / "reload.log",
    )
    if not exact:
        print("evaluate: reloading weights into one engine was not proven exact here; each model gets a fresh engine")
    return exact


def _on_cpu(environments: list[dict[str, str]]) -> bool:
    return "CUDA_VISIBLE_DEVICES" not in environments[0]


def _shards(pending: Pending, engines: int) -> list[Shard]:
    """Whole models while there are as many as engines; the batches of fewer models are dealt out."""
    pending = [(contestant, batches) for contestant, batches in pending if batches]
    if not pending:
        return []
    parts = -(-engines // len(pending))
    return [
        Shard(contestant, tuple(batches[part::parts]))
        for contestant, batches in pending
        for part in range(parts)
        if batches[part::parts]
    ]
