"""What the first rows of somebody's own task propose for the section `problems` and the lengths: columns, scorer,
template, sizes. Facts of rows in, a proposal out; no file is read here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relex.core.choices import Scorer
from relex.core.errors import InputError
from relex.rewards.score import unusable_answers
from relex.stages.problems.rows import answer_text

# By how surely a column of this name is one; the first that is there is taken.
QUESTIONS = ("problem", "question", "prompt", "query", "instruction", "input", "text")
ANSWERS = ("answer", "final_answer", "solution", "target", "label", "reference", "output", "response", "completion")
_LOOKED_AT = 200  # rows
_FEWEST = 60
_INTEGER = re.compile(r"[+-]?\d+")
# How a question is asked so that its answer can be read; {question} is the column, on a line of its own as questions
# end as they like.
TEMPLATES: dict[Scorer, str] = {
    "integer": "{question}\nReply with the number only.",
    "exact": "{question}\nReply with the answer only.",
    "math-verify": "{question}\nPut the final answer in \\boxed{}.",
}
_ROOM: dict[Scorer, int] = {"integer": 24, "exact": 24, "math-verify": 512}  # tokens beside the answer's own


@dataclass(frozen=True)
class Proposal:
    """problem, answer: columns. sizes: of train, validation and test. completion: tokens of an answer at most. longest:
    characters of the longest prompt of all. first: question and answer of the first row.
    """

    problem: str
    answer: str
    scorer: Scorer
    template: str
    sizes: dict[str, int]
    completion: int
    longest: int
    first: tuple[str, str]


def propose(
    rows: Sequence[Mapping[str, Any]], where: str, *, problem: str | None = None, answer: str | None = None
) -> Proposal:
    """From all rows of a table; problem and answer: columns that were named. InputError where no column can be told,
    rows are too few, or an answer is empty."""
    if len(rows) < _FEWEST:
        todo = "a proof needs problems that nothing was trained on: gather more, or take a generator"
        raise InputError("too few rows", where=where, expected=f"at least {_FEWEST}", found=len(rows), todo=todo)
    there = [str(name) for name in rows[0]]
    question = _column(there, problem, QUESTIONS, "--problem", where)
    reference = _column([name for name in there if name != question], answer, ANSWERS, "--answer", where)
    looked = rows[:: max(1, len(rows) // _LOOKED_AT)][:_LOOKED_AT]
    answers = [answer_text(row.get(reference)) for row in looked]
    if empty := sum(not one for one in answers):
        raise InputError(
            "rows without an answer", where=f"{where}: {reference!r}", found=f"{empty} of {len(answers)} looked at"
        )
    scorer = _scorer(answers)
    longest = max(len(answer_text(row.get(reference))) for row in rows)
    return Proposal(
        question,
        reference,
        scorer,
        TEMPLATES[scorer],
        sizes(len({str(row.get(question)) for row in rows})),
        longest + _ROOM[scorer] if scorer != "math-verify" else _ROOM[scorer],
        len(TEMPLATES[scorer]) + max(len(str(row.get(question))) for row in rows),
        (str(looked[0].get(question)), answers[0]),
    )


def sizes(count: int) -> dict[str, int]:
    """Of `count` distinct problems: a fifth for the test, three tenths to choose and prove on, the rest to train."""
    test, validation = min(500, count // 5), min(400, 3 * count // 10)
    return {"train": min(4000, count - test - validation), "validation": validation, "test": test, "ood": 0}


def _column(there: Sequence[str], named: str | None, known: Sequence[str], option: str, where: str) -> str:
    lowered = {name.lower(): name for name in there}
    if named is not None:
        if named not in there:
            raise InputError("no such column", where=f"{where}, {option}", expected=", ".join(there), found=named)
        return named
    for name in known:
        if name in lowered:
            return lowered[name]
    raise InputError(
        "which column it is cannot be told", where=where, found=", ".join(there), todo=f"name it with {option} COLUMN"
    )


def _scorer(answers: Sequence[str]) -> Scorer:
    """The plainest that can read all of them."""
    if all(_INTEGER.fullmatch(one) for one in answers):
        return "integer"
    if any(character.isdigit() or character == "\\" for one in answers for character in one):
        unusable = unusable_answers([("math-verify", one, None) for one in answers])
        if not any(unusable):
            return "math-verify"
    return "exact"
