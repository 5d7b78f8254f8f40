"""python -m relex.cli: how a training's own processes are started."""

from __future__ import annotations

from relex.cli.app import main

if __name__ == "__main__":
    main()
