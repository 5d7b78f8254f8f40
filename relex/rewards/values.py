"""Whether two expressions have the same value: math-verify reads and compares, with what it leaves open decided here.

- A decimal is the number that it writes: 0.5000001 is not 0.5, and 0.333 is no third.
- i is the imaginary unit, e Euler's number; an angle in a function may be in degrees.
- Every step of a chain of equations has to hold: x = 2 + 3 = 5 ends in 5, x = 5 = 6 in nothing.
- An inequality, and what an answer is not, is equal only to its like.
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from latex2sympy2_extended.logic import And
from math_verify import LatexExtractionConfig, parse, verify

from relex.rewards.sizes import check_expression, check_text

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that time limits are ours; they are

# Its own stripping of units takes 5t and 2ab for 5 and 2; its plain search takes the 5 out of "\neq 5".
_READING = LatexExtractionConfig(
    boxed_match_priority=-1,
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
    ),
)
_DEGREES = re.compile(r"(\d+(?:\.\d+)?|[a-zA-Z]|\))\s*\^\\circ\s*")
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc|arc[a-z]+)(?![a-zA-Z])")
_RELATIONS = re.compile(r"(?<![<>!:\\])=|[<>]|\\(?:le|ge|neq|lt|gt)(?![a-zA-Z])")
_ABOUT = re.compile(r"\\(?:approx|sim|simeq|cong)(?![a-zA-Z])")


def same_value(one: str, other: str, times: tuple[Fraction, int] = (Fraction(1), 0)) -> bool:
    """Whether the first times r * pi**k (times: r and k) is the second; both as notation.plain gives them.

    TooMuch for one that would cost too much to read or to compute.
    """
    found, reference = read(one), read(other)
    if found is None or reference is None:
        # What neither side's parser reads is compared as it is written.
        return found is reference is None and times == (1, 0) and _written(one) == _written(other) != ""
    if times != (1, 0):
        return _same_number(found, reference, times)
    found, reference = _stated(found), _stated(reference)
    if found is None or reference is None or _negated(found) != _negated(reference):
        return False
    if any(side.has(sympy.zoo, sympy.nan) for side in (found, reference)):
        return False
    if _states_nothing(found, reference) or _states_nothing(reference, found):
        return False
    # With relations: [1,3] is 1 <= x <= 3. Without alarms: bounded.py bounds the time.
    return bool(verify([reference], [found], timeout_seconds=0, allow_set_relation_comp=True))


def relational(text: str) -> bool:
    """Whether an equation or an inequality stands in the text, or a set by its name."""
    return bool(_RELATIONS.search(text)) or bool(re.search(r"\\(?:cup|cap|setminus|mathbb|in)(?![a-zA-Z])", text))


@lru_cache(maxsize=4096)
def read(text: str) -> Any:
    """The SymPy expression that an answer means, exact, or None where it cannot be read."""
    check_text(text)
    about = _ABOUT.split(text)
    if len(about) > 1:  # the exact value stands before the sign, unless it is only a name
        text = about[-1] if re.fullmatch(r"\s*\\?[a-zA-Z]*\s*=?\s*", about[0]) else about[0]
    if _FUNCTION.search(text):
        text = _DEGREES.sub(r"\1 \\cdot \\frac{\\pi}{180} ", text)
    text = text.replace("^\\circ", "").replace("$", "").replace("\\%", "").strip()
    if not text or re.match(r"\\neq|=", text) or not _balanced(text):
        return None
    found = parse(f"${text}$", extraction_config=[_READING], fallback_mode="no_fallback", parsing_timeout=0)
    if not found:
        return None
    if not isinstance(found[0], sympy.Basic):
        return found[0].applyfunc(_exact) if isinstance(found[0], sympy.MatrixBase) else None
    check_expression(found[0])
    return _exact(found[0])


def _exact(expression: Any) -> Any:
    """Decimals as fractions, i as the imaginary unit."""
    put: dict[Any, Any] = {number: sympy.Rational(str(number)) for number in expression.atoms(sympy.Float)}
    if not expression.has(sympy.Sum, sympy.Product, sympy.Integral):
        put |= {symbol: sympy.I for symbol in expression.free_symbols if symbol.name == "i"}
    return expression.xreplace(put) if put else expression


def _stated(expression: Any) -> Any:
    """What an equation says in the end, its name first; None where one of its steps is false."""
    steps = _equations(expression)
    if not steps:
        return expression
    sides = [steps[0].lhs, *(step.rhs for step in steps)]
    numbers = [side for side in sides if isinstance(side, sympy.Expr) and not side.free_symbols]
    if any(not _equal_numbers(numbers[0], number) for number in numbers[1:]):
        return None
    if len(sides) == 2 and _name(sides[1]) and not _name(sides[0]):
        return sympy.Eq(sides[1], sides[0], evaluate=False)
    if len(sides) == 2 and len(numbers) == 2:
        return sides[1]
    return expression


def _equations(expression: Any) -> list[Any]:
    """The equations of a chain, in their order; none where it holds anything else."""
    if isinstance(expression, sympy.Eq):
        return [expression]
    if isinstance(expression, And) and all(isinstance(part, sympy.Eq) for part in expression._unsorted_args):
        return list(expression._unsorted_args)
    return []


def _name(side: Any) -> bool:
    return isinstance(side, sympy.Symbol) or isinstance(
        getattr(side, "func", None), sympy.core.function.UndefinedFunction
    )


def _states_nothing(one: Any, other: Any) -> bool:
    """Whether the first is an equation with zero, x - 5 = 0, where a value is wanted: it says none."""
    steps = _equations(one)
    if not steps or _equations(other) or isinstance(other, sympy.Set):
        return False
    return not _name(steps[0].lhs) and bool(steps[0].lhs.free_symbols) and steps[-1].rhs == 0


def _negated(expression: Any) -> bool:
    return isinstance(expression, sympy.Ne)


def _same_number(found: Any, reference: Any, times: tuple[Fraction, int]) -> bool:
    found, reference = (_number(_stated(side)) for side in (found, reference))
    if found is None or reference is None:
        return False
    factor = sympy.Rational(times[0].numerator, times[0].denominator) * sympy.pi ** times[1]
    return _equal_numbers(found * factor, reference)


def _number(expression: Any) -> Any:
    """The number or term that an expression is, or is said to be; None for a relation, a set, a matrix."""
    if isinstance(expression, sympy.Eq) and _name(expression.lhs):
        expression = expression.rhs
    return expression if isinstance(expression, sympy.Expr) else None


def _equal_numbers(one: Any, other: Any) -> bool:
    return bool(verify([one.doit()], [other.doit()], timeout_seconds=0))


def _written(text: str) -> str:
    return re.sub(r"\s+", "", text) if _balanced(text) else ""


def _balanced(text: str) -> bool:
    depth = 0
    for sign in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0
