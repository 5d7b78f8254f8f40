"""The majority of a problem's samples: which of their answers are one answer, and which has most votes. Pure.

Answers share a form as far as it can be read off without a parser. Numbers are equal by value: 1/2, \\frac{1}{2}, 0.50
and .5; 1,000 and 1000. Everything else is equal by its text, white space and TeX's spacing apart: x+1 and 1+x stay two
answers, and so do 50% and 0.5, which are one in some problems only. A number with needless leading zeros is text: where
order is the answer, 012 is not 12.
"""

from __future__ import annotations

import re
from fractions import Fraction

_LONGEST = 60  # characters of a number: beyond it, and for texts anyway, the text itself
_ENDLESS = 2000  # characters that the scorers read of an answer
_SPACING = re.compile(r"\\[,!;: ]|\\(?:left|right|displaystyle)(?![A-Za-z])|\s+|\$|\\[()\[\]]")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(-?[0-9]+)\}\{([0-9]+)\}")
_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212]?)(?P<whole>0|[1-9][0-9]{0,2}(?:(?:,|\{,\})[0-9]{3})+|[1-9][0-9]*)?"
    r"(?P<decimals>\.[0-9]+)?(?:/(?P<denominator>[1-9][0-9]*))?"
)


def majority(answers: list[str | None], right: list[bool]) -> float:
    """Whether the most frequent answer of one problem's samples is right; a tie counts by its share of right ones.

    answers: None where nothing could be read, which never wins. Equal texts are one answer, right when any is.
    """
    votes: dict[str, int] = {}
    good: dict[str, bool] = {}
    for answer, is_right in zip(answers, right, strict=True):
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
            good[answer] = good.get(answer, False) or is_right
    if not votes:
        return 0.0
    most = max(votes.values())
    tied = [answer for answer, count in votes.items() if count == most]
    return sum(good[answer] for answer in tied) / len(tied)


def votes(answers: list[str | None], right: list[float]) -> list[str | None]:
    """What each sample of a problem votes for: the normal form of its answer, None without one.

    Answers of one form that the scorer told apart, as an exact scorer does with 5 and 5.0, vote as they are written.
    """
    forms = [None if answer is None else normal_form(answer) for answer in answers]
    verdicts: dict[str | None, set[float]] = {}
    for form, verdict in zip(forms, right, strict=True):
        verdicts.setdefault(form, set()).add(verdict)
    return [answer if len(verdicts[form]) > 1 else form for answer, form in zip(answers, forms, strict=True)]


def normal_form(answer: str) -> str:
    """The form of a final answer as the scorers extract it."""
    if len(answer) > _ENDLESS:
        return answer
    text, before = answer, ""
    while text != before:  # what is left may spell another space: `\$,` without its dollar
        text, before = _SPACING.sub("", text).rstrip("."), text
    if len(text) > _LONGEST:
        return text
    match = _NUMBER.fullmatch(_FRACTION.sub(r"\1\2/\3", text).replace("--", ""))
    if match is None or not (match["whole"] or match["decimals"]):
        return text
    whole = re.sub(r"[{},]", "", match["whole"] or "0")
    value = Fraction(whole + (match["decimals"] or "")) / int(match["denominator"] or 1)
    return str(-value if match["sign"] in ("-", "\u2212") else value)
