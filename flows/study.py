"""Evidence, not production: the embedded default over several seeds of base and training.

    python -m flows.study --targets 90 300 630                       three seeds, tables in docs/study.md
    python -m flows.study --seeds 0 --targets 270 --true-steps 270   one seed, with true RLVR to step 270 beside it
    python -m flows.study --targets 90 300 --window 45 --bent 0      windows of 45 steps, and a run that bends
    python -m flows.study --campaign --true-steps 1500               nights that add up, in docs/campaign.md
    python -m flows.study --portfolio --bent 0 --adapters 0          all rays beside the plain line, docs/portfolio.md
    python -m flows.study --regimes                                  first hops of unlike trainings, docs/regimes.md

Every seed is a night of its own in study/seed-N (problems, base, training and evaluation all take the seed), made by
the same stage commands; --true-steps trains on from the same base for the comparison that a night cannot afford.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from ruamel.yaml import YAML

from flows.command import run_command_line
from flows.server import prefect_server
from flows.stages import run_action
from flows.study_cases import BENT
from flows.study_rows import load_shares
from flows.study_tables import page
from relex.core import hop
from relex.core.atomic import read_json, write_json, write_text
from relex.core.errors import InputError
from relex.core.workspace import (
    BASE,
    DECISION,
    DIAGNOSIS,
    EVALUATION,
    EVALUATION_METRICS,
    EXTRAPOLATION_METRICS,
    HOP,
    OBSERVED,
    PARAMS,
    TRAIN_METRICS,
    TRAJECTORY,
)
from relex.params.load import load
from relex.params.proof_ahead import racers_of
from relex.retention.folders import STUDY
from relex.stages.evaluate.planned import expected_rooms, unlimited

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


def night(name: str, changes: Mapping[str, Any], stages: Sequence[str]) -> Path:
    """Run the stages in study/<name>, from the committed parameters with `changes`; the folder."""
    folder = STUDY / name
    folder.mkdir(parents=True, exist_ok=True)
    hop.write(hop.Hop(), folder / HOP)  # one from the base, whatever the project's nights came to
    write_params(folder / PARAMS, changes)
    for stage in stages:
        run_action(f"{name}: {stage}", ["relex", stage], folder)
    return folder


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


def put_back(name: str, step: int, out: Path) -> None:
    """Write an observed step of study/<name> as the checkpoint folder `out` in it, once."""
    folder = STUDY / name
    if not (folder / out).is_dir():
        where = ["--trajectory", str(TRAJECTORY), "--base", str(BASE), "--step", str(step), "--out", str(out)]
        run_action(f"{name}: step {step}", ["relex", "materialize", *where], folder)


def evaluated(name: str, last: int) -> dict[str, Any]:
    """Evaluate the candidates that lie in study/<name> beside its last observed step; metrics/evaluate.json."""
    folder = STUDY / name
    put_back(name, last, OBSERVED)
    write_json(folder / EXTRAPOLATION_METRICS, {"observed_step": last})
    run_action(f"{name}: evaluate", ["relex", "evaluate"], folder)
    return read_json(folder / EVALUATION_METRICS)


def write_params(path: Path, changes: Mapping[str, Any]) -> None:
    """The committed params.yaml with changes (dotted key -> value), checked."""
    yaml = YAML()
    document = yaml.load(PARAMS.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = document
        for parent in parents:
            section = section[parent]
        section[last] = value
    with open(path, "w", encoding="utf-8") as handle:
        yaml.dump(document, handle)
    load(path)


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


def reported_whole(targets: Sequence[int], controls: Sequence[str] = ()) -> dict[str, Any]:
    """Changes under which every model is asked every reported problem; the budget is what that takes, and so limits
    nothing. targets: steps of the candidates. controls: kinds of those that race beside them."""
    params = load(PARAMS)
    settings = params.evaluate.model_copy(update={"report": "all"})
    rooms = expected_rooms(settings, params.problems.sizes.model_dump())
    if rooms is None:
        raise InputError(
            "a study needs to know how many problems there are",
            where=f"{PARAMS}: evaluate.suites",
            expected="suites that are splits of the problems",
            todo="leave out the others",
        )
    racers = racers_of(params.extrapolate.model_copy(update={"targets": tuple(targets), "controls": tuple(controls)}))
    return {"evaluate.report": "all", "evaluate.budget.rows": unlimited(settings, rooms, racers, champion=True)}


def seeded(seed: int) -> dict[str, int]:
    """Changes that draw problems, base (where it is made here), training and samples anew."""
    keys = ["problems.seed", "train.seed", "evaluate.seed"]
    if "seed" in type(load(PARAMS).base.source).model_fields:
        keys.append("base.source.seed")
    return dict.fromkeys(keys, seed)


def _command(
    seeds: Sequence[int], targets: Sequence[int], true_steps: int, bent: Sequence[int], window: int | None
) -> str:
    words = ["python -m flows.study --seeds", *map(str, seeds), "--targets", *map(str, targets)]
    words += ["--true-steps", str(true_steps)] if true_steps else []
    words += ["--window", str(window)] if window else []
    return " ".join([*words, *(["--bent", *map(str, bent)] if bent else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--targets", type=int, nargs="+", help="steps to forecast (default: those of params.yaml)")
    parser.add_argument("--true-steps", type=int, default=0, help="also train to this step, for comparison")
    parser.add_argument(
        "--bent",
        type=int,
        nargs="+",
        default=[],
        help="seeds to run once more in a way that bends",
    )
    parser.add_argument("--window", type=int, help="observed steps (default: those of params.yaml)")
    rays = parser.add_argument_group("rays")
    rays.add_argument(
        "--adapters", type=int, nargs="+", default=[], help="with --portfolio: seeds to run with LoRA, too"
    )
    rays.add_argument(
        "--portfolio", action="store_true", help="one night of every training by all rays, and one by the plain line"
    )
    rays.add_argument(
        "--regimes", action="store_true", help="the first seed's first hop in unlike trainings: every ray and control"
    )
    rays.add_argument("--only", nargs="+", default=[], help="with --regimes: these alone, by their names on its page")
    campaign = parser.add_argument_group("campaigns of nights")
    campaign.add_argument("--campaign", action="store_true", help="nights of hops, each beginning at the last champion")
    campaign.add_argument("--nights", type=int, default=3, help="of each campaign (default: 3)")
    campaign.add_argument("--every", type=int, default=90, help="steps between checkpoints of true RLVR (default: 90)")
    campaign.add_argument("--mode", choices=["reground", "continue", "fresh"], help="where a hop begins, for auto")
    campaign.add_argument(
        "--sides",
        action="store_true",
        help="the first seed's first night in other modes, with long windows, and a control",
    )
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command_line(parser, arguments, lambda options: _run(options, given))


def _run(options: argparse.Namespace, given: Sequence[str]) -> None:
    command = f"python -m flows.study {shlex.join(given)}"
    if options.campaign:
        from flows.study_campaign import campaigns

        with prefect_server():
            campaigns(vars(options), command)
        return
    if options.portfolio:
        from flows.study_portfolio import portfolio

        with prefect_server():
            portfolio(vars(options), command)
        return
    if options.regimes:
        from flows.study_regimes import first_hops

        with prefect_server():
            first_hops(options.seeds[0], command, options.only)
        return
    targets = options.targets or load(PARAMS).extrapolate.targets
    if targets == "auto":
        raise InputError(
            "a study holds the same horizons against each other",
            where=f"{PARAMS}: extrapolate.targets",
            expected="steps",
            found="auto",
            todo="name them: --targets 90 180 300 450 630",
        )
    with prefect_server():
        study(options.seeds, list(targets), options.true_steps, options.bent, options.window)


if __name__ == "__main__":
    from flows.study import main as run  # under its import name, as Prefect knows the flow

    sys.exit(run())
