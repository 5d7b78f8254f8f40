"""What the capture costs: training that captures every step against training that captures only its last two.

    python -m tests.benchmarks.capture [--steps 45] [--repeats 3] [PARAMS]

On the embedded default, or on the night of another params.yaml (on a CUDA machine: infra/profiles/smollm2-135m.yaml).
Both kinds of run take turns in one process each, on the same base and problems, and train the same weights. `waited`
is what training itself waited for: differences, sketch, and handing over to the thread that writes. The ratio of
medians of a whole step holds what the writing thread takes from it as well. The state that an interrupted run goes on
from is written every state_every steps in both.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from relex.core import hop
from relex.core.workspace import HOP

_FIRST = 5  # steps that warm up caches


def write_params(source: Path, out: Path, steps: int, first: int) -> None:
    yaml = YAML()
    document = yaml.load(source.read_text(encoding="utf-8"))
    document["train"]["budget"]["steps"] = steps
    document["train"]["window"] = {"first": first, "last": steps, "every": 1}
    document["extrapolate"]["targets"] = [2 * steps]
    document["diagnose"]["scan_horizons"] = 0
    document["extrapolate"] |= {"rays": "named", "variants": []}
    with open(out, "w", encoding="utf-8") as handle:
        yaml.dump(document, handle)


def stage(name: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "relex.cli", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def measured(folder: Path) -> dict[str, float]:
    """Medians over the steps after the first few: seconds of a step, and those that it waited for the capture."""
    with open(folder / "timings/train_steps.csv", newline="", encoding="utf-8") as handle:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(handle)]
    rows = rows[_FIRST:-2]
    return {name: statistics.median(row[name] for row in rows) for name in ("seconds", "capture")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("params", nargs="?", type=Path, default=Path("params.yaml"))
    parser.add_argument("--steps", type=int, default=45)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"every step": [], "the last two": []}
    with tempfile.TemporaryDirectory(prefix="relex-bench-") as name:
        folder = Path(name)
        hop.write(hop.Hop(), folder / HOP)
        for _ in range(asked.repeats):
            for kind, first in (("every step", 1), ("the last two", asked.steps - 1)):
                write_params(asked.params, folder / "params.yaml", asked.steps, first)
                if not (folder / "base").exists():
                    stage("problems", folder)
                    stage("base", folder)
                shutil.rmtree(folder / "trajectory", ignore_errors=True)
                stage("train", folder)
                found[kind].append(measured(folder))
    print("| captured | seconds a step | waited | share of the step |")
    print("|---|---|---|---|")
    for kind, runs in found.items():
        step, waited = (statistics.median(run[key] for run in runs) for key in ("seconds", "capture"))
        print(f"| {kind} | {step:.3f} | {waited:.4f} | {waited / step:.1%} |")
    ratios = [one["seconds"] / other["seconds"] for one, other in zip(*found.values(), strict=True)]
    print(f"\nwhole step, every step captured against only the last two: {statistics.median(ratios) - 1:+.1%}")


if __name__ == "__main__":
    main()
