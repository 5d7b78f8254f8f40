"""Rules between sections of params.yaml."""

from __future__ import annotations

from typing import Any


def cross_checks(sections: dict[str, Any]) -> list[tuple[str, str]]:
    """Rules between sections, for the sections that are themselves sound."""
    faults: list[tuple[str, str]] = []
    problems, base, train = sections.get("problems"), sections.get("base"), sections.get("train")
    extrapolate, diagnose, evaluate = (sections.get(name) for name in ("extrapolate", "diagnose", "evaluate"))
    if base and problems and base.source.kind == "embedded" and problems.source.kind != "sort-digits":
        faults.append(("base.source", "the embedded base only knows the sort-digits problems"))
    if train and extrapolate:
        steps = [
            step
            for step in train.window.steps
            if (extrapolate.first or 0) <= step <= (extrapolate.last or train.window.last)
        ]
        if len(steps) < 2:
            faults.append(("extrapolate.first", "the sub-window holds fewer than two observed steps"))
        targets = () if extrapolate.targets == "auto" else extrapolate.targets
        inside = [target for target in targets if target <= train.window.last]
        if inside:
            faults.append(
                ("extrapolate.targets", f"inside the window, which ends at step {train.window.last}: {inside}")
            )
        if isinstance(extrapolate.rank, int) and extrapolate.rank > max(len(steps), 1):
            faults.append(("extrapolate.rank", f"{extrapolate.rank} is above the {len(steps)} observed steps"))
    if extrapolate and diagnose and extrapolate.targets == "auto" and not diagnose.scan_horizons:
        faults.append(("extrapolate.targets", "auto follows the likelihood scan, but diagnose.scan_horizons is 0"))
    if train and diagnose and diagnose.rank > len(train.window.steps):
        faults.append(("diagnose.rank", f"{diagnose.rank} is above the {len(train.window.steps)} observed steps"))
    if train and problems and train.prompts_per_step > problems.sizes.train:
        faults.append(
            (
                "train.prompts_per_step",
                f"{train.prompts_per_step} is above problems.sizes.train ({problems.sizes.train})",
            )
        )
    if evaluate and problems:
        for suite in evaluate.suites:
            if suite.source.kind == "problems" and not getattr(problems.sizes, suite.source.split):
                said = f"problems.sizes.{suite.source.split} is 0: the split is not there"
                faults.append((f"evaluate.suites ({suite.name})", said))
    if train and evaluate and train.max_completion_length > evaluate.max_model_len:
        faults.append(("evaluate.max_model_len", "shorter than train.max_completion_length"))
    return faults
