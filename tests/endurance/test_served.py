"""The served schedule's memory: its command. The whole takes minutes, in CONTRIBUTING.md."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.builders import ROOT
from tests.endurance import served


def test_the_command_says_what_it_does() -> None:
    command = [sys.executable, "-m", "tests.endurance.served", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--firings" in done.stdout


@pytest.mark.parametrize(
    ("resident", "left", "code"),
    [([300, 250, 240, 240, 240, 251], 0, 0), ([240, 240, 240, 240, 240, 253], 0, 1), ([240] * 6, 1, 1)],
)
def test_memory_that_grows_or_a_process_that_is_left_fails(
    monkeypatch: pytest.MonkeyPatch, resident: list[int], left: int, code: int
) -> None:
    monkeypatch.setattr(served, "run", lambda place, firings: (resident, left))
    monkeypatch.setattr(sys, "argv", ["served", "--firings", "6"])
    assert served.main() == code
