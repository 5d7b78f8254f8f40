"""Rules between sections of params.yaml."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from relex.stages.train.params import Imported

Fault = tuple[str, str]  # where, what
Sections = Mapping[str, Any]


def cross_checks(sections: Sections) -> list[Fault]:
    """What breaks a rule between sections. A section may lack what is faulty in it: no rule that needs it looks."""
    faults: list[Fault] = []
    imported = isinstance(sections.get("train"), Imported)
    for rule in (*_RULES, *(_IMPORTED if imported else _TRAINED)):
        # A rule ends at what is missing: a section (KeyError) or a part of one; what it found before stands.
        with contextlib.suppress(KeyError, AttributeError):
            for fault in rule(sections):
                faults.append(fault)
    return faults


def _embedded(sections: Sections) -> Iterator[Fault]:
    if sections["base"].source.kind == "embedded" and sections["problems"].source.kind != "sort-digits":
        yield "base.source", "the embedded base only knows the sort-digits problems"


def _targets(sections: Sections) -> Iterator[Fault]:
    targets, last = sections["extrapolate"].targets, sections["train"].window.last
    inside = [] if targets == "auto" else [target for target in targets if target <= last]
    if inside:
        yield "extrapolate.targets", f"inside the window, which ends at step {last}: {inside}"
    soups = {"extrapolate.soup": sections["extrapolate"].soup}
    soups |= {f"extrapolate.variants ({one.name})": one.soup for one in sections["extrapolate"].variants}
    for where, soup in soups.items():
        if inside := [step for step in soup or () if step <= last]:
            yield where, f"inside the window, which ends at step {last}: {inside}"


def _sub_window(sections: Sections) -> Iterator[Fault]:
    window, section = sections["train"].window, sections["extrapolate"]
    variants = ((f"extrapolate.variants ({one.name})", section.of_variant(one)) for one in section.variants)
    for where, extrapolate in (("extrapolate", section), *variants):
        steps = [step for step in window.steps if (extrapolate.first or 0) <= step <= (extrapolate.last or window.last)]
        if len(steps) < 2:
            yield f"{where}.first", "the sub-window holds fewer than two observed steps"
        if extrapolate.anchor_mean > max(len(steps), 1):
            yield f"{where}.anchor_mean", f"{extrapolate.anchor_mean} is above the {len(steps)} observed steps"
        if isinstance(extrapolate.rank, int) and extrapolate.rank > max(len(steps), 1):
            yield f"{where}.rank", f"{extrapolate.rank} is above the {len(steps)} observed steps"


def _scan(sections: Sections) -> Iterator[Fault]:
    if sections["extrapolate"].targets == "auto" and not sections["diagnose"].scan_horizons:
        yield "extrapolate.targets", "auto follows the likelihood scan, but diagnose.scan_horizons is 0"
    if sections["extrapolate"].rays == "auto" and not sections["diagnose"].scan_horizons:
        yield "extrapolate.rays", "auto follows the likelihood scan, but diagnose.scan_horizons is 0: say named"


def _diagnosed_rank(sections: Sections) -> Iterator[Fault]:
    rank, steps = sections["diagnose"].rank, sections["train"].window.steps
    if rank > len(steps):
        yield "diagnose.rank", f"{rank} is above the {len(steps)} observed steps"


def _prompts(sections: Sections) -> Iterator[Fault]:
    wanted, there = sections["train"].prompts_per_step, sections["problems"].sizes.train
    if wanted > there:
        yield "train.prompts_per_step", f"{wanted} is above problems.sizes.train ({there})"


def _splits(sections: Sections) -> Iterator[Fault]:
    sizes = sections["problems"].sizes
    for suite in sections["evaluate"].suites:
        if suite.source.kind == "problems" and not getattr(sizes, suite.source.split):
            said = f"problems.sizes.{suite.source.split} is 0: the split is not there"
            yield f"evaluate.suites ({suite.name})", said


def _lengths(sections: Sections) -> Iterator[Fault]:
    if sections["train"].max_completion_length > sections["evaluate"].max_model_len:
        yield "evaluate.max_model_len", "shorter than train.max_completion_length"


def _one_base(sections: Sections) -> Iterator[Fault]:
    mode = sections["nights"].mode
    if mode in ("fresh", "reground"):
        yield "nights.mode", f"{mode} is not possible with train.kind import: the other trainer's run goes on; say auto"


def _known_rollouts(sections: Sections) -> Iterator[Fault]:
    if sections["evaluate"].budget.share is not None:
        yield "evaluate.budget.share", "an imported run does not say how many rollouts it took; give rows or minutes"


def _ranks(sections: Sections) -> Iterator[Fault]:
    most = sections["train"].window
    for name in ("diagnose", "extrapolate"):
        rank = sections[name].rank
        if most is not None and isinstance(rank, int) and rank > most:
            yield f"{name}.rank", f"{rank} is above train.window ({most})"


_RULES = (_embedded, _scan, _splits, _lengths)
_TRAINED = (_targets, _sub_window, _diagnosed_rank, _prompts)  # where this project trains
_IMPORTED = (_one_base, _known_rollouts, _ranks)  # where another trainer does
