"""completions.parquet: drawn from the last observed checkpoint on held-out problems, whoever trained it."""

from __future__ import annotations

import shutil

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from relex.core.asking import Asking
from relex.core.atomic import read_json
from relex.core.errors import InputError
from relex.core.topology import has_cuda
from relex.core.workspace import BASE, COMPLETIONS, PROBLEMS, STATE, TRAJECTORY
from relex.policy.completions import sample_completions, write_completions
from relex.policy.prompts import check_end_token, check_lengths
from relex.rewards.problem import Problem, load_split
from relex.stages.train.params import Sampled
from relex.trajectory.materialize import materialize


def deal(section: Sampled, trained: int) -> tuple[list[Problem], list[Problem]]:
    """The problems of the split train, and those held out from it for the likelihood scan. trained: the fewest of the
    former; InputError for fewer."""
    problems, held_out = load_split(PROBLEMS, "train"), section.completions.prompts
    if len(problems) - held_out < trained:
        beside = f" and train.prompts_per_step ({trained})" if trained else ""
        raise InputError(
            "too few problems to train on" if trained else "too few problems to draw completions for",
            where="problems.sizes.train",
            expected=f"train.completions.prompts ({held_out}){beside} at least",
            found=len(problems),
        )
    return problems[:-held_out], problems[-held_out:]


def check(section: Sampled, asking: Asking, problems: list[Problem]) -> None:
    """InputError for a base or problems that no training could use."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    check_end_token(tokenizer, GenerationConfig.from_pretrained(BASE))
    limit = read_json(BASE / "config.json").get("max_position_embeddings")
    if limit is not None:
        check_lengths(tokenizer, problems, section.max_completion_length, limit, asking)


def keep_completions(section: Sampled, asking: Asking, held_out: list[Problem], step: int) -> None:
    """Write them, drawn from the step as the trajectory holds it."""
    last = STATE / "last_observed"
    materialize(TRAJECTORY, BASE, step, last, replace=True)
    model = AutoModelForCausalLM.from_pretrained(last, dtype=torch.float32)
    model.to("cuda" if has_cuda() else "cpu")
    table = sample_completions(
        model,
        AutoTokenizer.from_pretrained(BASE, padding_side="left"),
        held_out,
        samples=section.completions.samples,
        temperature=section.temperature,
        max_new_tokens=section.max_completion_length,
        seed=section.seed,
        asking=asking,
    )
    write_completions(COMPLETIONS, table)
    shutil.rmtree(last)
