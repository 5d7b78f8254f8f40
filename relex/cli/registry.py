"""The registry's commands: one an action of relex/registry/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

commands = typer.Typer()
_PANEL = "Registry"

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="NAME/NUMBER or NAME@ALIAS of a registered model; models:/ may go before."),
]
TrackingUriOption = Annotated[
    Optional[str],
    typer.Option(help="The registry, if not params.yaml's; without params.yaml it is sqlite:///mlflow.db here."),
]
ModelOption = Annotated[Optional[str], typer.Option(help="The registered model's name, if not params.yaml's.")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to write; it must not exist yet.")]


@commands.command(rich_help_panel=_PANEL)
def register(
    proof: Annotated[
        Optional[Path], typer.Option("--from", help="Instead of the night: a folder that `relex prove` wrote.")
    ] = None,
    model: Annotated[
        Optional[str], typer.Option(help="With --from: the registered model's name, if not params.yaml's.")
    ] = None,
    tracking_uri: Annotated[
        Optional[str],
        typer.Option(
            help="With --from: the registry, if not params.yaml's; without params.yaml it is sqlite:///mlflow.db here."
        ),
    ] = None,
) -> None:
    """Register the decision's winner as a model version with its lineage; the same model only once.

    The decision is made again from the rows first, and the winner's folder hashed again. With --from no params.yaml is
    needed; the rows are kept beside the weights, so that `relex promote` can decide on them again.
    """
    if proof is not None:
        from relex.registry import proven
        from relex.registry.named import meant

        typer.echo(proven.register_proof(meant(model, tracking_uri).registry, proof))
        return
    if model is not None or tracking_uri is not None:
        raise typer.BadParameter("--model and --tracking-uri go with --from")
    from relex.params.load import read_params
    from relex.registry import register as action

    typer.echo(action.register(read_params()))


@commands.command(rich_help_panel=_PANEL)
def live() -> None:
    """Follow the training in MLflow while it runs: step and system metrics, until stopped. Run beside it."""
    from relex.params.load import read_params
    from relex.registry import live as action

    typer.echo(action.follow(read_params()))


@commands.command(rich_help_panel=_PANEL)
def promote(
    version: Annotated[
        Optional[str],
        typer.Argument(help="A version: its NUMBER, NAME/NUMBER or NAME@ALIAS; without it, the decision's winner."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote without a passing decision; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Recorded in the history.")] = "",
    model: ModelOption = None,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Move the alias `champion`, with its tags and history, to a version that a decision proved better."""
    from relex.registry import promotion as action
    from relex.registry.named import of_version

    typer.echo(action.promote(of_version(version, tracking_uri, model), version, force=force, reason=reason))


@commands.command(rich_help_panel=_PANEL)
def rollback(
    reason: Annotated[str, typer.Option(help="Recorded in the history.")],
    model: ModelOption = None,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Give the alias `champion` back to the version that held it before."""
    from relex.registry import promotion as action
    from relex.registry.named import meant

    typer.echo(action.rollback(meant(model, tracking_uri), reason=reason))


@commands.command(rich_help_panel=_PANEL)
def history(
    at: Annotated[
        Optional[str], typer.Option(help="A date or moment in UTC (2026-11-23, 2026-11-23T04:00): champion then.")
    ] = None,
    model: ModelOption = None,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Who was champion when, since when, and why."""
    from relex.registry import history as action
    from relex.registry.named import meant

    typer.echo(action.history(meant(model, tracking_uri), at))


@commands.command(rich_help_panel=_PANEL)
def fetch(version: ModelArgument, out: OutOption, tracking_uri: TrackingUriOption = None) -> None:
    """Download a registered model and check that the bytes are the ones that were evaluated."""
    from relex.registry import fetch as action
    from relex.registry.named import of_version

    typer.echo(action.fetch(of_version(version, tracking_uri), version, out))


@commands.command(rich_help_panel=_PANEL)
def lineage(version: ModelArgument, tracking_uri: TrackingUriOption = None) -> None:
    """Print what a registered model descends from, and check that its bytes still hash to it."""
    from relex.registry import lineage as action
    from relex.registry.named import of_version

    typer.echo(action.lineage(of_version(version, tracking_uri), version))


@commands.command(rich_help_panel=_PANEL)
def rebuild(
    version: ModelArgument,
    number: Annotated[Optional[str], typer.Argument(help="The number apart, after NAME alone.")] = None,
    out: Annotated[Optional[Path], typer.Option(help="Keep the rebuilt checkpoint in this folder.")] = None,
) -> None:
    """Make a version's weights again from the DVC artifacts, and say whether they are identical.

    It needs the project, with params.yaml and DVC, that made the version.
    """
    from relex.registry import rebuild as action

    typer.echo(action.rebuild(action.of_project(), version if number is None else f"{version}/{number}", out))


@commands.command(rich_help_panel=_PANEL)
def relocate(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would change.")] = False,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Mend a registry in this folder's database that still names its files in the folder it was made in."""
    from relex.registry import relocate as action
    from relex.registry.named import meant

    typer.echo(action.relocate(meant(None, tracking_uri, of_all=True), yes=yes))


@commands.command(rich_help_panel=_PANEL)
def serve(
    version: ModelArgument,
    host: Annotated[str, typer.Option(help="Where the server listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8000,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Fetch a registered model and serve it with vLLM's own server until stopped; prints a curl line.

    It answers as in the evaluation. What the server itself says is in .relex/serve-PORT.log.
    """
    from relex.registry import serve as action
    from relex.registry.fetch import fetch_to_serve
    from relex.registry.named import of_version

    params = of_version(version, tracking_uri)
    folder, prompt = fetch_to_serve(params, version)
    name = version.removeprefix("models:/")
    raise SystemExit(action.serve(action.engine_of(params, folder), folder, name, prompt, host, port))
