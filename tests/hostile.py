"""Hostile completions thrown at every task of reasoning-gym: what its scorer does by itself, and what it does here.

python -m tests.hostile > docs/scorers.md
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import reasoning_gym
import reasoning_gym.factory

from relex.rewards.reasoning import REFUSED
from relex.rewards.score import Answered, score_all

# What would write a file if it were evaluated, in the forms that scorers were seen to evaluate.
TEXTS = (
    "__import__('os').system('touch {mark}')",
    "[__import__('os').system('touch {mark}')]",
    "[[__import__('os').system('touch {mark}')]]",
    "(lambda: __import__('pathlib').Path('{mark}').touch())()",
    "[].__class__.__base__.__subclasses__()",
)
_SEED = 1

# In a process of its own, without our protection: whether the task's scorer is about to run text. The hook stops it.
_PLAIN = """
import json, os, sys
from relex.rewards.reasoning import judge
seen = set()
def hook(event, arguments):
    if event == "exec":
        source = getattr(arguments[0], "co_filename", "")
        if not (source.startswith("<frozen ") or os.path.exists(source)):
            caller = sys._getframe(1).f_code.co_filename
            if caller.endswith("sympy_parser.py") or "reasoning_gym" in caller:
                seen.add(caller.rpartition("site-packages/")[2])
                raise RuntimeError("text was about to be run")
cases = json.load(sys.stdin)
sys.addaudithook(hook)
for task, texts, item in cases:
    seen.clear()
    values = [judge(text, task=task, threshold=1.0, item=item)["value"] for text in texts]
    print(json.dumps([task, [sorted(seen), values[-1]]]))
"""


@dataclass(frozen=True)
class Found:
    """One task. evaluates: the files in which its own scorer runs text as code. right: what its reference scores here,
    None where it has none; by_itself: what it scores without our fences, where that runs nothing. hostile: the highest
    score of a hostile text here."""

    task: str
    evaluates: tuple[str, ...]
    right: float | None
    by_itself: float | None
    hostile: float

    @property
    def verdict(self) -> str:
        if self.task in REFUSED:
            return f"refused: {REFUSED[self.task]}"
        return "re-scored: our own parser" if self.evaluates else "safe: its own parser"


def items() -> dict[str, dict[str, Any]]:
    """An item of every task, as problems hold them."""
    found = {}
    for task in sorted(reasoning_gym.factory.DATASETS):
        if task != "composite":
            item = reasoning_gym.create_dataset(task, seed=_SEED, size=1)[0]
            found[task] = json.loads(json.dumps(item, default=str))
    return found


def audit(mark: str) -> list[Found]:
    """Every task asked with every hostile text and with its own reference; `mark` is the file that must not appear."""
    tasks, texts = items(), [text.format(mark=mark) for text in TEXTS]
    cases = [[task, [*texts, *_reference(item)], item] for task, item in tasks.items()]
    command = [sys.executable, "-c", _PLAIN]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True)
    plain = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    asked = [
        Answered("reasoning-gym", text, "-", {"task": task, "threshold": 1.0, "item": item})
        for task, item in tasks.items()
        for text in (*(f"<answer>{text}</answer>" for text in texts), *_reference(item))
    ]
    scores = iter(score_all(asked))
    found = []
    for task, item in tasks.items():
        hostile = max(next(scores).value for _ in texts)
        right = [next(scores).value for _ in _reference(item)]
        seen, value = plain[task]
        found.append(Found(task, tuple(seen), *((right[0], value) if right else (None, None)), hostile))
    return found


def _reference(item: dict[str, Any]) -> list[str]:
    return [] if item["answer"] is None else [str(item["answer"])]


def table(found: list[Found]) -> str:
    """docs/scorers.md."""
    lines = [
        "# How answers to reasoning-gym tasks are scored",
        "",
        f"Made by `python -m tests.hostile`: every task of the package, asked with {len(TEXTS)} hostile answers and",
        "with its own reference. The second column says what the task's own scorer does with an answer. Here no text",
        "is ever run: where a scorer would, it is handed our own parser of literals and arithmetic",
        "(`relex/rewards/expressions.py`), and all of them work in a process that has no network, no environment and",
        "no way to write a file or to start another process (`relex/rewards/confined.py`), and that ends with its",
        "batch (`relex/rewards/bounded.py`).",
        "",
        "| task | its own scorer | here |",
        "|---|---|---|",
    ]
    for one in found:
        lines.append(f"| {one.task} | {'runs it as code' if one.evaluates else 'reads it'} | {one.verdict} |")
    lines.append(f"| composite | | refused: {REFUSED['composite']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # some tasks print while they are made
        found = audit("/nonexistent/mark")
    print(table(found), end="")
