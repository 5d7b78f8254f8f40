"""Numbers written with the base that their digits are in: 101_2. Pure text.

The base may be left out, as a unit may; two that differ are two answers, also where the values agree, because restating
a number in the base of the question is no conversion. Base ten is what a number without one is in.
"""

from __future__ import annotations

import re

_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_BASES = {word: base for base, word in enumerate(_WORDS, 2)} | {"sixteen": 16}
_BASED = re.compile(r"(-?)([0-9A-Z]*[0-9][0-9A-Z]*)_\{?(\d+|[a-z]+)\}?")
_DIGITS = re.compile(r"-?[0-9A-Z]+")


def based(text: str) -> tuple[str, int] | None:
    """(digits with their sign, base), or None where the text is no number with a base."""
    match = _BASED.fullmatch(re.sub(r"\\text\{([^{}]*)\}", r"\1", text.replace(" ", "")))
    if match is None:
        return None
    base = int(match[3]) if match[3].isdigit() and len(match[3]) < 3 else _BASES.get(match[3], 0)
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in match[2]):
        return None
    return match[1] + (match[2].lstrip("0") or "0"), base


def same_base(one: str, other: str) -> bool | None:
    """Whether two numbers are the same one, where at least one names a base other than ten; None where none does."""
    mine, theirs = based(one), based(other)
    if mine is None and theirs is None:
        return None
    if mine is not None and theirs is not None:
        return mine == theirs
    known, bare = (mine, other) if mine is not None else (theirs, one)
    assert known is not None
    if not _DIGITS.fullmatch(bare.strip()):
        return False if known[1] != 10 else None
    sign, digits = ("-", bare.strip()[1:]) if bare.strip().startswith("-") else ("", bare.strip())
    return known[0] == sign + (digits.lstrip("0") or "0")
