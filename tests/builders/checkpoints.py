"""Checkpoints and tables of problems as somebody with a trainer of their own has them: no project around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from relex.stages.problems import stage as problems
from tests.builders import ROOT
from tests.builders.contests import SMALL, add_noise, changed, pretrained, write_params

MODELS = ("--base", "base", "--last", "checkpoint-45", "--candidate", "step_000100", "--candidate", "step_000200")
_COLUMNS = ("--problem", "question", "--answer", "solution", "--scorer", "exact")
_SUITES = ("--suite", "suite.jsonl", "--ood", "ood.jsonl", "--test", "test.jsonl", "--train", "trained.jsonl")
_HOW = ("--max-tokens", "12", "--first", "20", "--proof-samples", "8", "--backend", "transformers")
SPLITS = {"suite": "validation", "test": "test", "ood": "ood", "trained": "train"}


def make(folder: Path) -> Path:
    """In `folder`: base, checkpoint-45, a better step_000100, a ruined step_000200; <name>.jsonl of SPLITS, their
    columns `question` and `solution`."""
    with pytest.MonkeyPatch.context() as patch:
        made = folder / "made"
        made.mkdir()
        patch.chdir(made)
        params = write_params(made, SMALL)
        problems.run(params.problems, 0)
        pretrained(params, 120, (0.3, 0.85), folder / "base")
        pretrained(params, 120, (0.2, 0.6), folder / "checkpoint-45")
        pretrained(params, 120, (0.0, 0.2), folder / "step_000100")
        changed(folder / "checkpoint-45", folder / "step_000200", add_noise)
    for name, split in SPLITS.items():
        rows = [json.loads(line) for line in (made / f"problems/{split}.jsonl").read_text().splitlines()]
        table(folder / f"{name}.jsonl", [(row["prompt"], row["answer"]) for row in rows])
    return folder


def table(path: Path, rows: list[tuple[str, str]]) -> None:
    """A .jsonl file with columns `question` and `solution`."""
    path.write_text("".join(json.dumps({"question": one, "solution": other}) + "\n" for one, other in rows))


def arguments(out: str, *changes: str, models: Sequence[str] = MODELS) -> list[str]:
    """`relex prove` of all of them; of an option that is given twice, the last one counts."""
    return [sys.executable, "-m", "relex.cli", "prove", *models, *_SUITES, *_COLUMNS, *_HOW, "--out", out, *changes]


def prove(folder: Path, out: str, *changes: str, models: Sequence[str] = MODELS) -> subprocess.CompletedProcess[str]:
    """The same, run in `folder`."""
    asked = arguments(out, *changes, models=models)
    return subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False, env=environment())


def relex(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Any other command, run in `folder`."""
    command = [sys.executable, "-m", "relex.cli", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment())


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """It ended as bad input does, and said so."""
    assert done.returncode == 2, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    for one in said:
        assert one in done.stderr, done.stderr


def environment() -> dict[str, str]:
    """Of a command that runs outside the project."""
    return os.environ | {"PYTHONPATH": str(ROOT)}
