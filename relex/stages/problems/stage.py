"""Stage problems: write problems/<split>.jsonl, and which of the fresh problems these are."""

from __future__ import annotations

import json
from dataclasses import asdict

from relex.core.atomic import new_folder
from relex.core.inputs import follow_files
from relex.core.workspace import HELD_OUT, INPUT_PROBLEMS, PROBLEMS, SLICE
from relex.rewards.problem import check_disjoint
from relex.stages.problems.params import Problems, files_of
from relex.stages.problems.sources import deal


def run(problems: Problems, slice_number: int = 0) -> None:
    """Make the problems that params.yaml describes and write the splits that have a size.

    slice_number: of hop.json; each hop is asked validation problems of its own, while train, test and ood stay.
    """
    dealt = deal(problems, slice_number)
    check_disjoint(dealt.splits)
    reserved = [dealt.first, *(dealt.splits[split] for split in ("test", "ood") if split in dealt.splits)]
    with new_folder(PROBLEMS, replace=True) as folder:
        for split, found in dealt.splits.items():
            lines = (json.dumps(asdict(problem), sort_keys=True) + "\n" for problem in found)
            (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        # Of the first slice only, so that the embedded base is the same for every hop.
        prompts = sorted(problem.prompt for split in reserved for problem in split)
        (folder / HELD_OUT.name).write_text(json.dumps(prompts) + "\n", encoding="utf-8")
        (folder / SLICE.name).write_text(
            json.dumps({"slice": slice_number, "looks": dealt.looks}) + "\n", encoding="utf-8"
        )
    follow_files(files_of(problems.source), INPUT_PROBLEMS)
    again = (
        "" if dealt.looks == 1 else f"; the source has no fresh ones left: validation is asked again ({dealt.looks})"
    )
    print("problems: " + ", ".join(f"{split} {len(found)}" for split, found in dealt.splits.items()) + again)
