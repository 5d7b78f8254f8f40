"""Scoring with a reasoning-gym task's own scorer, made pass or fail by a threshold; no task evaluates what it is given.

Some of the package's scorers call eval or SymPy's parse_expr, which is eval, on the answer: unevaluated.py puts
expressions.py in their place before an answer is seen. docs/scorers.md has the table of all tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import reasoning_gym.factory

# Tasks whose own scorer cannot be trusted, and why.
REFUSED: Mapping[str, str] = {
    "game_of_life_halting": "its scorer takes any text at all for True",
    "composite": "it is made of other tasks: name those",
}

_OPEN, _CLOSE = "<answer>", "</answer>"


def judge(completion: str, *, task: str, threshold: float, item: dict[str, Any]) -> dict[str, Any]:
    """Whether `completion` reaches `threshold` in the scorer of `task` for `item` (question, answer, metadata).

    The answer is what stands in the last <answer>...</answer>, else the whole completion, stripped.
    """
    answer = _tagged(completion).strip()
    if not answer:
        return {"value": 0.0, "extracted": None}
    try:
        value = float(dataset(task).score_answer(answer, item))
    except Exception:  # a task's parser may trip over any malformed answer: it is wrong, not an error of ours
        value = 0.0
    return {"value": float(value >= threshold), "extracted": answer}


def _tagged(text: str) -> str:
    """What stands in the last pair of tags, else the whole; in one pass, however many tags are open."""
    found, begin = text, text.find(_OPEN)
    while begin >= 0 and (end := text.find(_CLOSE, begin)) >= 0:
        found = text[begin + len(_OPEN) : end]
        begin = text.find(_OPEN, end)
    return found


@cache
def dataset(task: str) -> Any:
    """The task's scorer; KeyError for one that the package does not have. Some read word lists for it."""
    made, config = reasoning_gym.factory.DATASETS[task]
    return made(config=config())
