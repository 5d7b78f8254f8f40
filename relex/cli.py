"""`relex`: one command per stage of dvc.yaml and per action that is also useful alone.

Stage commands take no arguments: everything comes from params.yaml. Imports are inside the commands, so that
`relex --help` is quick and a stage loads only what it needs.
"""

from __future__ import annotations

import enum
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from relex import cli_registry
from relex.errors import RelexError

if TYPE_CHECKING:
    from relex.params import Params

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Short RLVR, rank-1 extrapolation of its weights, and promotion only of what is proven better. "
    "Exit codes: 0 done, 2 bad input or parameters, 1 anything else.",
)

_STAGES = "Stages (parameters come from params.yaml)"
_ALONE = "Trajectories and extrapolation"

TrajectoryOption = Annotated[Path, typer.Option("--trajectory", help="A trajectory folder (manifest.json, steps/).")]
BaseOption = Annotated[Path, typer.Option("--base", help="The base checkpoint folder the trajectory started from.")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to write; it must not exist yet.")]


class Fit(enum.StrEnum):
    linear = "linear"
    polynomial = "polynomial"
    sinusoid = "sinusoid"
    two_point = "two-point"


class Mode(enum.StrEnum):
    extrapolate = "extrapolate"
    reconstruct = "reconstruct"
    fit_reconstruct = "fit-reconstruct"


class Anchor(enum.StrEnum):
    line = "line"
    last = "last"


class Device(enum.StrEnum):
    cpu = "cpu"
    cuda = "cuda"
    auto = "auto"


class Codec(enum.StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    int8 = "int8"


def _params() -> Params:
    from relex.params import load
    from relex.workspace import PARAMS

    return load(PARAMS)


@app.command(rich_help_panel=_STAGES)
def problems() -> None:
    """Generate the verifiable problems and split them, disjoint by content."""
    from relex import problems

    problems.run(_params())


@app.command(rich_help_panel=_STAGES)
def base() -> None:
    """Put the base model theta_0 in place: pretrain the embedded one, or take a folder, a package or a hub revision."""
    from relex import base

    base.run(_params())


@app.command(rich_help_panel=_STAGES)
def train() -> None:
    """Short RLVR with TRL's GRPOTrainer; every step of the window is captured as a delta from the base."""
    from relex import train

    train.run(_params())


@app.command(rich_help_panel=_STAGES)
def diagnose(
    trajectory: Annotated[Optional[Path], typer.Option(help="A trajectory folder instead of the stage's own.")] = None,
    base: Annotated[Optional[Path], typer.Option(help="The base checkpoint folder it started from.")] = None,
    completions: Annotated[
        Optional[Path], typer.Option(help="A Parquet file of verified completions: adds the likelihood scan.")
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="The folder that receives diagnose.json.")] = None,
) -> None:
    """How far the forecast can be trusted: explained share, R^2, held-out-step backtest, likelihood scan.

    Without flags it is the stage; with --trajectory, --base and --out it works on any trajectory.
    """
    from relex import diagnose

    if trajectory is None and base is None and completions is None and out is None:
        diagnose.run(_params())
    elif trajectory is None or base is None or out is None:
        raise typer.BadParameter("--trajectory, --base and --out go together")
    else:
        diagnose.diagnose_folder(trajectory, base, completions, out)


@app.command(rich_help_panel=_STAGES)
def extrapolate(
    trajectory: Annotated[Optional[Path], typer.Option(help="A trajectory folder instead of the stage's own.")] = None,
    base: Annotated[Optional[Path], typer.Option(help="The base checkpoint folder it started from.")] = None,
    target: Annotated[
        Optional[list[int]], typer.Option(help="An optimiser step to predict; repeat for several.")
    ] = None,
    rank: Annotated[str, typer.Option(help="Rank of the projection, or `full` for the unprojected fit.")] = "1",
    fit: Annotated[Fit, typer.Option(help="What is fitted to the coefficients against the true steps.")] = Fit.linear,
    degree: Annotated[int, typer.Option(help="Degree of the polynomial fit.")] = 2,
    mode: Annotated[
        Mode, typer.Option(help="Predict a later step, project an observed one, or fit and predict an observed one.")
    ] = Mode.extrapolate,
    first: Annotated[Optional[int], typer.Option(help="First observed step to use.")] = None,
    last: Annotated[Optional[int], typer.Option(help="Last observed step to use.")] = None,
    anchor: Annotated[
        Anchor, typer.Option(help="Start from the fitted line, or from the last observed checkpoint.")
    ] = Anchor.line,
    only: Annotated[
        Optional[str],
        typer.Option(help="Regex of tensor names to extrapolate; the others stay at the last observed step."),
    ] = None,
    shrink: Annotated[
        float, typer.Option(help="Shrinkage towards the last observed checkpoint: 0 none, 1 all the way.")
    ] = 0.0,
    autoregressive: Annotated[
        Optional[int], typer.Option(help="Refit after every so many predicted steps, on a window of the same length.")
    ] = None,
    backtested: Annotated[
        bool, typer.Option("--backtested", help="Tensors whose held-out backtest fails stay at the last observed step.")
    ] = False,
    norm_cap: Annotated[
        Optional[float], typer.Option(help="Longest predicted delta of a tensor, in units of its last observed one.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the arithmetic runs.")] = Device.auto,
    memory: Annotated[str, typer.Option(help="Budget for all buffers together.")] = "1GiB",
    ray: Annotated[
        Optional[str], typer.Option(help="`local`, or a Ray cluster's address: groups of tensors become Ray tasks.")
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="The folder that receives step_<target>/ and fit.json; it must not exist yet."),
    ] = None,
) -> None:
    """Predict the weights at later steps: one weighted sum of the observed deltas per target.

    Without flags it is the stage; with --trajectory, --base, --target and --out it works on any trajectory.
    """
    from relex import extrapolate

    gc.freeze()  # what the imports made stays: collections need not look at it again and again

    if trajectory is None and base is None and not target and out is None:
        extrapolate.run(_params())
        return
    if trajectory is None or base is None or not target or out is None:
        raise typer.BadParameter("--trajectory, --base, --target and --out go together")
    if rank != "full" and not (rank.isdigit() and int(rank) > 0):
        raise typer.BadParameter(f"--rank must be a whole number above zero or `full`, not {rank!r}")
    request = extrapolate.Request(
        targets=tuple(target),
        rank="full" if rank == "full" else int(rank),
        fit=fit.value,
        degree=degree,
        mode=mode.value,
        first=first,
        last=last,
        anchor=anchor.value,
        only=only,
        shrink=shrink,
        autoregressive=autoregressive,
        backtested=backtested,
        norm_cap=norm_cap,
        device=device.value,
        memory=memory,
    )
    extrapolate.extrapolate(trajectory, base, request, out, ray=ray)


