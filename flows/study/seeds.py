"""Single windows over several seeds, tables in docs/study.md (`python -m flows.study --targets`).

Every seed is a night of its own in study/seed-N (problems, base, training and evaluation all take the seed), made by
the same stage commands; --true-steps trains on from the same base for the comparison that a night cannot afford.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger

from flows.study.cases import BENT
from flows.study.night import night, reported_whole, seeded
from flows.study.rows import load_shares
from flows.study.seeds_tables import page
from relex.core.atomic import read_json, write_text
from relex.core.workspace import DECISION, DIAGNOSIS, EVALUATION, EVALUATION_METRICS, TRAIN_METRICS
from relex.retention.folders import STUDY

PAGE = Path("docs/study.md")
_STAGES = ("problems", "base", "train", "diagnose", "extrapolate", "evaluate", "decide")


@flow(name="study", log_prints=True)
def study(
    seeds: Sequence[int], targets: Sequence[int], true_steps: int, bent: Sequence[int], window: int | None = None
) -> None:
    """Run every night of the study and write the page of tables."""
    log = get_run_logger()
    runs: list[tuple[str, int, Mapping[str, Any]]]
    runs = [(f"seed-{seed}", seed, {}) for seed in seeds] + [(f"seed-{seed}-bent", seed, BENT) for seed in bent]
    nights = []
    for name, seed, variant in runs:
        log.info("night %s", name)
        changes = {**seeded(seed), "extrapolate.targets": list(targets), **reported_whole(targets), **variant}
        if window:
            changes |= {"train.budget.steps": window, "train.window.last": window}
        night(name, changes, _STAGES)
        steps = 0 if variant else true_steps
        if steps:
            true_run(name, changes, steps)
        nights.append(collect(name, steps))
    write_text(PAGE, page(nights, true_steps, _command(seeds, targets, true_steps, bent, window)))
    print(f"study: {PAGE}")


def true_run(name: str, changes: Mapping[str, Any], steps: int) -> None:
    """RLVR on the same base and problems to `steps`; its last observed step is the truth that was forecast."""
    longer = {
        **changes,
        "train.budget.steps": steps,
        "train.window": {"first": steps // 2, "last": steps, "every": steps - steps // 2},
        "extrapolate.targets": [2 * steps],
        "extrapolate.rays": "named",
        "extrapolate.variants": [],
        "diagnose.scan_horizons": 0,
        "diagnose.backtest": [],
    }
    folder = STUDY / f"{name}-true"
    for artifact in ("problems", "base"):
        if (folder / artifact).exists():
            shutil.rmtree(folder / artifact)
        shutil.copytree(STUDY / name / artifact, folder / artifact)
    night(f"{name}-true", longer, ("train", "extrapolate", "evaluate"))


def collect(name: str, true_steps: int) -> dict[str, Any]:
    """What one night measured, from its metrics files."""
    folder = STUDY / name
    found = {
        "name": name,
        "train": read_json(folder / TRAIN_METRICS),
        "diagnosis": read_json(folder / DIAGNOSIS),
        "evaluation": read_json(folder / EVALUATION_METRICS),
        "decision": read_json(folder / DECISION),
    }
    found["shares"] = load_shares(folder / EVALUATION / "rows", "test")
    if true_steps:
        found["true"] = read_json(STUDY / f"{name}-true" / EVALUATION_METRICS)
    return found


def _command(
    seeds: Sequence[int], targets: Sequence[int], true_steps: int, bent: Sequence[int], window: int | None
) -> str:
    words = ["python -m flows.study --seeds", *map(str, seeds), "--targets", *map(str, targets)]
    words += ["--true-steps", str(true_steps)] if true_steps else []
    words += ["--window", str(window)] if window else []
    return " ".join([*words, *(["--bent", *map(str, bent)] if bent else [])])
