"""A hop's control: all weights fine-tuned on the verified completions that the hop had anyway, with nothing forecast.

    python -m flows.study.fine_tuned OUT     in a folder with base/ and completions.parquet: the checkpoint folder OUT

The loss is the one by which `diagnose` fits step sizes (stages/diagnose/fitting.py), over every right completion:
minus their mean log-likelihood, problems alike.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from relex.checkpoints.side_files import copy_side_files
from relex.core import progress
from relex.core.atomic import new_folder
from relex.core.workspace import BASE, COMPLETIONS
from relex.policy.completions import read_completions
from relex.policy.likelihood import backward
from relex.stages.diagnose.fitting import right_of
from relex.stages.diagnose.moving_model import load_model

RATE, EPOCHS, BATCH = 2e-4, 20, 64  # of Adam; of three rates tried on seeds 0 and 1 the best


def fine_tune(base: Path, completions: Path, out: Path) -> int:
    """Write the fine-tuned checkpoint `out`; on how many distinct right completions it was tuned."""
    torch.set_num_threads(1)  # so small a model gains nothing from more, and the bytes do not depend on them
    table, temperature = read_completions(completions)
    right = right_of(table, table.column("problem_id").to_pylist())
    model = load_model(base)
    adam = torch.optim.Adam(model.parameters(), lr=RATE, maximize=True)
    generator = torch.Generator().manual_seed(0)
    for _ in progress.bar(range(EPOCHS), desc="fine-tuning", unit="epoch"):
        for batch in torch.randperm(len(right.completions), generator=generator).split(BATCH):
            rows = batch.tolist()
            shares = right.shares[rows] / right.shares[rows].sum()
            adam.zero_grad()
            prompts, wanted = ([each[row] for row in rows] for each in (right.prompts, right.completions))
            backward(model, prompts, wanted, shares, temperature=temperature)
            adam.step()
    with new_folder(out, replace=True) as folder:
        copy_side_files(base, folder)
        model.save_pretrained(folder)
    return len(right.completions)


if __name__ == "__main__":
    print(f"fine-tuned on {fine_tune(BASE, COMPLETIONS, Path(sys.argv[1]))} right completions")
