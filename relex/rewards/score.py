"""From a completion to a reward: the same code in training and in evaluation.

    exact          the whole completion, stripped, is the answer
    integer        the last number in the completion is the answer
    math-verify    the final answer means the same as the reference (answers.py)
    reasoning-gym  the task's own scorer reaches the threshold stored with the problem

The first two are plain string work. The other two parse mathematics and can be driven into endless or huge
computations by a hostile completion, so they run in a bounded process (bounded.py): time limits count processor
time, and a score depends neither on the calling thread nor on what else the machine does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from relex.core.errors import InputError
from relex.rewards.bounded import BoundedWorker

# Longer completions than this are cut to their end, where the final answer stands, before a parser sees them.
MAX_CHARACTERS = 20_000
MAX_FORMAT_CHARACTERS = 200_000  # a format is a matter of the whole completion

LogMetric = Callable[[str, float], None]  # what TRL passes: averaged over the calls and processes of a step

# A sign counts only where it cannot be a subtraction; a number is whole only with its decimals, exponent, denominator
# and percent sign.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z_.])(?:(?<![0-9A-Za-z_)\]])[-+\u2212])?"
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
    r"(?:/[0-9]+)?(?:\s?\\?%)?"
)
_LONGEST_NUMBER = 400


@dataclass(frozen=True)
class Score:
    """value: 1.0 right, 0.0 wrong. extracted: the answer read from the completion, None when there is none.

    timed_out: scoring met its bound of processor time or memory; the value is 0.0 then.
    """

    value: float
    extracted: str | None
    timed_out: bool = False


Entry = dict[str, Any] | None


@dataclass(frozen=True)
class Scorer:
    """judge: (completion, reference answer, entry) -> Score. unusable: (answer, entry) -> why no completion could ever
    be right under this reference, or None."""

    judge: Callable[[str, str, Entry], Score]
    unusable: Callable[[str, Entry], str | None] = lambda answer, entry: None


def score(scorer: str, completion: str, answer: str, entry: Entry = None) -> Score:
    """Score one completion against the reference answer.

    scorer: a name in SCORERS. entry: what the scorer needs besides (reasoning-gym: task, threshold, item; math-verify:
    optionally percent: "value" or "unit"). InputError for an unknown scorer, an empty reference, or an entry that
    lacks what its scorer needs.
    """
    if scorer not in SCORERS:
        raise InputError("unknown scorer", expected=", ".join(SCORERS), found=scorer)
    if not answer.strip():
        raise InputError("a problem without an answer cannot be scored", where=f"scorer {scorer}")
    return SCORERS[scorer].judge(completion, answer, entry)


def unusable_answer(scorer: str, answer: str, entry: Entry = None) -> str | None:
    """Why no completion could ever be right under this reference, or None: the scorer cannot read it."""
    return SCORERS[scorer].unusable(answer, entry) if scorer in SCORERS else None


class VerifiableReward:
    """`score` as a reward function for TRL's GRPOTrainer.

    Picklable, without state. The data set's columns `answer`, `scorer` and `entry` (a JSON string or None) arrive as
    keyword lists, one element per completion. How many met their bound goes to TRL's metric `reward_timeouts`.
    """

    __name__ = "verifiable_reward"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        answer: Sequence[str],
        scorer: Sequence[str],
        entry: Sequence[str | None] | None = None,
        log_metric: LogMetric | None = None,
        **_: Any,
    ) -> list[float]:
        """Rewards, 0.0 or 1.0, one per completion. A conversational completion is scored on its last message."""
        entries = [None] * len(completions) if entry is None else entry
        scores = [
            score(name, _text(completion), reference, json.loads(extra) if extra else None)
            for completion, reference, name, extra in zip(completions, answer, scorer, entries, strict=True)
        ]
        if log_metric is not None:
            log_metric("reward_timeouts", float(sum(one.timed_out for one in scores)))
        return [one.value for one in scores]


class FormatBonus:
    """1.0 where a regular expression is found in the completion, else 0.0: a reward function for TRL's GRPOTrainer.

    pattern: as re.search takes it with `.` matching line ends too; \\A and \\Z anchor it. InputError when it is not a
    regular expression. Picklable. The search runs within bounds (bounded.py): a completion that drives the pattern
    into endless backtracking gets 0.0 and counts in TRL's metric `format_timeouts`; so does one longer than
    MAX_FORMAT_CHARACTERS, except that it is not counted.
    """

    __name__ = "format_bonus"

    def __init__(self, pattern: str):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise InputError("not a regular expression", where="train.format.pattern", found=error) from error
        self.pattern = pattern

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], log_metric: LogMetric | None = None, **_: Any
    ) -> list[float]:
        """Bonuses, 0.0 or 1.0, one per completion. A conversational completion is judged on its last message."""
        replies = [self._ask(_text(completion)) for completion in completions]
        if log_metric is not None:
            log_metric("format_timeouts", float(sum(reply is None for reply in replies)))
        return [0.0 if reply is None else reply["value"] for reply in replies]

    def _ask(self, completion: str) -> dict[str, Any] | None:
        if len(completion) > MAX_FORMAT_CHARACTERS:
            return {"value": 0.0}
        return BoundedWorker.shared("format").ask({"completion": _sendable(completion), "pattern": self.pattern})


def _sendable(text: str) -> str:
    """A lone surrogate cannot travel as UTF-8; it never stands in a right answer."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _exact(completion: str, answer: str, entry: Entry) -> Score:
    text = completion.strip()
    return Score(float(text == answer.strip()), text or None)


