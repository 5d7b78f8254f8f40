"""What the stages say, in the words of `relex prove`: its options in place of the keys of a params.yaml that it lacks.

The stages speak to who has a params.yaml. Here every key of the sections that a proof hands them is said as the option
that it was made of; where a key has no option, the advice is one that can be followed without it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from relex.core.errors import InputError, InputErrors
from relex.proving.options import Options

# Whole phrases first: what they advise needs a key that a proof does not have, or says more than one option.
_PHRASES = {
    "evaluate.engines, evaluate.cpu_kv_cache_gib": "--engines",
    "use fewer engines or a smaller cache": "give a smaller --engines, or free memory",
    "raise the budget, or ask for fewer problems, candidates or samples of the report": (
        "raise --rows, or give fewer problems or candidates, or a smaller --samples"
    ),
    "the budget does not reach for": "--rows does not reach for",
    "evaluate.max_tokens, train.max_completion_length": "--max-tokens",
    "problems.chat, or a suite's chat": "--chat",
    "set chat: false, or take": "leave out --chat, or take",
    "validation is too small to split": "--suite is too small to split",
    "run the stage that writes it again": "the same `relex prove` again writes it",
    "run the stage that writes it": "the same `relex prove` again writes it",
    "run `relex decide` again": "the same `relex prove` again decides again",
    "run `relex evaluate`": "the same `relex prove` again writes them",
    "dvc repro": "the same `relex prove` again writes it",
}
# Keys that are called otherwise than their option.
_KEYS = {
    "evaluate.budget.rows": "--rows",
    "evaluate.budget": "--rows",
    "evaluate.proof.samples": "--proof-samples",
    "evaluate.proof": "--first, --race-samples and --proof-samples",
    "evaluate.max_model_len": "--max-tokens",
    "evaluate.suites": "--suite",
    "train.max_completion_length": "--max-tokens",
    "train.temperature": "--temperature",
}
_KEY = re.compile(r"\b(?:evaluate|decide|train)(?:\.[a-z_]+)+")
# The suites of a proof are called by their roles; that which chooses and proves is in two parts.
_SUITES = {"validation": "--suite", "choose": "--suite", "gate": "--suite", "test": "--test", "ood": "--ood"}
_SUITE = re.compile(rf"\bsuite ({'|'.join(_SUITES)})\b")


def in_options(text: str) -> str:
    """The text with the options of `relex prove` in place of keys of params.yaml and of names of suites."""
    for phrase, said in _PHRASES.items():
        text = text.replace(phrase, said)
    return _SUITE.sub(lambda found: _SUITES[found[1]], _KEY.sub(_option, text))


@contextlib.contextmanager
def said_in_options() -> Iterator[None]:
    """Raise an InputError of the body in the same words, and of the same class."""
    try:
        yield
    except InputErrors as error:
        raise InputErrors([_said(one) for one in error.errors]) from error
    except InputError as error:
        raise _said(error) from error


def _option(found: re.Match[str]) -> str:
    key = found[0]
    if key in _KEYS:
        return _KEYS[key]
    last = key.rpartition(".")[2]
    return f"--{last.replace('_', '-')}" if last in Options.__dataclass_fields__ else key


def _said(error: InputError) -> InputError:
    parts = (error.where, error.expected, error.found, error.todo)
    where, expected, found, todo = map(in_options, parts)
    return type(error)(in_options(error.what), where=where, expected=expected, found=found, todo=todo)
