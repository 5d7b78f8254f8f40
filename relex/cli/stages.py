"""One command a stage of dvc.yaml; diagnose and extrapolate also work on any trajectory."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Optional, get_args

import typer

from relex.core.choices import Anchor, Device, Fit, Mode, TensorKind, is_group
from relex.core.workspace import CANDIDATES, OBSERVED

commands = typer.Typer()
_STAGES = "Stages (parameters come from params.yaml)"


def _imports(stage: str) -> AbstractContextManager[None]:
    """Say which stage begins: on a slow machine its libraries alone take minutes."""
    from relex.core import progress

    return progress.at(f"{stage}: importing its libraries")


@commands.command(rich_help_panel=_STAGES)
def problems() -> None:
    """Generate the verifiable problems and split them, disjoint by content."""
    from relex.core import hop
    from relex.params.load import read_params

    params = read_params()
    with _imports("problems"):
        from relex.stages.problems import stage
    stage.run(params.problems, hop.read().slice)


@commands.command(rich_help_panel=_STAGES)
def base() -> None:
    """Put the base model theta_0 in place: pretrain the embedded one, or take a folder, a package or a hub revision."""
    from relex.core import hop
    from relex.params.load import read_params

    params = read_params()
    with _imports("base"):
        from relex.stages.base import stage
    stage.run(params.base, hop.read().start)


@commands.command(rich_help_panel=_STAGES)
def train() -> None:
    """Short RLVR with TRL's GRPOTrainer; every step of the window is captured as a delta from the base."""
    from relex.core import hop
    from relex.params.load import read_params

    params = read_params()
    with _imports("train"):
        from relex.stages.train import stage
    stage.run(params.train, params.problems, hop.read().training)


@commands.command(rich_help_panel=_STAGES)
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
    if trajectory is None and base is None and completions is None and out is None:
        from relex.params.load import read_params

        params = read_params()
        with _imports("diagnose"):
            from relex.stages.diagnose import stage
        stage.run(params.diagnose, params.extrapolate, params.extrapolate.scanned)
    elif trajectory is None or base is None or out is None:
        raise typer.BadParameter("--trajectory, --base and --out go together")
    else:
        with _imports("diagnose"):
            from relex.stages.diagnose.stage import diagnose_folder
        diagnose_folder(trajectory, base, completions, out)


