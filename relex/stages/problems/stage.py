"""Stage problems: write problems/<split>.jsonl."""

from __future__ import annotations

import json
from dataclasses import asdict

from relex.core.atomic import new_folder
from relex.core.workspace import PROBLEMS
from relex.rewards.problem import check_disjoint
from relex.stages.problems.params import Problems
from relex.stages.problems.sources import make_splits


def run(problems: Problems) -> None:
    """Make the problems that params.yaml describes and write the splits that have a size."""
    splits = make_splits(problems)
    check_disjoint(splits)
    with new_folder(PROBLEMS, replace=True) as folder:
        for split, found in splits.items():
            lines = (json.dumps(asdict(problem), sort_keys=True) + "\n" for problem in found)
            (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    print("problems: " + ", ".join(f"{split} {len(found)}" for split, found in splits.items()))
