"""Whether a final answer means the same as the reference. docs/answers.md has the rules, tests/data the judged pairs.

- The last boxed answer counts; an unclosed box is a cut-off answer and wrong. Where the reference holds several
  elements, as many last boxes may be taken together. Without a box the answer is what the text says that it is
  ("the answer is ..."), else the final expression that math-verify finds.
- A percent sign is part of the value (50% is 0.5, and is not 50), unless the problem asks for a percentage
  (percent="unit"), where the number is compared as written. Never both: that would accept answers wrong by 100.
- notation.py, shapes.py, moments.py, bases.py, units.py and values.py each decide one thing, in that order.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from math_verify import parse

from relex.rewards.answers_text import boxed, cut_off, last_line, stated
from relex.rewards.bases import same_base
from relex.rewards.moments import same_moment
from relex.rewards.notation import plain
from relex.rewards.shapes import Shape, same_shape, shape
from relex.rewards.sizes import check_text
from relex.rewards.units import quantities, ratio
from relex.rewards.values import read, relational, same_value

_PERCENT_END = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*(?:percent|pct)\s*\}|(?<![a-z])percent|(?<![a-z])pct)\s*$")
_AFTER = re.compile(r"(?:\$|\\\)|\}|\s)*(?:\\?%|percent\b|[a-z\u00b0]{1,12}(?:/[a-z]+|\^[23]|\s?per\s[a-z]+)?\b)")
_WRAPPERS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|textit|mbox)\b")
_ARTICLE = re.compile(r"(?:an?|the)\s+(?=[a-z]{2})", re.IGNORECASE)
_CHOICE = re.compile(r"(?:\\text\s*\{\s*)?\(([A-J])\)(?:\s*\}\s*|\s+)(?=[\w\\.]|-\d)")
Percent = Literal["value", "unit"]


def judge(completion: str, answer: str, *, percent: Percent = "value") -> dict[str, Any]:
    """{"value": 1.0 or 0.0, "extracted": the final answer as text or None}. Unbounded: call through bounded.py.

    TooMuch for an answer that would cost too much to read (sizes.py).
    """
    boxes = boxed(completion)
    if not boxes and cut_off(completion):
        return {"value": 0.0, "extracted": None}
    if not boxes:
        return _judge_prose(completion, answer, percent)
    candidates = [boxes[-1]]
    wanted = _elements(answer)
    if wanted > 1 and len(boxes) >= wanted:
        candidates.append(", ".join(boxes[-wanted:]))
    for candidate in candidates:
        if same(candidate, answer, percent):
            return {"value": 1.0, "extracted": candidate}
    return {"value": 0.0, "extracted": boxes[-1].strip() or None}


def same(candidate: str, answer: str, percent: Percent = "value") -> bool:
    """Whether two final answers, each as text, mean the same."""
    check_text(candidate)
    if _same_words(candidate, answer):
        return True
    if not candidate.strip() or _is_words(candidate) != _is_words(answer):
        return False
    # 1,234 is one number, or a list of two: whichever reading both share.
    for grouped in (True, False):
        given, wanted = plain(candidate, grouped=grouped), plain(answer, grouped=grouped)
        if _same_plain(given, wanted, percent) or (
            grouped and _same_plain(given, plain(answer, grouped=False), percent)
        ):
            return True
    return False


def _judge_prose(completion: str, answer: str, percent: Percent) -> dict[str, Any]:
    """A completion without a box: what it says that the answer is, the expression that math-verify finds, or words."""
    said = stated(completion)
    if said is not None and (_same_words(said, answer) or _readable(said)):
        return {"value": float(same(said, answer, percent)), "extracted": said}
    found = parse(completion[-_LAST:], parsing_timeout=0)
    extracted = next((item for item in reversed(found) if isinstance(item, str)), None)
    if extracted is None:
        line = said or last_line(completion)
        return {"value": float(line is not None and _same_words(line, answer)), "extracted": line}
    position = completion.rfind(extracted)
    if position >= 0 and (after := _AFTER.match(completion, position + len(extracted))):
        unit = after[0].strip("$} \n\t").removeprefix("\\)").strip()
        if unit.lstrip("\\") in ("%", "percent") or next(quantities(f"{extracted} \\text{{{unit}}}")).units:
            extracted += unit if "%" in unit else f" {unit}"
    return {"value": float(same(extracted, answer, percent)), "extracted": extracted}


_LAST = 4_000  # characters in which a text without a box is searched for an expression


def _same_plain(given: str, wanted: str, percent: Percent) -> bool:
    if not given or not wanted:
        return False
    moment = same_moment(given, wanted)
    if moment is not None:
        return moment
    for choice in _choices(given, wanted):
        if choice:
            return True
    if max(given.count(":"), wanted.count(":")) > 1:
        return _same_ratio(given.split(":"), wanted.split(":"))
    mine, theirs = shape(given), shape(wanted)
    if _both_quantities(given, wanted):  # 1 hour and 30 minutes is no list
        return True
    known = same_shape(mine, theirs, lambda one, other: _same_one(one, other, percent))
    if known is not None:
        return known
    if mine.kind == theirs.kind == "one":
        return _same_one(given, wanted, percent)
    if {mine.kind, theirs.kind} <= {"tuple", "interval", "union", "set", "one"} and _comparable(mine, theirs):
        return same_value(given, wanted)
    return False


def _same_ratio(given: list[str], wanted: list[str]) -> bool:
    """3:4:5 is 6:8:10; of two terms a ratio is their quotient, which the parser reads."""
    return len(given) == len(wanted) and all(
        same_value(f"({mine}) \\cdot ({wanted[0]})", f"({theirs}) \\cdot ({given[0]})")
        for mine, theirs in zip(given, wanted, strict=True)
    )


def _choices(given: str, wanted: str) -> list[bool]:
    """(C) 12 is the choice C, and 12."""
    found = []
    for one, other in ((given, wanted), (wanted, given)):
        match = _CHOICE.match(one)
        rest = one[match.end() :].strip(" }") if match else ""
        if match and rest and not _CHOICE.match(other):
            letter = re.sub(r"\\text|[\s{}().]", "", other)
            found.append(letter == match[1] or (len(rest) > 0 and rest != one and same_value(rest, other)))
    return found


def _both_quantities(given: str, wanted: str) -> bool:
    mine, theirs = next(quantities(given)), next(quantities(wanted))
    if not mine.units or not theirs.units or (" \\cdot " not in mine.number and " \\cdot " not in theirs.number):
        return False
    times = ratio(mine, theirs)
    return times is not None and same_value(mine.number, theirs.number, times)


def _comparable(one: Shape, other: Shape) -> bool:
    """Whether two different shapes may still be the same set: an interval and an inequality, unions in other pieces."""
    sides = (one, other)
    if any(side.kind == "one" and not relational(side.parts[0]) for side in sides):
        return False
    return not any(side.kind == "tuple" and len(side.parts) != 2 for side in sides)


def _same_one(given: str, wanted: str, percent: Percent) -> bool:
    """Whether two things, neither a list nor a set, are the same one."""
    if _same_words(given, wanted):
        return True
    inner = shape(given), shape(wanted)
    if (inner[0].kind, inner[1].kind) != ("one", "one"):
        known = same_shape(*inner, lambda one, other: _same_one(one, other, percent))
        return bool(known)
    based = same_base(given, wanted)
    if based is not None:
        return based
    (bare, marked), (reference, reference_marked) = _unmarked(given), _unmarked(wanted)
    share = Fraction(1)
    if percent == "value" and marked != reference_marked:
        share = Fraction(1, 100) if marked else Fraction(100)
    for mine in quantities(bare):
        for theirs in quantities(reference):
            if theirs.letter and (mine.letter or not mine.units):
                continue  # 5t is not 5
            times = ratio(mine, theirs)
            if times is not None and same_value(mine.number, theirs.number, (times[0] * share, times[1])):
                return True
            if mine.units and theirs.units and times is None:
                return False
    return False


def _unmarked(text: str) -> tuple[str, bool]:
    """(without its percent sign, whether it had one)."""
    bare, marked = _PERCENT_END.subn("", text)
    return (bare, bool(marked)) if bare else (text, False)


def _readable(text: str) -> bool:
    first = shape(plain(text)).parts[:1]
    return bool(first) and any(read(one.number) is not None for one in quantities(_unmarked(first[0])[0]))


@lru_cache(maxsize=4096)
def _elements(answer: str) -> int:
    """How many elements a reference holds, where its order does not count; 1 for anything but a set or a list."""
    found = shape(plain(answer))
    return len(found.parts) if found.kind in ("list", "set") else 1


def _is_words(text: str) -> bool:
    """Whether an answer is words, which nobody multiplies letter by letter: letters alone, a word of five at least."""
    bare = _WRAPPERS.sub("", text).strip(" {}$*.")
    return bool(re.fullmatch(r"[a-zA-Z\s,.'-]+", bare) and re.search(r"[a-zA-Z]{5}", bare)) and "\\" not in bare


def _same_words(one: str, other: str) -> bool:
    """Whether both are words without digits, and the same ones but for case, wrapping, article and punctuation."""
    first, second = (
        re.sub(r"[\s{}$().,\\*]+", "", _ARTICLE.sub("", _WRAPPERS.sub("", text).strip(" {}$*"))).casefold()
        for text in (one, other)
    )
    return first == second and first.isalpha()
