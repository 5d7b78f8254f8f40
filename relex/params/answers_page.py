"""What the base's first answers say, for people."""

from __future__ import annotations

from collections.abc import Iterator

from relex.params.first_answers import Answers, FirstAnswers

_SHOWN = 120  # characters of an example


def page(found: FirstAnswers, completion: int, max_truncated: float) -> list[str]:
    """Lines: what was right and cut off by length, examples, and what has to be changed. completion: tokens of an
    answer, as params.yaml has it or is to have it."""
    answers, problems = sum(len(one.texts) for one in found.asked), len(found.asked)
    at = found.at(completion)
    lines = [
        f"base       asked {problems} of the problems that train, {answers} answers, before any training:",
        _row("tokens of an answer", [str(cut.tokens) for cut in found.cuts]),
        _row("right", [f"{cut.right:.2f}" for cut in found.cuts]),
        _row("cut off", [f"{cut.cut_off:.2f}" for cut in found.cuts]),
        *(f"             {line}" for line in _examples(found)),
        f"             some answers right and some wrong in {found.teaching(completion)} of {problems} groups at "
        f"{at.tokens} tokens: by these RLVR learns",
    ]
    return lines + [f"CHECK      {line}" for line in _faults(found, completion, max_truncated)]


def _faults(found: FirstAnswers, completion: int, max_truncated: float) -> Iterator[str]:
    at, longest = found.at(completion), found.cuts[-1]
    if longest.right == 0:
        yield (
            "the base was never right: RLVR has nothing to go by. Read the answers above: take an easier task, a "
            "template that says how to answer (problems.source.template), or a larger base"
        )
    elif at.right == 0:
        yield f"never right within {at.tokens} tokens, {longest.right:.2f} within {longest.tokens}: allow more tokens"
    elif at.right == 1:
        yield "the base was always right: there is nothing to learn; take a harder task"
    elif found.teaching(completion) == 0:
        yield "in no group were some answers right and some wrong: without that RLVR has no signal"
    if at.cut_off > max_truncated:
        yield (
            f"{at.cut_off:.0%} of the answers are cut off at {at.tokens} tokens, and what is cut off more often than "
            f"decide.max_truncated ({max_truncated:g}) is never promoted: raise train.max_completion_length and "
            "evaluate.max_tokens together, or decide.max_truncated where RLVR shall teach shorter answers"
        )
    if found.stopped:
        yield f"longer answers than {longest.tokens} tokens were not tried: generation was stopped for its time"


def _examples(found: FirstAnswers) -> list[str]:
    """The first right answer and the first two wrong ones."""
    told = [(one, text, right[-1]) for one in found.asked for text, right in zip(one.texts, one.right, strict=True)]
    shown = [each for each in told if each[2]][:1] + [each for each in told if not each[2]][:2]
    return [_example(one, text, "right" if right else "wrong") for one, text, right in shown]


def _example(one: Answers, text: str, verdict: str) -> str:
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f"{verdict}: {one.problem.prompt!r} -> {short!r} (answer {one.problem.answer!r})"


def _row(name: str, cells: list[str]) -> str:
    return f"             {name:<20}" + "".join(f"{cell:>6}" for cell in cells)
