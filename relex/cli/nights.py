"""The commands of what happens from hop to hop and from night to night."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

commands = typer.Typer()
_PANEL = "Nights"


@commands.command(rich_help_panel=_PANEL)
def hop(
    begin: Annotated[
        bool, typer.Option("--begin", help="Go on with the unfinished hop, or begin the next night's first.")
    ] = False,
    end: Annotated[
        bool,
        typer.Option(
            "--end", help="Note the finished hop in ledger.jsonl, then begin tonight's next, or end the night."
        ),
    ] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Get the weights that hop.json names out of the registry.")
    ] = False,
    in_night: Annotated[bool, typer.Option("--in-night", hidden=True)] = False,
) -> None:
    """Say what the present hop (hop.json) starts from; with an option, go on from there as a night does."""
    from relex.core import hop as hops
    from relex.core.night_lock import night_lock
    from relex.nights.present import told
    from relex.params.load import read_params

    if begin + end + fetch > 1:
        raise typer.BadParameter("give one of --begin, --end and --fetch")
    if not (begin or end or fetch):
        typer.echo(told(hops.read()))
        return
    from relex.nights import turn

    action = turn.begin if begin else turn.end if end else turn.fetch
    with contextlib.nullcontext() if in_night else night_lock():
        typer.echo(action(read_params()))


@commands.command(rich_help_panel=_PANEL)
def ledger(
    as_json: Annotated[
        bool, typer.Option("--json", help="The lines as one JSON list, with all that they hold.")
    ] = False,
) -> None:
    """What each hop and each night spent and won, sums of the campaign included (ledger.jsonl)."""
    from relex.ledger import lines
    from relex.nights import table

    found = lines.read()
    typer.echo(table.as_json(found) if as_json else table.as_table(found))
