"""Promotion and rollback as Prefect flows.

    python -m flows.promote                                     the decision's winner
    python -m flows.promote --version 3 [--force] --reason ...  a version, by number or NAME@ALIAS
    python -m flows.promote --rollback --reason ...             back to the champion before

What may move, and that it moves as a whole or not at all, is relex's business (relex/registry/store/moves.py); the flow
gives it a place in Prefect: who ran it, when, what it said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.command import run_command_line
from flows.server import prefect_server
from flows.stages import run_action
from relex.core.atomic import read_json
from relex.core.workspace import HISTORY, STATE


@flow(name="promote", log_prints=True)
def promote(version: str | None = None, force: bool = False, reason: str = "") -> list[str]:
    """Move `champion` to the decision's winner, or to `version`; what `relex promote` said."""
    options = [version] if version else []
    options += ["--force"] if force else []
    options += ["--reason", reason] if reason else []
    return _say("promote", run_action("promote", ["relex", "promote", *options]))


@flow(name="rollback", log_prints=True)
def rollback(reason: str) -> list[str]:
    """Give `champion` back to the version that held it before; what `relex rollback` said."""
    return _say("rollback", run_action("rollback", ["relex", "rollback", "--reason", reason]))


def _say(key: str, lines: list[str]) -> list[str]:
    """Keep what was said, and where the aliases are now, as an artifact of the flow run."""
    said = "\n".join(lines)
    note = STATE / "registered.json"
    if note.is_file():
        entry = read_json(note)
        aliases = ", ".join(entry["aliases"]) or "none"
        row = f"| {entry['name']} | {entry['version']} | {aliases} |"
        said += f"\n\n| model | version | aliases |\n|---|---|---|\n{row}"
    create_markdown_artifact(key=key, markdown=f"{said}\n\nAll moves: `relex history`, `{HISTORY}`.")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description="Promote or roll back, as a flow run.")
    parser.add_argument("--version", help="NUMBER, NAME/NUMBER or NAME@ALIAS; without it, the decision's winner")
    parser.add_argument("--force", action="store_true", help="without a passing decision; needs --reason")
    parser.add_argument("--reason", default="", help="recorded in the history")
    parser.add_argument("--rollback", action="store_true", help="back to the champion before")
    return run_command_line(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    with prefect_server():
        if options.rollback:
            rollback(options.reason)
        else:
            promote(options.version, options.force, options.reason)


if __name__ == "__main__":
    from flows.promote import main as run  # under its import name, so that a deployment finds the flows

    sys.exit(run())
