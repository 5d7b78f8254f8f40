"""Units that an answer may carry, so that 5 cm is not taken for 5 m. Units outside the table are left aside."""

from __future__ import annotations

import re

# Each line: the spellings of one unit, singular, lower case.
_SPELLINGS = (
    "mm millimeter millimetre",
    "cm centimeter centimetre",
    "m meter metre",
    "km kilometer kilometre",
    "in inch inche",
    "ft foot feet",
    "yd yard",
    "mi mile",
    "s sec second",
    "min minute",
    "h hr hour",
    "day",
    "week",
    "month",
    "year yr",
    "mg milligram",
    "g gram",
    "kg kilogram",
    "lb pound",
    "oz ounce",
    "ml milliliter millilitre",
    "l liter litre",
    "gallon gal",
    "cent",
    "dollar",
    "degree",
    "radian rad",
)
_CANONICAL = {spelling: line.split()[0] for line in _SPELLINGS for spelling in line.split()}
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm)\s*\{([^{}]*)\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?|([a-zA-Z]+)\s*$")


def unit_of(answer: str) -> tuple[str, int] | None:
    """(canonical unit, power) that a final answer ends with, or None when there is none that the table knows."""
    match = None
    for match in _TEXT.finditer(answer.strip().rstrip(".$ ")):  # noqa: B007  the last one
        pass
    if match is None:
        return None
    words = (match[1] or match[3] or "").lower().replace(".", " ").split()
    power = int(match[2] or 1)
    if words and words[0] in ("square", "sq", "cubic"):
        power = 3 if words[0] == "cubic" else 2
        words = words[1:]
    if len(words) != 1:
        return None
    word = words[0] if words[0] in _CANONICAL else words[0].removesuffix("s")
    return (_CANONICAL[word], power) if word in _CANONICAL else None
