"""Libraries that evaluate text, made to read it instead: for a process that scores what a model wrote."""

from __future__ import annotations

import sys

from relex.rewards import expressions


def disarm() -> None:
    """From now on, in this process, neither SymPy nor a scorer of reasoning-gym evaluates text as code.

    Every module that holds SymPy's parse_expr under whatever name gets ours, and `eval` means a literal in every module
    of reasoning-gym. What is loaded later finds SymPy's own name changed already. Call it once all is loaded.
    """
    import sympy.parsing.sympy_parser as parser

    evaluating = parser.parse_expr
    for name, module in list(sys.modules.items()):
        held = vars(module) if module is not None else {}
        for key in [key for key, value in list(held.items()) if value is evaluating]:
            held[key] = expressions.parse_expr
        if name.startswith("reasoning_gym."):
            held["eval"] = expressions.literal
