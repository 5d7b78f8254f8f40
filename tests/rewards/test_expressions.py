"""Literals and mathematics read without evaluation: what evaluation would give, and nothing else."""

from __future__ import annotations

import contextlib

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.rewards.expressions import Rejected, literal, parse_expr

_LITERALS = st.recursive(
    st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.booleans(),
    lambda part: (
        st.lists(part, max_size=4) | st.tuples(part, part) | st.dictionaries(st.text(max_size=3), part, max_size=3)
    ),
    max_leaves=12,
)


@given(_LITERALS)
def test_a_literal_is_what_python_reads(value):
    assert literal(repr(value)) == value


_SUMS = st.recursive(
    st.integers(0, 50).map(str),
    lambda part: st.tuples(part, st.sampled_from(["+", "-", "*", "/", "//", "%"]), part).map(
        lambda p: f"({p[0]} {p[1]} {p[2]})"
    ),
    max_leaves=8,
)


@given(_SUMS)
def test_arithmetic_is_what_python_computes(text):
    try:
        wanted = eval(text)
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            literal(text)
        return
    assert literal(text) == wanted


_FORMULAS = st.recursive(
    st.sampled_from(["x", "y", "C", "pi", "E", "2", "3", "1/2", "2.5"]),
    lambda part: (
        st.tuples(part, st.sampled_from([" + ", " - ", "*", "/"]), part).map(lambda p: f"({p[0]}{p[1]}{p[2]})")
        | st.tuples(st.sampled_from(["sin", "cos", "exp", "log", "sqrt", "Abs"]), part).map(lambda p: f"{p[0]}({p[1]})")
        | part.map(lambda p: f"({p})**2")
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(_FORMULAS, st.booleans())
def test_a_formula_is_what_sympy_parses(text, evaluate):
    assert parse_expr(text, evaluate=evaluate) == sympy.parse_expr(text, evaluate=evaluate)


def test_symbols_keep_the_meaning_that_they_are_given():
    x = sympy.Symbol("x", positive=True)
    assert parse_expr("sqrt(x**2)", local_dict={"x": x}) == x
    assert parse_expr("f(x) + 5!") == sympy.parse_expr("f(x) + 5!")


HOSTILE = [
    "__import__('os').system('true')",
    "[__import__('os').system('true')]",
    "().__class__.__base__.__subclasses__()",
    "(lambda: 1)()",
    "[x for x in (1, 2)]",
    "{**{}}",
    "f'{1}'",
    "open('/etc/passwd').read()",
    "getattr(1, 'real')",
    "sympify('1')",
    "S('1')",
    "lambdify(x, x)(1)",
    "Symbol('x').__class__",
    "x.diff(x)",
    "(1).__add__(2)",
    "'%s' % 1",
    "'a' * 1000000000",
    "9**9**9**9",
    "1 << 10**9",
    "(yield)",
    "Matrix([['1']])",
    "sin(['1'])",
    "Add(1, ('1', 2))",
    "x := 1",
    "1 if 1 else 2",
    "a" * 30_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
@pytest.mark.parametrize("read", [literal, parse_expr])
def test_what_is_not_mathematics_is_refused_before_anything_is_looked_up(read, text):
    with pytest.raises((Rejected, SyntaxError, TypeError, ValueError)):
        read(text)


@pytest.mark.parametrize("name", ["print", "exec", "globals", "breakpoint"])
def test_the_name_of_a_function_of_python_is_an_unknown_function(name):
    assert str(parse_expr(f"{name}(1)")) == f"{name}(1)"
    with pytest.raises(Rejected):
        literal(f"{name}(1)")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    refusals = (Rejected, SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)
    with contextlib.suppress(*refusals):
        literal(text)


@pytest.mark.parametrize(
    "text",
    ["factorial(10**9)", "binomial(10**9, 7)", "gamma(10**8)", "Pow(10, 10**10)", "((2**4096)**4096)**4096"],
)
def test_a_number_of_very_many_digits_is_rejected_before_it_is_computed(text):
    with pytest.raises(Rejected):
        parse_expr(text)


@pytest.mark.parametrize(("text", "value"), [("factorial(5)", 120), ("binomial(10, 5)", 252), ("2**100", 2**100)])
def test_a_number_of_few_digits_is_computed(text, value):
    assert parse_expr(text) == value