@commands.command(rich_help_panel=_STAGES)
def extrapolate(
    trajectory: Annotated[Optional[Path], typer.Option(help="A trajectory folder instead of the stage's own.")] = None,
    base: Annotated[Optional[Path], typer.Option(help="The base checkpoint folder it started from.")] = None,
    target: Annotated[
        Optional[list[int]], typer.Option(help="An optimiser step to predict; repeat for several.")
    ] = None,
    rank: Annotated[str, typer.Option(help="Rank of the projection, or `full` for the unprojected fit.")] = "1",
    fit: Annotated[Fit, typer.Option(help="What is fitted to the coefficients against the true steps.")] = "linear",
    degree: Annotated[int, typer.Option(help="Degree of the polynomial fit.")] = 2,
    mode: Annotated[
        Mode, typer.Option(help="Predict a later step, project an observed one, or fit and predict an observed one.")
    ] = "extrapolate",
    first: Annotated[Optional[int], typer.Option(help="First observed step to use.")] = None,
    last: Annotated[Optional[int], typer.Option(help="Last observed step to use.")] = None,
    anchor: Annotated[
        Anchor, typer.Option(help="Start from the fitted line, or from the last observed checkpoint.")
    ] = "line",
    anchor_mean: Annotated[
        int, typer.Option(help="With --anchor last: start from the mean of so many last observed checkpoints.")
    ] = 1,
    only: Annotated[
        Optional[str],
        typer.Option(help="Regex of tensor names to extrapolate; the others stay at the last observed step."),
    ] = None,
    kinds: Annotated[
        Optional[list[str]],
        typer.Option(
            help="KIND=SIZE: how far tensors of a kind (attention, mlp, norms, embeddings, other), or those of a layer "
            "(mlp.11), go from the last observed step, in units of the forecast; repeat for several."
        ),
    ] = None,
    soup: Annotated[
        Optional[list[int]],
        typer.Option(help="Instead of --target: one candidate, the mean of the forecasts for these steps; repeat."),
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
    damped: Annotated[
        bool, typer.Option("--damped", help="Every tensor goes as far as its held-out backtest has skill, from 0 to 1.")
    ] = False,
    norm_cap: Annotated[
        Optional[float], typer.Option(help="Longest predicted delta of a tensor, in units of its last observed one.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the arithmetic runs.")] = "auto",
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

    Without flags it is the stage; with --trajectory, --base, --target or --soup, and --out it works on any trajectory.
    """
    flags = dict(locals())
    with _imports("extrapolate"):
        from relex.stages.extrapolate import stage

    gc.freeze()  # what the imports made stays: collections need not look at it again and again
    if trajectory is None and base is None and not target and not soup and out is None:
        from relex.params.load import read_params

        stage.run(read_params().extrapolate)
        _wrote(CANDIDATES, OBSERVED)
        return
    if trajectory is None or base is None or bool(target) == bool(soup) or out is None:
        raise typer.BadParameter("--trajectory, --base, --target (or --soup) and --out go together")
    if rank != "full" and not (rank.isdigit() and int(rank) > 0):
        raise typer.BadParameter(f"--rank must be a whole number above zero or `full`, not {rank!r}")
    from relex.window.options import Options
    from relex.window.request import Request

    read = {"rank": rank if rank == "full" else int(rank), "kinds": _sizes(kinds), "soup": tuple(soup or ()) or None}
    options = Options.of_flags({**flags, **read})
    stage.extrapolate_folder(trajectory, base, Request(tuple(target or ()), options, mode), out, ray=ray)
    _wrote(out)


def _sizes(said: list[str] | None) -> dict[str, float] | None:
    """KIND=SIZE, each kind once."""
    found: dict[str, float] = {}
    for one in said or ():
        kind, _, size = one.partition("=")
        try:
            if not is_group(kind) or kind in found:
                raise ValueError
            found[kind] = float(size)
        except ValueError:
            raise typer.BadParameter(
                f"--kinds takes KIND=SIZE, each of {', '.join(get_args(TensorKind))} (or one of a layer, mlp.11) at "
                f"most once, not {one!r}"
            ) from None
    return found or None


def _wrote(*folders: Path) -> None:
    """Say which checkpoint folders are there now, and how large they are."""
    from relex.core.sizes import show_bytes

    for folder in folders:
        parts = sorted(part for part in folder.iterdir() if part.is_dir())
        for part in parts or [folder]:
            size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
            typer.echo(f"{part}: {show_bytes(size)}")
        if (fit := folder / "fit.json").is_file():
            typer.echo(f"{fit}: how each tensor fits")


@commands.command(rich_help_panel=_STAGES)
def evaluate() -> None:
    """Generate with vLLM and score what the proof asks for: race, gate, guards; then report on what came of it."""
    from relex.core import hop
    from relex.params.load import read_params

    params = read_params()
    with _imports("evaluate"):
        from relex.stages.evaluate import stage
    stage.run(params.evaluate, params.problems, params.decide, hop.read().champion)


@commands.command(rich_help_panel=_STAGES)
def decide() -> None:
    """Which candidate, if any, is proven better on validation problems; written to metrics/decision.json."""
    from relex.params.load import read_params

    params = read_params()
    with _imports("decide"):
        from relex.stages.decide import stage
    stage.run(params.decide)


@commands.command(rich_help_panel=_STAGES)
def report() -> None:
    """One self-contained HTML page: rewards, spectrum, forecast, accuracy against horizon, cost, decision."""
    from relex.params.load import read_params

    params = read_params()
    with _imports("report"):
        from relex.stages.report import stage
    stage.run(params.problems, params.base, params.train, params.evaluate, params.registry.model)
