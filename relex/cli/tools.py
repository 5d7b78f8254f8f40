"""Commands on trajectories, and what helps with parameters and machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from relex.core.choices import Codec

commands = typer.Typer()
_ALONE = "Trajectories and extrapolation"
_KEPT = "What is kept"

TrajectoryOption = Annotated[Path, typer.Option("--trajectory", help="A trajectory folder (manifest.json, steps/).")]
BaseOption = Annotated[Path, typer.Option("--base", help="The base checkpoint folder the trajectory started from.")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to write; it must not exist yet.")]


@commands.command("import", rich_help_panel=_ALONE)
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="A folder of checkpoint-N, global_step_N\\[/actor/huggingface], step_N or step-N; "
            "or hub:OWNER/NAME, a hub repository with such branches.",
        ),
    ],
    out: OutOption,
    base: Annotated[
        Optional[Path],
        typer.Option(help="The base checkpoint folder; adapters may name it themselves (adapter_config.json)."),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Re-encode the checkpoints as deltas instead of referring to them.")
    ] = False,
    codec: Annotated[Codec, typer.Option(help="Of copies and adapters: how the deltas are stored.")] = "float32",
) -> None:
    """Make a trajectory of checkpoints that something else saved, whole or LoRA adapters; SRC stays untouched.

    Of adapters, as PEFT saves them, it holds the change that they make to the base: what comes of it is whole weights.
    """
    from relex.window import importing

    typer.echo(importing.import_checkpoints(source, base, out, copy=copy, codec=codec))


@commands.command(rich_help_panel=_ALONE)
def verify(trajectory: Annotated[Path, typer.Argument(metavar="DIR", help="A trajectory folder.")]) -> None:
    """Check every hash, shape and value of a trajectory."""
    from relex.trajectory import reader as module

    typer.echo(module.verify(trajectory))


@commands.command(rich_help_panel=_ALONE)
def materialize(
    trajectory: TrajectoryOption,
    base: BaseOption,
    step: Annotated[int, typer.Option(help="An observed step.")],
    out: OutOption,
) -> None:
    """Write an observed step back as a checkpoint folder."""
    from relex.trajectory import materialize

    materialize.materialize(trajectory, base, step, out)


@commands.command(rich_help_panel=_ALONE)
def calibrate(
    nights: Annotated[
        Optional[int], typer.Option(help="Simulated nights a line of the tables.", min=1, show_default="2000")
    ] = None,
    campaign: Annotated[
        Optional[int], typer.Option(help="Simulate whole campaigns instead, of so many nights each.", min=1)
    ] = None,
    campaigns: Annotated[
        Optional[int], typer.Option(help="With --campaign: campaigns a line.", min=1, show_default="300")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0)] = 0,
) -> None:
    """Simulate nights through the decision: how often it promotes when nothing, or something, is better.

    With --campaign, nights after each other, on fresh problems or on the same ones: how often the champion moves, how
    far its true quality drifts, and what is left to prove with. 300 campaigns of 100 nights take some ten minutes.
    """
    from relex.core.errors import InputError
    from relex.params.load import read_params
    from relex.stages.decide import calibrate, campaign_table
    from relex.stages.evaluate.planned import largest

    if campaign is None and campaigns is not None:
        raise InputError("--campaigns says how many, and nothing how long", todo="add --campaign NIGHTS")
    if campaign is not None and nights is not None:
        raise InputError("--nights is of single nights, --campaign of campaigns", todo="give one of them")
    params = read_params()
    plan = largest(params.evaluate)
    if campaign is None:
        page = calibrate.table(params.decide, plan, nights or 2000, seed)
    else:
        page = campaign_table.table(params.decide, plan, campaign, campaigns or 300, seed)
    typer.echo(page, nl=False)


@commands.command(rich_help_panel=_ALONE)
def doctor(
    params: Annotated[
        Optional[Path], typer.Option(help="Another parameter file, such as one of infra/profiles/.")
    ] = None,
    gpus: Annotated[
        Optional[str], typer.Option(help="Only say what a night takes on GPUs that are not here, such as 8x80GiB.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not measure how long a night takes.")] = False,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask",
            help="Also let the base answer some problems: what is right, and how long answers are (some minutes).",
        ),
    ] = False,
) -> None:
    """Check params.yaml and this machine, and say what a night will need in disk, memory and time.

    Time is estimated from what a decoder of the base's size does here in some seconds; nothing of a night is started.
    """
    from relex.core.errors import InputErrors
    from relex.core.workspace import PARAMS
    from relex.params import doctor

    if gpus is not None:
        from relex.params.memory import examine

        page, faults = examine(params or PARAMS, gpus)
    else:
        page, faults = doctor.examine(params or PARAMS, Path(), timed=not quick, ask=ask)
    typer.echo(page)
    if faults:
        raise InputErrors(faults)


@commands.command(rich_help_panel=_ALONE)
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or a checkout of this project.")],
    task: Annotated[
        str,
        typer.Option(
            help="Your problems: a .jsonl, .parquet or .csv file, hub:OWNER/NAME@REVISION\\[:SPLIT], or gym:TASK."
        ),
    ],
    base: Annotated[
        str, typer.Option(help="Your model: a checkpoint folder, OWNER/NAME@REVISION of the hub, or PACKAGE==VERSION.")
    ],
    problem: Annotated[
        Optional[str], typer.Option(help="The column of the problems, where its name is unusual.")
    ] = None,
    answer: Annotated[Optional[str], typer.Option(help="The column of the answers.")] = None,
    name: Annotated[Optional[str], typer.Option(help="What the registry calls the model.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not let the base answer some problems.")] = False,
) -> None:
    """Make a checkout for your own task and model: its first rows propose columns, scorer, template and sizes.

    The base answers some of the problems, for four minutes at most: what it writes proposes how long an answer may be,
    and shows whether there is anything to learn. Writes params.yaml, examines it as `relex doctor` does, and says the
    three things to check. docs/own-task.md walks
    one file through to a promoted model. Nothing is made where task or base will not do, or where params.yaml holds
    changes that nothing else has.
    """
    from relex.core.errors import InputErrors
    from relex.params import new_project

    page, faults = new_project.new(folder, task, base, problem=problem, answer=answer, name=name, ask=not quick)
    typer.echo(page)
    if faults:
        raise InputErrors(faults)


@commands.command(rich_help_panel=_ALONE)
def profile(
    name: Annotated[
        Optional[str], typer.Argument(help="The profile to put in place; without it they are listed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also over a params.yaml that nothing else holds.")] = False,
) -> None:
    """List the complete parameter files of infra/profiles/, or make one of them this project's params.yaml."""
    from relex.params import profiles

    typer.echo(profiles.listing() if name is None else profiles.install(name, force=force))


@commands.command(rich_help_panel=_KEPT)
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, only show what would go.")] = False,
    in_night: Annotated[bool, typer.Option("--in-night", hidden=True)] = False,
) -> None:
    """Show what the section `retention` of params.yaml lets go, how much and why; with --yes let go of it.

    Goes: of nights beyond `nights` the window, candidates and rows in DVC's cache and remote, the files of their MLflow
    runs, cached rows of models that no kept night evaluated, models fetched to be served, old study folders, and what
    killed commands left. Stays: whatever the standing or an unfinished night, a registered version, its rebuild
    (of the newest `promoted` versions), a branch, a tag or another experiment needs.

    The night does this itself at its end, but for study folders. Exit code 2 and nothing gone while a night runs, or
    where DVC or the registry cannot say what is needed. Killed in the middle, the same call again finishes it.
    """
    from relex.params.load import read_params
    from relex.retention import prune as action

    typer.echo(action.prune(read_params(), yes=yes, in_night=in_night))
