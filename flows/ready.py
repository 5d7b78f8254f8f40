"""What a folder's first night would else do itself, once: python -m flows.ready

The loops of relex/window/kernels are compiled into Numba's cache, and the tables of Prefect's database are made, side
by side. `make setup` asks for it. A night that finds one of the two missing makes it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence

from flows.command import run_command_line
from flows.supervise import supervised
from relex.core.errors import StageFailed
from relex.core.workspace import PREFECT

TABLES = "the tables of Prefect's database"
_COMMANDS = {
    "the compiled loops of relex/window/kernels": ("-m", "relex.window.warm"),
    TABLES: ("-m", "prefect", "server", "database", "upgrade", "--yes"),
}


def ready(*names: str) -> None:
    """Make all of it, or what is named, side by side; StageFailed with what the first one said that failed."""
    PREFECT.mkdir(exist_ok=True)
    home = PREFECT.resolve()
    # Whatever the user's variables and files of settings name: another database is its own server's to change.
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
    }
    environment = {**os.environ, **own}
    with contextlib.ExitStack() as stack:
        begun = {
            made: stack.enter_context(
                supervised([sys.executable, *command], environment=environment, output=subprocess.PIPE)
            )
            for made, command in _COMMANDS.items()
            if made in (names or _COMMANDS)
        }
        for made, process in begun.items():
            assert process.stdout is not None
            said = process.stdout.read()
            if process.wait():
                raise StageFailed(f"{made} could not be made:\n{said.decode(errors='replace').strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.ready", description=(__doc__ or "").split("\n\n", 1)[1])
    return run_command_line(parser, arguments, lambda _options: ready())


if __name__ == "__main__":
    sys.exit(main())
