"""An evaluation that is killed again and again gives the rows of one that was left alone."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.digest import folder_sha256
from relex.stages.problems import stage as problems
from tests.builders.contests import SMALL, pretrained, set_champion, set_observed_step, write_params
from tests.builders.forked import Command

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("forked_commands")]

KILLS = 10
COMMAND = [sys.executable, "-m", "relex.cli", "evaluate"]


def kept() -> int:
    """Rows in the cache."""
    return sum(path.read_bytes().count(b"\n") for path in workspace.ROWS_CACHE.rglob("*.rows"))


def generated() -> int:
    """Rows that the last evaluation had to make."""
    timings = read_json(workspace.TIMINGS / "evaluate.json")
    return sum(part["rows"] for part in timings.values() if isinstance(part, dict))


@pytest.mark.slow
def test_an_evaluation_killed_ten_times_at_random_generates_only_what_it_lacks_and_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"train": 20, "validation": 160, "test": 60, "ood": 60}
    changes = {
        "problems.sizes": sizes,
        "evaluate.samples": 8,
        "evaluate.engines": 1,
        "evaluate.backend": "transformers",  # started in a tenth of vLLM's time
        "evaluate.proof": {"first": 20, "race_samples": 4, "samples": 16},
    }
    params = write_params(tmp_path, {**SMALL, **changes})
    problems.run(params.problems)
    for seed, folder in enumerate(("base", "observed", "candidates/step_000100")):
        pretrained(params, 30, (0.1 * seed, 0.2 * seed), Path(folder))
    set_champion(None)
    set_observed_step(45)
    subprocess.run(COMMAND, check=True, capture_output=True)
    undisturbed = folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()
    everything = kept()
    assert everything == generated()
    for path in (workspace.EVALUATION, workspace.ROWS_CACHE):
        shutil.rmtree(path)
    workspace.EVALUATION_METRICS.unlink()

    generator = random.Random(0)
    counts = [0]
    for _ in range(KILLS):
        before = counts[-1]
        process = Command(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # At any moment of the start, or soon after so many more rows; as hundreds come at once, in the first tenth of a
        # second once half of them are there.
        more = generator.choice([0, 1, 10, 20, 40])
        seconds = 120.0 if more else generator.uniform(0.1, 2.0)
        deadline = time.monotonic() + (seconds if before < everything // 2 else 0.1)
        while process.poll() is None and time.monotonic() < deadline and kept() < before + max(1, more):
            time.sleep(0.02)
        assert process.poll() is None, "it got through before it was killed"
        process.kill_all()  # the engine goes with it
        assert not workspace.EVALUATION.exists()  # nothing half done under a final name
        assert not workspace.EVALUATION_METRICS.exists()
        counts.append(kept())
    assert counts == sorted(counts)  # what was done stays done
    assert len(set(counts)) > KILLS // 2  # most kills came in the middle of the rows
    subprocess.run(COMMAND, check=True, capture_output=True)
    assert (folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()) == undisturbed
    assert generated() == everything - counts[-1]
    assert kept() == everything
