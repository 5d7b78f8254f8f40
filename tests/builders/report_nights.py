"""A night's metrics and timings on disk, made by the stages' own functions from tiny inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relex.core import hop
from relex.core.hop import Hop, Model
from relex.core.workspace import HOP
from relex.params.load import Params, load
from relex.stages.diagnose.scan import statistics
from relex.stages.diagnose.stage import diagnose_folder
from relex.stages.evaluate.contestants import Contestant
from relex.stages.report import stage as report
from tests.builders import ROOT
from tests.builders.proofs import SIZES, write_proof
from tests.builders.windows import line_with_noise, save, tiny_llama, write_trajectory

STEPS = list(range(1, 11))
# Of the evaluation: what each part generated, and what it took; all rows of the report were known before.
SECONDS = {
    "seconds": 130.0,
    **{part: {"rows": 100, "tokens": 500, "generate_seconds": 9.0, "score_seconds": 1.0} for part in ("race", "gate")},
    "guards": {"rows": 50, "tokens": 250, "generate_seconds": 4.0, "score_seconds": 0.5},
    "report": {"rows": 0, "tokens": 0, "generate_seconds": 0.0, "score_seconds": 0.0},
    "start_seconds": 18.0,
    "engine_starts": 2,
    "reloads": 3,
}


def write_night(
    folder: Path, accuracy: Mapping[str, float], *, champion_version: str = "3", sizes: Mapping[str, int] = SIZES
) -> Path:
    """metrics/, timings/ and hop.json of a first hop whose models answer right with the given probabilities.

    accuracy: by model, `base` and `observed` among them, `champion` where there is one, and step_<N> for candidates.
    """
    models = {name: _contestant(name, champion_version).facts() for name in accuracy}
    metrics = folder / "metrics"
    metrics.mkdir(parents=True)
    dump(metrics / "diagnose.json", _diagnosis(folder / "scratch"))
    dump(metrics / "base.json", {"kind": "embedded", "parameters": 297472, "weights_sha256": "ba" * 32})
    dump(
        metrics / "train.json",
        {
            "steps": len(STEPS),
            "completions": 2560,
            "tokens": 12800,
            "share_without_signal": 0.1,
            "share_truncated": 0.0,
        },
    )
    lines = [f"{step},{0.3 + 0.01 * step:.3f}" for step in STEPS]
    (metrics / "train_steps.csv").write_text("\n".join(["step,reward", *lines]) + "\n")
    (folder / "timings").mkdir()
    dump(folder / "timings/train.json", {"seconds": 25.0, "steps": [9.0] + [2.0] * 9})
    dump(folder / "timings/extrapolate.json", {"seconds": 0.25})
    dump(folder / "timings/evaluate.json", SECONDS)
    write_proof(folder, models, accuracy, load(ROOT / "params.yaml"), sizes)
    met = models.get("champion")
    champion = Model(version=champion_version, model_sha256=met["model_sha256"]) if met else None
    hop.write(Hop(champion=champion), folder / HOP)
    return folder


def run_report(model: str = "sort-digits", params: Params | None = None) -> None:
    """The stage report in the present folder, by the committed parameters where no others are given."""
    params = params or load(ROOT / "params.yaml")
    report.run(params.problems, params.base, params.train, params.evaluate, model)


def dump(path: Path, value: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value))


def change(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file."""
    dump(path, json.loads(path.read_text()) | changes)


def _contestant(name: str, version: str) -> Contestant:
    kind = "candidate" if name.startswith("step_") else name
    step = {"base": 0, "observed": STEPS[-1], "champion": None}.get(name, 0)
    step = int(name.removeprefix("step_")) if kind == "candidate" else step
    digest = (name.encode().hex() * 8)[:64]
    return Contestant(name, kind, step, Path(name), digest, digest, version if kind == "champion" else None)


def _diagnosis(scratch: Path) -> dict[str, Any]:
    base = save(tiny_llama(), scratch / "base")
    trajectory = write_trajectory(scratch / "trajectory", base, STEPS, line_with_noise(), rewards=True)
    diagnose_folder(trajectory, base, None, scratch / "out")
    return json.loads((scratch / "out/diagnose.json").read_text())


def likelihood_scan(best: int, steps: tuple[int, ...] = (10, 20, 40, 80, 160)) -> dict[str, Any]:
    """The scan of 20 prompts with a right and a wrong completion each; the right ones are most likely at `best`."""
    rewards = np.tile([1.0, 0.0], 20)
    curve = -1.0 - np.abs(np.log(np.array(steps) / best))
    likelihoods = curve[:, None] * np.where(rewards > 0.5, 1.0, 2.0) + np.linspace(0.0, 0.1, 40)
    return statistics(likelihoods, np.full(40, -1.5), rewards, np.repeat(np.arange(20), 2).astype(str).tolist(), steps)