def _integer(completion: str, answer: str, entry: Entry) -> Score:
    wanted = _fraction(answer.strip())
    if wanted is None or wanted.denominator != 1:
        raise InputError("the reference is not an integer", where="scorer integer", found=repr(answer[:80]))
    found = _NUMBER.findall(completion)
    if not found:
        return Score(0.0, None)
    return Score(float(_fraction(found[-1]) == wanted), found[-1])


def _not_an_integer(answer: str, entry: Entry) -> str | None:
    value = _fraction(answer.strip())
    return None if value is not None and value.denominator == 1 else "the answer is not an integer"


def _bounded(scorer: str, completion: str, answer: str, entry: Entry) -> Score:
    text = _sendable(completion[-MAX_CHARACTERS:])
    reply = BoundedWorker.shared(scorer).ask({"completion": text, "answer": answer, "entry": entry})
    if reply is None:
        return Score(0.0, None, timed_out=True)
    return Score(reply["value"], reply["extracted"])


def _math(completion: str, answer: str, entry: Entry) -> Score:
    return _bounded("math-verify", completion, answer, entry)


def _no_mathematics(answer: str, entry: Entry) -> str | None:
    own = _math(f"\\boxed{{{answer}}}", answer, entry)
    if own.timed_out:
        return "math-verify does not finish reading the answer"
    return None if own.value == 1.0 else "math-verify cannot read the answer: it is not even equal to itself"


def _task(completion: str, answer: str, entry: Entry) -> Score:
    if not (entry and {"task", "threshold", "item"} <= entry.keys()):
        raise InputError(
            "the problem's entry is incomplete",
            where="scorer reasoning-gym",
            expected="task, threshold, item",
            found=sorted(entry or {}),
        )
    return _bounded("reasoning-gym", completion, answer, entry)


SCORERS: Mapping[str, Scorer] = {
    "exact": Scorer(_exact),
    "integer": Scorer(_integer, _not_an_integer),
    "math-verify": Scorer(_math, _no_mathematics),
    "reasoning-gym": Scorer(_task),
}


def _fraction(text: str) -> Fraction | None:
    """The exact value of a number as _NUMBER matches it, or None when it is none or is absurdly long."""
    text = text.replace("\u2212", "-").replace(",", "").replace("\\", "").strip()
    percent = text.endswith("%")
    exponent = re.search(r"[eE][-+]?([0-9]+)", text)
    if len(text) > _LONGEST_NUMBER or (exponent and int(exponent[1]) > _LONGEST_NUMBER):
        return None
    numerator, _, denominator = text.rstrip("% ").partition("/")
    try:
        value = Fraction(numerator) / Fraction(denominator or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return value / 100 if percent else value
