"""The registry's commands: one an action of relex/registry/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

commands = typer.Typer()
_PANEL = "Registry"

ModelArgument = Annotated[
    str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION; models:/ may be left out.")
]
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

        typer.echo(proven.register_proof(proven.named(model, tracking_uri), proof))
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
        Optional[str], typer.Argument(help="A version number; without it, the decision's winner.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote without a passing decision; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Recorded in the history.")] = "",
) -> None:
    """Move the alias `champion`, with its tags and history, to a version that a decision proved better."""
    from relex.params.load import read_params
    from relex.registry import promotion as action

    typer.echo(action.promote(read_params(), version, force=force, reason=reason))


@commands.command(rich_help_panel=_PANEL)
def rollback(reason: Annotated[str, typer.Option(help="Recorded in the history.")]) -> None:
    """Give the alias `champion` back to the version that held it before."""
    from relex.params.load import read_params
    from relex.registry import promotion as action

    typer.echo(action.rollback(read_params(), reason=reason))


@commands.command(rich_help_panel=_PANEL)
def history(
    at: Annotated[
        Optional[str], typer.Option(help="A date or moment in UTC (2026-11-23, 2026-11-23T04:00): champion then.")
    ] = None,
) -> None:
    """Who was champion when, since when, and why."""
    from relex.params.load import read_params
    from relex.registry import history as action

    typer.echo(action.history(read_params(), at))


@commands.command(rich_help_panel=_PANEL)
def fetch(model: ModelArgument, out: OutOption) -> None:
    """Download a registered model and check that the bytes are the ones that were evaluated."""
    from relex.params.load import read_params
    from relex.registry import fetch as action

    typer.echo(action.fetch(read_params(), model, out))


@commands.command(rich_help_panel=_PANEL)
def lineage(model: ModelArgument) -> None:
    """Print what a registered model descends from, and check that its bytes still hash to it."""
    from relex.params.load import read_params
    from relex.registry import lineage as action

    typer.echo(action.lineage(read_params(), model))


@commands.command(rich_help_panel=_PANEL)
def rebuild(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[str, typer.Argument(help="Its version number.")],
    out: Annotated[Optional[Path], typer.Option(help="Keep the rebuilt checkpoint in this folder.")] = None,
) -> None:
    """Make a version's weights again from the DVC artifacts, and say whether they are identical."""
    from relex.params.load import read_params
    from relex.registry import rebuild as action

    typer.echo(action.rebuild(read_params(), name, version, out))


@commands.command(rich_help_panel=_PANEL)
def relocate(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would change.")] = False,
) -> None:
    """Mend a registry in this folder's database that still names its files in the folder it was made in."""
    from relex.params.load import read_params
    from relex.registry import relocate as action

    typer.echo(action.relocate(read_params(), yes=yes))


@commands.command(rich_help_panel=_PANEL)
def serve(
    model: ModelArgument,
    host: Annotated[str, typer.Option(help="Where the server listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8000,
) -> None:
    """Fetch a registered model and serve it with vLLM's own server until stopped; prints a curl line."""
    from relex.params.load import read_params
    from relex.registry.fetch import fetch_to_serve
    from relex.registry.serve import serve as serve_folder

    params = read_params()
    folder, prompt = fetch_to_serve(params, model)
    raise SystemExit(serve_folder(params, folder, model.removeprefix("models:/"), prompt, host, port))
