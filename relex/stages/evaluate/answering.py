"""From an engine to rows: what a model is asked, and what it said. Whatever stands here can change a row."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from relex.stages.evaluate.engine.process import EngineProcess
from relex.stages.evaluate.row_store import Asked
from relex.stages.evaluate.schema import NON_FINITE
from relex.stages.evaluate.suites.suite import Suite

PROBE_PROMPTS = 8
_PROBE_TOKENS = 16
Answer = tuple[Asked, dict[str, Any]]


def answers(engine: EngineProcess, suite: Suite, asked: Sequence[Asked]) -> Iterator[list[Answer]]:
    """What the engine's model says to `asked` under the suite's protocol, as it finishes.

    All rows go in one request: the engine fills its batches itself, up to what its memory holds. An answer:
    {"prompt" as seen, "text", "tokens", "finish", "seconds" since rows last finished, shared by those that did}.
    """
    begin = time.perf_counter()
    for finished in engine.stream(
        [problem.prompt for problem, _ in asked],
        [suite.sampling.row_seed(problem.id, sample) for problem, sample in asked],
        suite.sampling.request(),
        suite.asking,
    ):
        seconds = (time.perf_counter() - begin) / len(finished)
        begin = time.perf_counter()
        yield [(asked[place], completion | {"seconds": seconds}) for place, completion in finished.items()]


def probe(engine: EngineProcess, suite: Suite, *, greedy: bool = False) -> list[tuple[str, list[float]]]:
    """A few short completions of the suite's first problems: their texts and their tokens' log-probabilities."""
    prompts = [problem.prompt for problem in suite.problems[:PROBE_PROMPTS]]
    sampling = suite.sampling.request() | {"logprobs": True}
    sampling["max_tokens"] = min(sampling["max_tokens"], _PROBE_TOKENS)
    if greedy:
        sampling |= {"temperature": 0.0, "top_p": 1.0}
    found = engine.generate(prompts, list(range(len(prompts))), sampling, suite.asking)
    return [(item["text"], item["logprobs"]) for item in found]


def gives_numbers(engine: EngineProcess, suite: Suite) -> bool:
    """Whether the model's logits are numbers at all: a look at the log-probabilities of some greedy completions."""
    return all(math.isfinite(value) for _, logprobs in probe(engine, suite, greedy=True) for value in logprobs)


def forfeited(asked: Sequence[Asked]) -> list[tuple[Asked, dict[str, Any]]]:
    """The rows of a model whose logits are not numbers: every one is wrong, has 0 tokens, and says why."""
    return [
        (
            (problem, sample),
            {
                "problem": problem.id,
                "sample": sample,
                "prompt": problem.prompt,
                "completion": "",
                "tokens": 0,
                "finish_reason": NON_FINITE,
                "extracted": None,
                "score": 0.0,
                "timed_out": False,
                "seconds": 0.0,
            },
        )
        for problem, sample in asked
    ]
