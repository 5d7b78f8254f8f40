"""Literals and mathematics in text that nobody vouches for: parsed, looked through, never evaluated as code. Pure.

Python's own parser makes a tree, which evaluates nothing; what the tree may hold is listed here, everything else is a
Rejected. So a name with an underscore, an attribute, a subscript, a lambda, a comprehension, a keyword that is not
`evaluate`, or a call of anything but mathematics cannot do harm: nobody looks it up.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_LONGEST = 20_000  # characters
_HIGHEST_POWER = 4096  # exponent of plain numbers, and bits of a shift: beyond it the result only costs memory
_MOST_BITS = 1 << 20  # of a power of powers
_HIGHEST_COUNT = 10_000  # argument of a factorial and of its like
_COUNTING = ("sympy.functions.combinatorial.", "sympy.functions.special.gamma_functions")

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARED: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Rejected(ValueError):
    """The text holds something that is neither a literal nor mathematics."""


def literal(text: str, *_: Any) -> Any:
    """The value of a Python literal or of plain arithmetic: what `eval` would give for those, and for nothing else."""
    return _value(_tree(text), {})


def parse_expr(
    text: str,
    local_dict: Mapping[str, Any] | None = None,
    transformations: Any = None,
    global_dict: Mapping[str, Any] | None = None,
    evaluate: bool = True,
) -> Any:
    """The SymPy expression that a text means: sympy.parse_expr without its evaluation of code.

    local_dict: symbols by name. transformations: as SymPy takes them. evaluate False keeps the expression as written.
    Rejected for a text that holds more than mathematics; SymPy's own errors for one that is no expression.
    """
    from sympy.parsing.sympy_parser import EvaluateFalseTransformer, standard_transformations, stringify_expr

    names = _mathematics()
    own = {name: value for name, value in (local_dict or {}).items() if _plain(name)}
    if len(text) > _LONGEST:
        raise Rejected(f"longer than {_LONGEST} characters")
    code = stringify_expr(text, dict(own), dict(names), transformations or standard_transformations)
    tree = _tree(code)
    if not evaluate:
        tree = ast.fix_missing_locations(EvaluateFalseTransformer().visit(ast.Expression(tree))).body
    return _value(tree, {**names, **own})


def _tree(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise Rejected(f"longer than {_LONGEST} characters")
    return ast.parse(text.strip(), mode="eval").body


def _plain(name: str) -> bool:
    return name.isidentifier() and "__" not in name and not name.startswith("_")


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise Rejected(f"the name {node.id[:40]!r}")
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand, names))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left, names), _value(node.right, names)
        if isinstance(node.op, ast.Pow | ast.LShift):
            _check_power(left, right)
        if not isinstance(node.op, ast.Add) and any(isinstance(side, str | list | tuple) for side in (left, right)):
            raise Rejected("a repeated or formatted text")
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        return _COMPARED[type(node.ops[0])](_value(node.left, names), _value(node.comparators[0], names))
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, names) for item in node.elts)
    if isinstance(node, ast.List):
        return [_value(item, names) for item in node.elts]
    if isinstance(node, ast.Set):
        return {_value(item, names) for item in node.elts}
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        return {
            _value(key, names): _value(item, names) for key, item in zip(node.keys, node.values, strict=True) if key
        }
    if isinstance(node, ast.Call):
        return _called(node, names)
    raise Rejected(type(node).__name__)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) or bool(
        getattr(value, "is_Rational", False) or getattr(value, "is_Float", False)
    )


def _check_power(base: Any, exponent: Any) -> None:
    """Rejected for a power of numbers that would cost more to compute than anybody can answer."""
    if not (_number(base) and _number(exponent)):
        return
    if abs(exponent) > _HIGHEST_POWER or abs(exponent) * _bits(base) > _MOST_BITS:
        raise Rejected(f"a power above {_HIGHEST_POWER}, or of more than {_MOST_BITS} bits")


def _bits(value: Any) -> int:
    """Binary digits of a whole number or a fraction; 1 of a float, which has as many whatever its power."""
    parts = (value,) if isinstance(value, int) else (getattr(value, "p", 1), getattr(value, "q", 1))
    return max(1, *(int(part).bit_length() for part in parts))


# Makers of a number or a symbol of its text, which read it by themselves.
_TAKE_TEXT = frozenset({"Symbol", "Integer", "Float", "Rational", "Function"})


def _holds_text(node: ast.AST) -> bool:
    """Whether a text stands in it, other than as the name or the digits of a symbol or a number."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _TAKE_TEXT:
        return False
    return any(_holds_text(child) for child in ast.iter_child_nodes(node))


def _called(node: ast.Call, names: Mapping[str, Any]) -> Any:
    function: Any = None
    if isinstance(node.func, ast.Name):
        function = names.get(node.func.id)
    elif isinstance(node.func, ast.Call) and isinstance(node.func.func, ast.Name) and node.func.func.id == "Function":
        function = _value(node.func, names)  # an unknown function by its name: f(x)
    if not callable(function):
        raise Rejected("a call of something that is not mathematics")
    takes_text = isinstance(node.func, ast.Name) and node.func.id in _TAKE_TEXT
    if not takes_text and any(_holds_text(item) for item in node.args):
        raise Rejected("a text as an argument")  # SymPy would read it as a formula again, by its own means
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        raise Rejected("spread arguments")
    given = {}
    for keyword in node.keywords:
        if keyword.arg != "evaluate" or not (
            isinstance(keyword.value, ast.Constant) and type(keyword.value.value) is bool
        ):
            raise Rejected(f"the argument {str(keyword.arg)[:40]!r}")
        given["evaluate"] = keyword.value.value
    arguments = [_value(argument, names) for argument in node.args]
    if getattr(function, "__name__", "") == "Pow" and len(arguments) == 2:
        _check_power(*arguments)
    if str(getattr(function, "__module__", "")).startswith(_COUNTING) and any(
        _number(argument) and abs(argument) > _HIGHEST_COUNT for argument in arguments
    ):
        raise Rejected(f"a factorial or its like above {_HIGHEST_COUNT}")
    return function(*arguments, **given)


@lru_cache(maxsize=1)
def _mathematics() -> Mapping[str, Any]:
    """Names of SymPy that mean numbers, constants, functions and sums: classes of expressions, and functions that make
    them. What works on expressions as a program does (lambdify, sympify, plotting, printing, ...) is not among them."""
    import sympy
    from sympy.core.function import FunctionClass, UndefinedFunction

    names: dict[str, Any] = {}
    for name in [*sympy.functions.__all__, *sympy.core.__all__]:
        if not _plain(name) or name in _NOT_MATHEMATICS:
            continue
        found = getattr(sympy, name, None)
        expression = isinstance(found, type) and issubclass(found, sympy.Expr | sympy.logic.boolalg.Boolean)
        if expression or isinstance(found, FunctionClass | sympy.Basic) or name in _MADE_BY_FUNCTIONS:
            names[name] = found
    names |= {
        "max": sympy.Max,
        "min": sympy.Min,
        "abs": sympy.Abs,
        "Matrix": sympy.Matrix,
        "factorial": sympy.factorial,
    }
    names["Function"] = UndefinedFunction
    return names


_MADE_BY_FUNCTIONS = frozenset({"sqrt", "cbrt", "root", "real_root", "Rational", "Eq", "Ne", "Lt", "Le", "Gt", "Ge"})
_NOT_MATHEMATICS = frozenset({"Lambda", "WildFunction", "Wild", "Subs", "PoleError", "FunctionClass"})
