"""Commands of a night: their lines reach the log, their exit codes keep their meaning."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.process import run_command
from relex.core.errors import InputError, StageFailed

pytestmark = pytest.mark.real


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_line_is_logged_and_returned_in_order():
    logged: list[str] = []
    lines = run_command(
        python("import sys\nfor i in range(3): print('out', i, flush=True)\nsys.stderr.write('err')"), logged.append
    )
    assert lines == logged == ["out 0", "out 1", "out 2", "err"]


def test_a_progress_bar_is_shown_now_and_then_and_its_end_always():
    code = "import sys\nfor i in range(101): sys.stderr.write(f'\\rbar {i}%')\nsys.stderr.write('\\n')"
    lines = run_command(python(code), lambda line: None)
    assert lines[-1] == "bar 100%"
    assert len(lines) < 10


def test_hints_for_a_person_at_a_terminal_are_not_logged():
    logged: list[str] = []
    run_command(
        python("print('To track the changes with git, run:\\n\\n\\tgit add dvc.lock\\n\\nreal line')"), logged.append
    )
    assert logged == ["real line"]


def test_exit_code_two_is_bad_input_with_the_commands_own_words():
    with pytest.raises(InputError, match="^the base is missing$") as caught:
        run_command(
            python("import sys; print('noise'); print('relex: the base is missing'); sys.exit(2)"), lambda line: None
        )
    assert "noise" not in str(caught.value)


def test_exit_code_two_of_a_stage_is_seen_through_dvc():
    code = (
        "import sys; print('relex: too little disk'); "
        "print(\"ERROR: failed to reproduce 'train': failed to run: relex train, exited with 2\"); sys.exit(255)"
    )
    with pytest.raises(InputError, match="too little disk"):
        run_command(python(code), lambda line: None)


@pytest.mark.parametrize("code", ["import sys; sys.exit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_any_other_end_is_a_failed_stage(code):
    with pytest.raises(StageFailed, match="ended with exit code"):
        run_command(python(code), lambda line: None)


def test_the_commands_of_this_environment_are_found_first():
    lines = run_command([sys.executable, "-c", "import shutil; print(shutil.which('relex'))"], lambda line: None)
    assert lines == [str(Path(sys.executable).parent / "relex")]
