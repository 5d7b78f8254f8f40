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
import sys
from collections.abc import Sequence

from flows.command import run_command_line
from flows.server import prefect_server
from relex.core.errors import InputError
from relex.core.workspace import PARAMS
from relex.params.load import load

# Each study's own options; the last is the one without a name.
_TAKES = {
    "campaign": {"seeds", "nights", "true_steps", "every", "mode", "window", "sides"},
    "portfolio": {"seeds", "bent", "adapters"},
    "regimes": {"seeds", "only"},
    "": {"seeds", "targets", "true_steps", "bent", "window"},
}


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

    def run(options: argparse.Namespace) -> None:
        _check(options, parser)
        _run(options, given)

    return run_command_line(parser, arguments, run)


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """InputError for two studies at once, and for an option that the one that was asked for does not read."""
    asked = [name for name in _TAKES if name and getattr(options, name)]
    if len(asked) > 1:
        raise InputError(
            "one study at a time",
            where=" ".join(f"--{name}" for name in asked),
            todo="run them one after another",
        )
    name = asked[0] if asked else ""
    for option, value in vars(options).items():
        if option not in _TAKES[name] | {name} and value != parser.get_default(option):
            flag = f"--{option.replace('_', '-')}"
            takers = [f"--{other}" if other else "no study's name" for other in _TAKES if option in _TAKES[other]]
            raise InputError(
                "this study does not read that option",
                where=flag,
                expected=f"it beside {' or '.join(takers)}",
                found=f"beside --{name}" if name else "no study's name",
                todo="leave it out, or run the study that reads it",
            )


def _run(options: argparse.Namespace, given: Sequence[str]) -> None:
    command = f"python -m flows.study {shlex.join(given)}"
    if options.campaign:
        from flows.study.campaign import campaigns

        with prefect_server():
            campaigns(vars(options), command)
        return
    if options.portfolio:
        from flows.study.portfolio import portfolio

        with prefect_server():
            portfolio(vars(options), command)
        return
    if options.regimes:
        from flows.study.regimes import first_hops

        with prefect_server():
            first_hops(options.seeds[0], command, options.only)
        return
    from flows.study.seeds import study

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
    sys.exit(main())
