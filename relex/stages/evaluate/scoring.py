"""Scores of finished rows, beside the generation: in the background, a chunk at a time, each saved with its rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from relex.rewards import score as rewards
from relex.stages.evaluate.answering import Answer
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.row_store import RowStore
from relex.stages.evaluate.suites.suite import Suite

# Rows that need a parser wait for so many: fresh servers for a chunk take some 7 ms of processor time each.
CHUNK = 32
# Of processor time, for every row alike, so that a score does not depend on the chunk that its row came to stand in.
# Honest answers take milliseconds. It also bounds what hostile rows cost: each so much at most, on one of up to four
# servers side by side, while the engine goes on; a model that does nothing else leaves the race after its first look.
CPU_SECONDS = 2.0

_Waiting = tuple[Contestant, Suite, Answer]


class Scoring:
    """Scores and saves what it is given. Threads may share it; every failure is raised, by `add` or by `finish`."""

    def __init__(self, store: RowStore):
        self._store = store
        self._pool = ThreadPoolExecutor(1)  # the servers of a chunk work side by side
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._chunks: list[Future[None]] = []
        self.seconds = 0.0  # spent on scoring so far

    def add(self, contestant: Contestant, suite: Suite, answers: Sequence[Answer]) -> None:
        """Take finished rows. What is not scored yet when this process is killed is lost."""
        with self._lock:
            self._waiting.extend((contestant, suite, answer) for answer in answers)
            parsed = any(rewards.SCORERS[answer[0][0].scorer].judge is None for _, _, answer in self._waiting)
            if len(self._waiting) >= CHUNK or not parsed:
                self._submit()
            over = [chunk for chunk in self._chunks if chunk.done()]
            self._chunks = [chunk for chunk in self._chunks if not chunk.done()]
        for chunk in over:
            chunk.result()

    def finish(self) -> None:
        """Return when everything is scored and saved."""
        with self._lock:
            self._submit()
            chunks, self._chunks = self._chunks, []
        wait(chunks)
        for chunk in chunks:
            chunk.result()

    def close(self) -> None:
        """Give up what is waiting."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        if self._waiting:
            self._chunks.append(self._pool.submit(self._score, self._waiting))
            self._waiting = []

    def _score(self, chunk: list[_Waiting]) -> None:
        begin = time.perf_counter()
        scores = rewards.score_all(
            [
                rewards.Answered(problem.scorer, completion["text"], problem.answer, problem.entry)
                for _, _, ((problem, _), completion) in chunk
            ],
            CPU_SECONDS,
        )
        saved: dict[str, list[tuple[_Waiting, rewards.Score]]] = {}
        for one, score in zip(chunk, scores, strict=True):
            saved.setdefault(self._store.protocol(one[0], one[1]), []).append((one, score))
        for together in saved.values():
            contestant, suite, _ = together[0][0]
            self._store.save(contestant, suite, [_row(answer, score) for (_, _, answer), score in together])
        self.seconds += time.perf_counter() - begin


def _row(answer: Answer, score: rewards.Score) -> Answer:
    (problem, sample), completion = answer
    return (problem, sample), {
        "problem": problem.id,
        "sample": sample,
        "prompt": completion["prompt"],
        "completion": completion["text"],
        "tokens": completion["tokens"],
        "finish_reason": completion["finish"],
        "extracted": score.extracted,
        "score": score.value,
        "timed_out": score.timed_out,
        "seconds": completion["seconds"],
    }
