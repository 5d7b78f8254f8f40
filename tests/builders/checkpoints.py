"""Checkpoints and tables of problems as somebody with a trainer of their own has them: no project around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relex.stages.problems import stage as problems
from tests.builders.contests import SMALL, add_noise, changed, pretrained, write_params

SPLITS = {"suite": "validation", "test": "test", "ood": "ood", "trained": "train"}


def make(folder: Path) -> Path:
    """In `folder`: base, checkpoint-45, a better step_000100, a ruined step_000200; <name>.jsonl of SPLITS, their
    columns `question` and `solution`."""
    with pytest.MonkeyPatch.context() as patch:
        made = folder / "made"
        made.mkdir()
        patch.chdir(made)
        params = write_params(made, SMALL)
        problems.run(params.problems)
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
