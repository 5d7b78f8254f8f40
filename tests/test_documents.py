"""Every command that README.md and docs/ show is one that there is, with options that it has.

And it is run: as it stands after a night or on own checkpoints; where it is long or lasting, by the test that is named.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from relex.cli.app import app
from tests.builders import ROOT
from tests.builders.pages import AFTER_A_NIGHT, ELSEWHERE, OWN_CHECKPOINTS, PAGES, commands

COMMANDS = commands()


def of(start: str) -> list[tuple[str, str]]:
    return [(page, command) for page, command in COMMANDS if command.startswith(start)]


def test_the_pages_show_commands_of_every_kind() -> None:
    assert len(of("relex ")) >= 20
    assert len(of("make ")) >= 5
    assert any("flows.nightly" in command for _, command in COMMANDS)


def test_every_command_is_run_by_a_test() -> None:
    run = {*AFTER_A_NIGHT, *OWN_CHECKPOINTS}
    shown = {command for _, command in COMMANDS}
    assert run <= shown | {"relex profile"}  # nothing is run that no page shows any more
    assert [one for one in sorted(shown - run) if not any(one.startswith(start) for start in ELSEWHERE)] == []
    assert [start for start in ELSEWHERE if not of(start)] == []


@pytest.mark.parametrize(("command", "test"), ELSEWHERE.items())
def test_the_test_that_runs_a_command_is_there(command: str, test: str) -> None:
    place, _, name = test.partition("::")
    assert f"def {name}" in (ROOT / place).read_text(encoding="utf-8"), command


@pytest.mark.parametrize(("page", "command"), of("relex "))
def test_a_command_of_relex_is_understood(page: str, command: str) -> None:
    """Parsed as it stands, short of doing anything: its name, its options, and how many words it takes."""
    group, (_, *words) = typer.main.get_command(app), shlex.split(command)
    if words == ["--help"]:
        return
    context = typer.Context(group)
    found = group.get_command(context, words[0])  # type: ignore[attr-defined]
    assert found is not None, f"{page}: {command}"
    if "--help" not in words:
        with found.make_context(words[0], words[1:]):
            pass


@cache
def help_of(module: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.real
@pytest.mark.parametrize(
    ("page", "command"), [one for one in COMMANDS if "python -m" in one[1] and "pytest" not in one[1]]
)
def test_a_module_that_is_run_has_the_options_that_are_shown(page: str, command: str) -> None:
    _, _, module, *words = shlex.split(command)
    said = help_of(module)
    for option in [word.partition("=")[0] for word in words if word.startswith("--")]:
        assert option == "--help" or option in said, f"{page}: {command}"


@pytest.mark.parametrize(("page", "command"), of("make "))
def test_a_target_of_make_is_there(page: str, command: str) -> None:
    done = subprocess.run(["make", "--dry-run", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{page}: {command}: {done.stderr}"


@pytest.mark.parametrize("name", ["dvc", "mlflow"])
def test_tools_of_others_stand_in_the_environment(name: str) -> None:
    assert of(name)
    assert (Path(sys.executable).parent / name).is_file()


def test_files_and_folders_that_the_pages_name_are_there() -> None:
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert missing == []
