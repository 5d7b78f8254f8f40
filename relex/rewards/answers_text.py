"""Finding final answers in text, without parsing them."""

from __future__ import annotations

import re

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")


def boxed(text: str) -> list[str]:
    """The contents of the outermost boxes that are closed, braces balanced, an inner box unwrapped."""
    return _scan(text)[0]


def cut_off(text: str) -> bool:
    """Whether the last box is not closed."""
    return _scan(text)[1]


def _scan(text: str) -> tuple[list[str], bool]:
    found, end = [], 0
    for match in _BOXED.finditer(text):
        if match.start() < end:
            continue
        depth = 1
        for position in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                end = position + 1
                inner, _ = _scan(text[match.end() : position])
                found.append(inner[-1] if inner else text[match.end() : position])
                break
        else:
            return found, True
    return found, False


_SAID = re.compile(r"\banswer\b(?:[^.\n:=]{0,60}?\bis\b\s*:?|\s*\**\s*[:=])\s*\**\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<!\d)\.(?:\s|\*|$)|\.(?:\s+[A-Z\\#]|\s*$)|\n|,?\s+(?:because|since|so|as|which)\b|\s\([a-z]"
)
_LONGEST_LINE = 400


def stated(text: str) -> str | None:
    """What stands behind the last "answer" of a text, to the end of its sentence; None where nothing does."""
    last = None
    for last in _SAID.finditer(text):  # noqa: B007  the last one
        pass
    if last is None:
        return None
    rest = text[last.end() : last.end() + _LONGEST_LINE]
    end = _SENTENCE_END.search(rest)
    return (rest[: end.start()] if end else rest).strip().strip("*").strip() or None


def last_line(text: str) -> str | None:
    """The last line that holds anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else None
