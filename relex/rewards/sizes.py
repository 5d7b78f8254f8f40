"""How large an answer may be before anything reads or computes it: pure text and SymPy trees that nobody evaluated."""

from __future__ import annotations

import math
import re
from typing import Any

LONGEST = 2_000  # characters of one final answer
_DEEPEST = 60  # brackets inside each other
_BITS = 200_000  # of a number that is computed exactly
_NODES = 2_000  # of an expression
_TERMS = 10_000  # of a sum or a product
_SIGNS = re.compile(r"[-+!^]{12,}")


class TooMuch(RuntimeError):
    """The answer would cost more to read than an answer can be worth: scored wrong, and counted as bounded."""


def check_text(text: str) -> None:
    """TooMuch for a final answer that is too long or too deep for a parser."""
    if len(text) > LONGEST:
        raise TooMuch(f"an answer of {len(text)} characters")
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST or _SIGNS.search(text):
        raise TooMuch("an answer of brackets in brackets")


def check_expression(expression: Any) -> None:
    """TooMuch for an unevaluated SymPy tree whose value would not fit, or whose simplification would not end."""
    for number, node in enumerate(_walk(expression)):
        if number > _NODES:
            raise TooMuch("an expression of very many parts")
        kind = type(node).__name__
        if kind in ("Sum", "Product"):
            for _, low, high in (limit for limit in node.limits if len(limit) == 3):
                if (high - low).is_number and _size(high - low) > math.log2(_TERMS) and _size(high) < math.inf:
                    raise TooMuch("a sum of very many terms")
    if _size(expression) > _BITS and not _infinite(expression):
        raise TooMuch("a number of very many digits")


def _walk(expression: Any) -> Any:
    left = [expression]
    while left:
        node = left.pop()
        yield node
        left.extend(getattr(node, "args", ()))


def _infinite(expression: Any) -> bool:
    return any(node.is_infinite is True for node in _walk(expression) if getattr(node, "is_Atom", False))


def _size(node: Any) -> float:
    """An upper bound of log2 of the largest number that evaluating `node` makes, at least 1."""
    kind = type(node).__name__
    if getattr(node, "is_Integer", False):
        return max(1.0, float(int(node.p).bit_length()))
    if getattr(node, "is_Rational", False):
        return max(1.0, float(max(int(node.p).bit_length(), int(node.q).bit_length())))
    sizes = [_size(part) for part in getattr(node, "args", ()) if hasattr(part, "args")]
    if not sizes:
        return 1.0
    if kind == "Pow":
        base, exponent = node.args
        number = exponent.is_number
        # A root keeps a number small; the power of a sum is multiplied out.
        steps = 2.0 ** min(sizes[1], 60.0) if number else sizes[1]
        terms = len(base.args) if kind == "Pow" and base.is_Add else 1
        if number and terms > 1 and not base.is_number and steps**terms > _BITS:
            return math.inf
        if base in (0, 1, -1):
            return 1.0
        return steps * sizes[0] if base.is_number and number else max(sizes)
    if kind in ("factorial", "factorial2", "subfactorial", "gamma"):
        count = 2.0 ** min(sizes[0], 60.0)
        return count * sizes[0] if node.args[0].is_number else sizes[0]
    if kind == "binomial":
        count = 2.0 ** min(max(sizes), 60.0)
        return count if node.is_number else max(sizes)
    return sum(sizes) if kind == "Mul" else max(sizes) + 1
