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
