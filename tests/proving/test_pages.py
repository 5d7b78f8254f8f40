"""README's walk on own checkpoints, command after command as it shows them: from a run to a champion."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.builders.checkpoints import relex
from tests.builders.pages import OWN_CHECKPOINTS

pytestmark = pytest.mark.real

BETTER_AT = 500  # the step at which the run's line comes to the better model
# What makes the proof a small one, and fits it to a model of 12 tokens' answers.
SMALL = (
    "--scorer",
    "exact",
    "--max-tokens",
    "12",
    "--first",
    "20",
    "--proof-samples",
    "8",
    "--backend",
    "transformers",
)


def run_towards(folder: Path, steps: tuple[int, ...], made: Path) -> None:
    """Checkpoints on the straight line from the base to the better model."""
    base, better = (load_file(made / name / "model.safetensors") for name in ("base", "step_000100"))
    for step in steps:
        shutil.copytree(made / "base", folder / f"checkpoint-{step}")
        moved = {name: value + step / BETTER_AT * (better[name] - value) for name, value in base.items()}
        save_file(moved, folder / f"checkpoint-{step}/model.safetensors", metadata={"format": "pt"})


def test_a_run_of_another_trainer_comes_to_a_champion_by_the_commands_that_readme_shows(
    made: Path, tmp_path: Path
) -> None:
    run_towards(tmp_path / "RUN", (15, 30, 45), made)
    shutil.copytree(made / "base", tmp_path / "BASE")
    rows = [json.loads(line) for line in (made / "suite.jsonl").read_text().splitlines()]
    (tmp_path / "problems.jsonl").write_text(
        "".join(json.dumps({"problem": row["question"], "answer": row["solution"]}) + "\n" for row in rows)
    )
    for command in OWN_CHECKPOINTS:
        _, *words = shlex.split(command)
        done = relex(tmp_path, *words, *(SMALL if words[0] == "prove" else ()))
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert "promoted: NAME version 1 is the champion" in done.stdout
    assert (tmp_path / "proof/report.html").is_file()
