"""The command `relex`, and python -m relex.cli: run in a process that a fork server forks for it, or in this one."""

from __future__ import annotations

import os
import sys

from relex.core.forkserver.ask import VARIABLE, has_loaded, in_place

# What asks MLflow: forked from a template that has imported it. The others are stages, or work like them.
_REGISTRY = {"fetch", "history", "hop", "ledger", "lineage", "live", "promote", "prune", "register", "rollback"}

# They import little themselves: sooner done here than a template answers that imports still.
_QUICK = {"hop", "problems"}


def main() -> None:
    """The console script."""
    words = sys.argv[1:]
    if words and os.environ.get(VARIABLE):
        template = "registry" if words[0] in _REGISTRY else "stage"
        if words[0] not in _QUICK or has_loaded(template):
            code = in_place(template, "relex.cli.app", words, title=" ".join(["relex", *words]))
            if code is not None:
                sys.exit(code)
    from relex.cli.app import main as here

    here()


if __name__ == "__main__":
    main()
