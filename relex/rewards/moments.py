"""Dates and times of day, which look like differences and ratios. Pure text.

2024-01-05 is a day in January and not 2018; 10:30 is a time and not a third. Morning or afternoon may be left out.
"""

from __future__ import annotations

import re

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_NAMED = "|".join(f"{month}|{month[:3]}\\.?" for month in _MONTHS)
_ISO = re.compile(r"(\d{4})-(0\d|1[0-2])-([0-2]\d|3[01])")
_MONTH_FIRST = re.compile(rf"({_NAMED})\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:\s*,?\s+(\d{{4}}))?", re.IGNORECASE)
_DAY_FIRST = re.compile(
    rf"(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_NAMED})(?:\s*,?\s+(\d{{4}}))?", re.IGNORECASE
)
_NUMERIC = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{4}")
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*(?:([ap])\.?\s*m\.?)?", re.IGNORECASE)
_HOUR_SECONDS = 3600
_HOUR = re.compile(r"(\d{1,2})()()\s*([ap])\.?\s*m\.?", re.IGNORECASE)


def same_moment(one: str, other: str) -> bool | None:
    """Whether two dates or two times of day are the same; None where neither text, or one that could also be a ratio,
    is such. A date is never equal to anything else."""
    first, second = (re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text).strip() for text in (one, other))
    first, second = (re.sub(r"\s+", " ", text) for text in (first, second))
    dates = _date(first), _date(second)
    if dates != (None, None):
        return dates[0] == dates[1]
    clocks = _clock(first), _clock(second)
    if clocks[0] is not None and clocks[1] is not None:
        return not clocks[0].isdisjoint(clocks[1])
    # 3:04 may be a ratio; 3:04 PM may not
    return False if any(clock is not None and len(clock) == 1 for clock in clocks) else None


def _date(text: str) -> tuple[object, ...] | None:
    if match := _ISO.fullmatch(text):
        return int(match[1]), int(match[2]), int(match[3])
    if match := _MONTH_FIRST.fullmatch(text):
        return int(match[3] or 0), _month(match[1]), int(match[2])
    if match := _DAY_FIRST.fullmatch(text):
        return int(match[3] or 0), _month(match[2]), int(match[1])
    if _NUMERIC.fullmatch(text):
        return (text,)  # whether the day or the month comes first is the country's affair
    return None


def _month(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS, 1) if month.startswith(name.lower().rstrip(".")))


def _clock(text: str) -> frozenset[int] | None:
    """Seconds after midnight: one value, or two where morning or afternoon is not said."""
    match = _CLOCK.fullmatch(text) or _HOUR.fullmatch(text)
    if match is None or int(match[1]) > 23 or (match[4] and not 1 <= int(match[1]) <= 12):
        return None
    hour, rest = int(match[1]), int(match[2] or 0) * 60 + int(match[3] or 0)
    if not 1 <= hour <= 12:
        return frozenset({hour * _HOUR_SECONDS + rest})
    halves = {"a": (0,), "p": (12,)}.get((match[4] or "").lower(), (0, 12))
    return frozenset((hour % 12 + half) * _HOUR_SECONDS + rest for half in halves)