@app.command(rich_help_panel=_STAGES)
def evaluate() -> None:
    """Generate with vLLM, score, and measure base, last observed, champion and every candidate under one protocol."""
    from relex import evaluate

    evaluate.run(_params())


@app.command(rich_help_panel=_STAGES)
def decide() -> None:
    """Which candidate, if any, is proven better on validation problems; written to metrics/decision.json."""
    from relex import decide

    decide.run(_params())


@app.command(rich_help_panel=_STAGES)
def report() -> None:
    """One self-contained HTML page: rewards, spectrum, forecast, accuracy against horizon, cost, decision."""
    from relex import report

    report.run(_params())


@app.command("import", rich_help_panel=_ALONE)
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="A folder of checkpoint-N, global_step_N[/actor/huggingface], step_N or step-N; "
            "or hub:OWNER/NAME, a hub repository with such branches.",
        ),
    ],
    base: BaseOption,
    out: OutOption,
    copy: Annotated[
        bool, typer.Option("--copy", help="Re-encode the checkpoints as deltas instead of referring to them.")
    ] = False,
    codec: Annotated[Codec, typer.Option(help="With --copy: how the deltas are stored.")] = Codec.float32,
) -> None:
    """Make a trajectory of full checkpoints that something else saved; SRC stays untouched."""
    from relex import importing

    typer.echo(importing.import_checkpoints(source, base, out, copy=copy, codec=codec.value))


@app.command(rich_help_panel=_ALONE)
def verify(trajectory: Annotated[Path, typer.Argument(metavar="DIR", help="A trajectory folder.")]) -> None:
    """Check every hash, shape and value of a trajectory."""
    from relex import trajectory as module

    typer.echo(module.verify(trajectory))


@app.command(rich_help_panel=_ALONE)
def materialize(
    trajectory: TrajectoryOption,
    base: BaseOption,
    step: Annotated[int, typer.Option(help="An observed step.")],
    out: OutOption,
) -> None:
    """Write an observed step back as a checkpoint folder."""
    from relex import materialize

    materialize.materialize(trajectory, base, step, out)


@app.command(rich_help_panel=_ALONE)
def calibrate(
    nights: Annotated[int, typer.Option(help="Simulated nights a line of the tables.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0)] = 0,
) -> None:
    """Simulate nights through the decision: how often it promotes when nothing, or something, is better."""
    from relex import calibrate

    typer.echo(calibrate.table(_params().decide, nights, seed), nl=False)


@app.command(rich_help_panel=_ALONE)
def doctor(
    params: Annotated[
        Optional[Path], typer.Option(help="Another parameter file, such as one of infra/profiles/.")
    ] = None,
) -> None:
    """Check params.yaml and this machine, and say what a night will need in disk. Starts nothing."""
    from relex import doctor
    from relex.errors import InputErrors
    from relex.workspace import PARAMS

    page, faults = doctor.examine(params or PARAMS, Path())
    typer.echo(page)
    if faults:
        raise InputErrors(faults)


@app.command(rich_help_panel=_ALONE)
def profile(
    name: Annotated[
        Optional[str], typer.Argument(help="The profile to put in place; without it they are listed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also over a params.yaml that nothing else holds.")] = False,
) -> None:
    """List the complete parameter files of infra/profiles/, or make one of them this project's params.yaml."""
    from relex import profiles

    typer.echo(profiles.listing() if name is None else profiles.install(name, force=force))


cli_registry.add(app, _params)


def main() -> None:
    """The console script: user errors become one clear message and their exit code."""
    try:
        app()
    except RelexError as error:
        print(f"relex: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
