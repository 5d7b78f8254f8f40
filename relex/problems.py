"""Stage problems: write problems/<split>.jsonl."""

from __future__ import annotations

import json
from dataclasses import asdict

from relex.atomic import new_folder
from relex.params import Params
from relex.problem_set import check_disjoint
from relex.problem_sources import make_splits
from relex.workspace import PROBLEMS


def run(params: Params) -> None:
    """Make the problems that params.yaml describes and write the splits that have a size."""
    splits = make_splits(params.problems)
    check_disjoint(splits)
    with new_folder(PROBLEMS, replace=True) as folder:
        for split, problems in splits.items():
            lines = (json.dumps(asdict(problem), sort_keys=True) + "\n" for problem in problems)
            (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    print("problems: " + ", ".join(f"{split} {len(problems)}" for split, problems in splits.items()))
