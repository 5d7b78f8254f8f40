"""The command line itself: every help page, what `--help` costs, and flags against the options they stand for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from relex.cli import nights, proving, registry, stages, tools
from relex.cli.app import app
from relex.window.options import Options
from tests.builders import ROOT

COMMANDS = [
    command.name or command.callback.__name__
    for group in (stages, tools, proving, nights, registry)
    for command in group.commands.registered_commands
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage" in shown.output


def test_the_commands_stand_in_the_help_of_the_whole_by_groups():
    shown = CliRunner().invoke(app, ["--help"]).output
    assert all(command in shown for command in COMMANDS)
    panels = ("Stages (parameters come from params.yaml)", "Trajectories and extrapolation")
    for panel in (*panels, "Proof of own checkpoints", "Registry"):
        assert panel in shown


def loaded(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['relex', *{list(arguments)!r}]\nfrom relex.cli.app import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "LOADED" in done.stderr, done.stderr
    return set(done.stderr.rpartition("LOADED")[2].split())


def test_help_loads_neither_pydantic_nor_numpy_nor_torch():
    assert not {"pydantic", "numpy", "torch", "mlflow", "yaml", "ruamel.yaml"} & loaded("--help")


def test_doctor_and_preflight_load_no_torch():
    assert "torch" not in loaded("doctor")
    code = "import sys, relex.params.preflight\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_flags_of_extrapolate_are_the_options_of_a_forecast():
    flags = set(inspect.signature(stages.extrapolate).parameters)
    assert flags == set(Options.model_fields) | {"trajectory", "base", "target", "mode", "ray", "out"}


def test_flags_begin_where_the_options_do():
    context = typer.main.get_command(app).commands["extrapolate"]
    found = {flag.name: flag.default for flag in context.params}
    options = Options()
    for name in Options.model_fields:
        given = found[name]
        assert (int(given) if name == "rank" else given) == getattr(options, name), name
