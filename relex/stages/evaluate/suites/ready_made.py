"""Benchmarks by name, with the settings of the paper (shared method: arXiv 2605.21468) and adapters for their columns.

In-domain MATH: greedy, 4,096 tokens. Out-of-domain: temperature 0.7, top_p 0.8, 8 samples, 16,384 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relex.rewards.answers_text import boxed
from relex.stages.problems.rows import answer_text

STEP_BY_STEP = "{question}\nPlease reason step by step, and put your final answer within \\boxed{}."

Adapter = Callable[[Mapping[str, Any]], tuple[str, str]]


@dataclass(frozen=True)
class ReadyMade:
    """Where a benchmark lies on the hub, how a row becomes (question, answer), and how it is sampled."""

    repo: str
    split: str
    adapt: Adapter
    config: str | None = None
    samples: int = 8
    temperature: float = 0.7
    top_p: float = 0.8
    max_tokens: int = 16_384
    template: str = STEP_BY_STEP


def _plain(row: Mapping[str, Any]) -> tuple[str, str]:
    """problem (or question), answer; the answer may be a number or a list of one.

    Columns and splits as public evaluation code reads them: problem, answer and split train of MathArena's sets;
    question, answer and split test of math-ai/amc23.
    """
    question = row["problem"] if "problem" in row else row["question"]
    return question, answer_text(row["answer"])


def _math(row: Mapping[str, Any]) -> tuple[str, str]:
    """problem with answer, or, in the original release, with a solution whose last box is the answer.

    Columns of HuggingFaceH4/MATH-500, split test: problem, solution, answer, subject, level, unique_id.
    """
    if row.get("answer") is not None:
        return row["problem"], answer_text(row["answer"])
    boxes = boxed(row["solution"])
    return row["problem"], boxes[-1] if boxes else ""


def _olympiad(row: Mapping[str, Any]) -> tuple[str, str]:
    """question, after its context where there is one; final_answer is a list of one text, which may hold several.

    Columns and configuration as in the authors' own evaluation code (OpenBMB/OlympiadBench): English, mathematics,
    competition, text only, open-ended; 674 problems. A unit, where there is one, is not part of the answer.
    """
    context = (row.get("context") or "").strip()
    return f"{context}\n{row['question']}" if context else row["question"], answer_text(row["final_answer"])


READY_MADE: Mapping[str, ReadyMade] = {
    "math": ReadyMade("HuggingFaceH4/MATH-500", "test", _math, samples=1, temperature=0.0, top_p=1.0, max_tokens=4096),
    "aime-2025": ReadyMade("MathArena/aime_2025", "train", _plain),
    "aime-2026": ReadyMade("MathArena/aime_2026", "train", _plain),
    "hmmt-feb-2025": ReadyMade("MathArena/hmmt_feb_2025", "train", _plain),
    "amc23": ReadyMade("math-ai/amc23", "test", _plain),
    "olympiad-bench": ReadyMade("Hothan/OlympiadBench", "train", _olympiad, config="OE_TO_maths_en_COMP"),
}
