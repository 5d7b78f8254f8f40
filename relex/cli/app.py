"""`relex`: one command per stage of dvc.yaml and per action that is also useful alone.

Stage commands take no arguments: everything comes from params.yaml. Imports are inside the commands, so that
`relex --help` is quick and a stage loads only what it needs.
"""

from __future__ import annotations

import sys

import typer

from relex.cli import nights, proving, registry, stages, tools
from relex.core.errors import RelexError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Short RLVR, rank-1 extrapolation of its weights, and promotion only of what is proven better. "
    "Exit codes: 0 done, 2 bad input or parameters, 1 anything else.",
)
for group in (stages, tools, proving, nights, registry):
    app.add_typer(group.commands)


def main() -> None:
    """Run the command; user errors become one clear message and their exit code."""
    try:
        app(prog_name="relex")
    except RelexError as error:
        from relex.params.redact import redact

        print(f"relex: {redact(error)}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
