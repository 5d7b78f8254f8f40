"""From a completion to a reward: the same code in training and in evaluation.

    exact          the whole completion, stripped, is the answer
    integer        the last number in the completion is the answer
    math-verify    the final answer means the same as the reference (answers.py)
    reasoning-gym  the task's own scorer reaches the threshold stored with the problem

The first two are plain string work. The other two parse mathematics and can be driven into endless or huge
computations by a hostile completion, and libraries evaluate what they parse: so they run in processes that are bounded
and can do nothing else, fresh ones for every batch (bounded.py). Time limits count processor time, and a score depends
neither on the calling thread nor on what else the machine does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from relex.core.errors import InputError
from relex.rewards.bounded import ask_all

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

    timed_out: scoring met its bound of processor time or memory, or the text was about to be run as code; the value is
    0.0 then.
    """

    value: float
    extracted: str | None
    timed_out: bool = False


Entry = dict[str, Any] | None
Reference = tuple[str, Entry]  # an answer and its entry


@dataclass(frozen=True)
class Scorer:
    """One way of scoring; exactly one of judge and request is given.

    judge: (completion, reference answer, entry) -> Score, plain string work. request: the same, but what is sent to the
    confined processes of that scorer (bounded.py); InputError for an entry that lacks something. unusable:
    references -> for each why no completion could ever be right under it, or None.
    """

    judge: Callable[[str, str, Entry], Score] | None = None
    request: Callable[[str, str, Entry], dict[str, Any]] | None = None
    unusable: Callable[[Sequence[Reference]], list[str | None]] = lambda references: [None] * len(references)


@dataclass(frozen=True)
class Answered:
    """A completion to be scored. scorer: a name in SCORERS. answer: the reference. entry: what the scorer needs besides
    (reasoning-gym: task, threshold, item; math-verify: optionally percent: "value" or "unit")."""

    scorer: str
    completion: str
    answer: str
    entry: Entry = None


def score(scorer: str, completion: str, answer: str, entry: Entry = None) -> Score:
    """Score one completion against the reference answer.

    InputError for an unknown scorer, an empty reference, or an entry that lacks what its scorer needs.
    """
    return score_all([Answered(scorer, completion, answer, entry)])[0]


def score_all(answered: Sequence[Answered], cpu_seconds: float | None = None) -> list[Score]:
    """The scores of a batch, in its order; those that take a parser come from confined processes side by side.

    cpu_seconds: the bound of each, the same in any batch; None for those that depend on the batch (bounded.ask_all).
    InputError as for score().
    """
    found: dict[int, Score] = {}
    asked: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for place, one in enumerate(answered):
        if one.scorer not in SCORERS:
            raise InputError("unknown scorer", expected=", ".join(SCORERS), found=one.scorer)
        if not one.answer.strip():
            raise InputError("a problem without an answer cannot be scored", where=f"scorer {one.scorer}")
        scorer = SCORERS[one.scorer]
        if scorer.judge is not None:
            found[place] = scorer.judge(one.completion, one.answer, one.entry)
        elif scorer.request is not None:
            request = scorer.request(one.completion, one.answer, one.entry)
            asked.setdefault(one.scorer, []).append((place, request))
    for name, places in asked.items():
        replies = ask_all(name, [request for _, request in places], cpu_seconds)
        for (place, _), reply in zip(places, replies, strict=True):
            if reply is None or reply.get("refused"):
                found[place] = Score(0.0, None, timed_out=True)
            else:
                found[place] = Score(reply["value"], reply["extracted"])
    return [found[place] for place in range(len(answered))]


def unusable_answers(references: Sequence[tuple[str, str, Entry]]) -> list[str | None]:
    """For each (scorer, answer, entry) why no completion could ever be right under it, or None.

    In one batch: what a parser takes to read one is little beside what a fresh server takes.
    """
    found: dict[int, str | None] = {}
    for name in dict.fromkeys(reference[0] for reference in references):
        places = [place for place, reference in enumerate(references) if reference[0] == name]
        scorer = SCORERS.get(name, Scorer())  # of an unknown one its first score tells
        found |= dict(zip(places, scorer.unusable([references[place][1:] for place in places]), strict=True))
    return [found[place] for place in range(len(references))]


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
        scores = score_all(
            [
                Answered(name, _text(completion), reference, json.loads(extra) if extra else None)
                for completion, reference, name, extra in zip(completions, answer, scorer, entries, strict=True)
            ]
        )
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
        texts = [_text(completion) for completion in completions]
        short = [place for place, text in enumerate(texts) if len(text) <= MAX_FORMAT_CHARACTERS]
        requests = [{"completion": _sendable(texts[place]), "pattern": self.pattern} for place in short]
        replies: list[dict[str, Any] | None] = [{"value": 0.0} for _ in texts]
        for place, reply in zip(short, ask_all("format", requests), strict=True):
            replies[place] = reply
        if log_metric is not None:
            log_metric("format_timeouts", float(sum(reply is None for reply in replies)))
        return [0.0 if reply is None else reply["value"] for reply in replies]


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


def _not_integers(references: Sequence[Reference]) -> list[str | None]:
    values = [_fraction(answer.strip()) for answer, _ in references]
    whole = [value is not None and value.denominator == 1 for value in values]
    return [None if one else "the answer is not an integer" for one in whole]


def _request(completion: str, answer: str, entry: Entry) -> dict[str, Any]:
    return {"completion": _sendable(completion[-MAX_CHARACTERS:]), "answer": answer, "entry": entry}


def _no_mathematics(references: Sequence[Reference]) -> list[str | None]:
    asked = [Answered("math-verify", f"\\boxed{{{answer}}}", answer, entry) for answer, entry in references]
    return [_unequal_to_itself(own) for own in score_all(asked)]


def _unequal_to_itself(own: Score) -> str | None:
    if own.timed_out:
        return "math-verify does not finish reading the answer"
    return None if own.value == 1.0 else "math-verify cannot read the answer: it is not even equal to itself"


def _task_request(completion: str, answer: str, entry: Entry) -> dict[str, Any]:
    if not (entry and {"task", "threshold", "item"} <= entry.keys()):
        raise InputError(
            "the problem's entry is incomplete",
            where="scorer reasoning-gym",
            expected="task, threshold, item",
            found=sorted(entry or {}),
        )
    return _request(completion, answer, entry)


SCORERS: Mapping[str, Scorer] = {
    "exact": Scorer(_exact),
    "integer": Scorer(_integer, unusable=_not_integers),
    "math-verify": Scorer(request=_request, unusable=_no_mathematics),
    "reasoning-gym": Scorer(request=_task_request),
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
