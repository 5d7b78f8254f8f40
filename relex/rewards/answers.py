"""Whether a final answer means the same as the reference: math-verify, with the choices it leaves open made here.

- The last boxed answer counts; an unclosed box is a cut-off answer and wrong. Where the reference holds several
  elements, as many last boxes may be taken together. Without a box math-verify looks for the final expression.
- A percent sign is part of the value (50% is 0.5, and is not 50), unless the problem asks for a percentage
  (percent="unit"), where the number is compared as written. Never both: that would accept answers wrong by 100.
- A unit may be left out, but two known units that differ are two answers.
- Text is compared by its letters.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any, Literal

from math_verify import parse, verify

from relex.rewards.answers_text import boxed, cut_off
from relex.rewards.units import unit_of

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that time limits are ours; they are

_PERCENT_END = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*percent\s*\}|percent)\s*$")
_PERCENT_NEXT = re.compile(r"(?:\$|\\\)|\}|\s)*(?:\\?%|percent\b)")
_THOUSANDS = re.compile(r"(?<=\d)(?:\\[,!;: ]|\{,\})(?=\d{3}(?!\d))")
_WRAPPERS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|textit|mbox)\b")
Percent = Literal["value", "unit"]


def judge(completion: str, answer: str, *, percent: Percent = "value") -> dict[str, Any]:
    """{"value": 1.0 or 0.0, "extracted": the final answer as text or None}. Unbounded: call through bounded.py."""
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
        if _same(candidate, answer, percent):
            return {"value": 1.0, "extracted": candidate}
    return {"value": 0.0, "extracted": boxes[-1].strip() or None}


def _judge_prose(completion: str, answer: str, percent: Percent) -> dict[str, Any]:
    """A completion without a box: the expression that math-verify finds, or the last line's words."""
    found = parse(_THOUSANDS.sub("", completion), parsing_timeout=0)
    extracted = next((item for item in reversed(found) if isinstance(item, str)), None)
    if extracted is None:
        lines = [line.strip() for line in completion.splitlines() if line.strip()]
        if not lines:
            return {"value": 0.0, "extracted": None}
        extracted = re.sub(r"^.*\banswer(?: is)?\s*:?\s*", "", lines[-1], flags=re.IGNORECASE)
        return {"value": float(_same_words(extracted, answer)), "extracted": extracted or None}
    position = completion.rfind(extracted)
    if position >= 0 and _PERCENT_NEXT.match(completion, position + len(extracted)):
        extracted += "%"
    return {"value": float(_same(extracted, answer, percent)), "extracted": extracted}


def _same(candidate: str, answer: str, percent: Percent) -> bool:
    """Whether two final answers, each as text, mean the same."""
    if _same_words(candidate, answer):
        return True
    ours, theirs = unit_of(candidate), unit_of(answer)
    if ours and theirs and ours != theirs:
        return False
    found, marked = _parsed(candidate)
    reference, wanted = _parsed(answer)
    if not found or not reference:
        return False
    if percent == "value" and marked != wanted:
        try:
            found = [found[0] / 100] if marked else found[:1]
            reference = [reference[0] / 100] if wanted else reference[:1]
        except TypeError:  # only numbers can be percentages
            return False
    # With relations: [1,3] is 1 <= x <= 3. Without alarms: bounded.py bounds the time.
    return bool(verify(reference, found, timeout_seconds=0, allow_set_relation_comp=True))


@lru_cache(maxsize=4096)
def _parsed(answer: str) -> tuple[list[Any], bool]:
    """(what math-verify makes of a final answer, whether it carried a percent sign, which is left out)."""
    bare = _THOUSANDS.sub("", answer.strip().rstrip(".;,").strip("$").strip())
    number, marked = _PERCENT_END.subn("", bare)
    return parse(f"\\boxed{{{number}}}", parsing_timeout=0), bool(marked)


def _elements(answer: str) -> int:
    """How many elements a reference holds, where its order does not count; 1 for anything but a set or a list."""
    found, _ = _parsed(answer)
    return len(found[0]) if found and type(found[0]).__name__ == "FiniteSet" else 1


def _same_words(one: str, other: str) -> bool:
    """Whether both are words without digits, and the same ones but for case, wrapping and punctuation."""
    first, second = (re.sub(r"[\s{}$().,\\*]+", "", _WRAPPERS.sub("", text)).casefold() for text in (one, other))
    return first == second and first.isalpha()
