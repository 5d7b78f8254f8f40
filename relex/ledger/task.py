"""What a task is: settings under which trainings from the same base reach the same with the same steps. Pure."""

from __future__ import annotations

from typing import Any

from relex.core.digest import json_sha256
from relex.core.section import Section

# Of the section `train`: how long, what of it is captured, and with what hardware. All else changes what is learned.
NOT_OF_A_TASK = frozenset(
    {
        *("budget", "window", "codec", "state_every", "stop_when", "completions"),
        *("threads", "accelerate", "generation", "gradient_checkpointing", "reproducible"),
    }
)
_DRAWN = ("temperature", "top_p", "max_tokens")  # how a suite's answers are drawn, unless it says so itself


def task_of(problems: Section, base: Section, train: Section, evaluate: Section) -> str | None:
    """The task's SHA-256, of sections of params.yaml; None where another trainer trains, whose settings nobody knows.

    Problems and base as they are named, not what lies behind a path; of the evaluation, how the suites of the roles
    test and ood are asked. Keys that have their defaults count as left out, so that a task outlives new ones.
    """
    if getattr(train, "kind", None) != "grpo":
        return None
    trained = {key: value for key, value in _said(train).items() if key not in NOT_OF_A_TASK}
    return json_sha256({"problems": _said(problems), "base": _said(base), "train": trained, "asked": _asked(evaluate)})


def _asked(evaluate: Section) -> list[dict[str, Any]]:
    """The reported suites by name; how many samples, which only makes the intervals shorter, left out."""
    said = _said(evaluate)
    found = []
    for suite in said["suites"]:
        if suite["role"] != "validation":
            ready_made = suite["source"]["kind"] == "ready-made"  # which sets have their own ways
            drawn = {} if ready_made else {key: said[key] for key in _DRAWN}
            found.append(drawn | {key: value for key, value in suite.items() if key != "samples"})
    return sorted(found, key=lambda suite: str(suite["name"]))


def _said(section: Section) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_defaults=True)
