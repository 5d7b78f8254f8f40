"""What each stage's command reaches in relex/, from the code itself: imports, and processes started with -m."""

from __future__ import annotations

import re

import grimp
from ruamel.yaml import YAML

from tests.builders import ROOT

DVC_YAML = ROOT / "dvc.yaml"
GRAPH = YAML(typ="safe").load(DVC_YAML)["stages"]
IMPORTS = grimp.build_graph("relex", cache_dir=None)
_STARTED = re.compile(r'"-m",\s*"(relex[\w.]+)"')


def reached(module: str) -> set[str]:
    """A module and every one that it uses, in its own process or in those that it starts; the command line apart, which
    only dispatches."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        one = waiting.pop()
        new = {one, *IMPORTS.find_upstream_modules(one)} - found
        found |= new
        for each in new:
            path = ROOT / (each.replace(".", "/") + ".py")
            for started in _STARTED.findall(path.read_text(encoding="utf-8")) if path.is_file() else ():
                if started != "relex.cli":  # the stage itself, once a process
                    waiting.add(f"{started}.__main__" if (ROOT / started.replace(".", "/")).is_dir() else started)
    return found


def folder(module: str) -> str:
    """The room of a module, as dvc.yaml names it: relex/window, or relex/stages/train."""
    parts = module.split(".")
    return "/".join(parts[: 3 if parts[1] == "stages" else 2])


def rooms(stage: str) -> set[str]:
    """The rooms that a stage's code lies in."""
    modules = reached(f"relex.stages.{stage}.stage")
    return {folder(name) for name in modules if name.count(".") > 1}
