"""A form that equal answers share, as far as it can be read off without a parser: for counting votes. Pure.

Numbers are equal by value: 1/2, \\frac{1}{2}, 0.50 and .5; 1,000 and 1000. Everything else is equal by its text, white
space and TeX's spacing apart: x+1 and 1+x stay two answers, and so do 50% and 0.5, which are one in some problems only.
A number with needless leading zeros is text: where order is the answer, 012 is not 12.
"""

from __future__ import annotations

import re
from fractions import Fraction

_LONGEST = 60  # characters of a number: beyond it, and for texts anyway, the text itself
_SPACING = re.compile(r"\\[,!;: ]|\\(?:left|right|displaystyle)(?![A-Za-z])|\s+|\$|\\[()\[\]]")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(-?[0-9]+)\}\{([0-9]+)\}")
_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212]?)(?P<whole>0|[1-9][0-9]{0,2}(?:(?:,|\{,\})[0-9]{3})+|[1-9][0-9]*)?"
    r"(?P<decimals>\.[0-9]+)?(?:/(?P<denominator>[1-9][0-9]*))?"
)


def normal_form(answer: str) -> str:
    """The form of a final answer as the scorers extract it."""
    text = _SPACING.sub("", answer).rstrip(".")
    if len(text) > _LONGEST:
        return text
    match = _NUMBER.fullmatch(_FRACTION.sub(r"\1\2/\3", text).replace("--", ""))
    if match is None or not (match["whole"] or match["decimals"]):
        return text
    whole = re.sub(r"[{},]", "", match["whole"] or "0")
    value = Fraction(whole + (match["decimals"] or "")) / int(match["denominator"] or 1)
    return str(-value if match["sign"] in ("-", "\u2212") else value)
