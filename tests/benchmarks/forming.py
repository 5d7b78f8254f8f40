"""Candidates as files beside candidates that are formed in the engine (extrapolate.write: all, winner), on one night.

    python -m tests.benchmarks.forming [--params PARAMS] [--night FOLDER] [--repeats 1]

The first hop's base and window of a params.yaml are made first, in a folder of its own: minutes (infra/profiles/
smollm2-135m.yaml: about ten on two cores), unless a project after a night is given. Both ways extrapolate, evaluate and
decide anew, in turn, each in a copy without any row. Seconds are of the commands, their start included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from relex.checkpoints.recipe import has_recipe
from relex.core import hop
from relex.core.sizes import show_bytes
from relex.core.workspace import CANDIDATES, DECISION, EVALUATION, EVALUATION_METRICS, HOP, PARAMS, TIMINGS
from relex.params.load import read_params
from relex.stages.evaluate.contestants import load_contestants
from relex.stages.evaluate.engine.settings import engine_environments, engine_settings
from relex.stages.evaluate.reload import filed
from relex.stages.evaluate.slot import Slot

_TIMES = 9
ROOT = Path(__file__).resolve().parents[2]
WAYS = ("all", "winner")
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".dvc", ".relex", ".prefect", ".venv", "mlruns", "mlartifacts", "mlflow.db", "candidates", "evaluation"
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.forming",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--params", type=Path, default=ROOT / PARAMS, help="whose hop; default: the committed one's")
    parser.add_argument(
        "--night", type=Path, metavar="FOLDER", help="a project whose base and window are there already"
    )
    parser.add_argument("--repeats", type=int, default=1, help="how often both ways are done, in turn; the best counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.night or _night(given.params, Path(temporary) / given.params.stem)
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for number in range(given.repeats):
            for way in WAYS if number % 2 == 0 else WAYS[::-1]:
                found[way].append(_measured(folder, Path(temporary) / f"{way}-{number}", way))
        print(_page(folder, found))
        if (took := _in_place(found["winner"][0]["folder"], Path(temporary))) is not None:
            ratio = f"{took[1] / took[0]:.2f} times as long"
            print(f"\none model into a running engine, median of {_TIMES} in turn:")
            print(f"{took[0]:.3f} s from its file, {took[1]:.3f} s formed, {ratio}")


def _night(params: Path, folder: Path) -> Path:
    """The parts of a first hop that come before."""
    folder.mkdir()
    shutil.copyfile(params, folder / PARAMS)
    shutil.copytree(ROOT / "inputs", folder / "inputs", symlinks=True)
    hop.write(hop.Hop(), folder / HOP)
    for stage in ("problems", "base", "train", "diagnose"):
        _run(folder, stage)
    return folder


def _run(folder: Path, stage: str) -> float:
    """Seconds of a command."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    variables.setdefault("RELEX_COMPILED", str(ROOT / ".relex" / "compiled"))
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "relex.cli", stage], cwd=folder, env=variables, check=True)
    return time.perf_counter() - begin


def _measured(source: Path, folder: Path, way: str) -> dict[str, Any]:
    shutil.copytree(source, folder, ignore=_LEFT_OUT, symlinks=True)
    yaml = YAML()
    params = yaml.load(folder / PARAMS)
    params["extrapolate"]["write"] = way
    yaml.dump(params, folder / PARAMS)
    seconds = {stage: _run(folder, stage) for stage in ("extrapolate", "evaluate", "decide")}
    names = [path for path in (folder / CANDIDATES).glob("step_*") if path.is_dir()]
    return {
        "folder": folder,
        "seconds": seconds,
        "candidates": len(names),
        "formed": sum(has_recipe(path) for path in names),
        "bytes": sum(
            path.stat().st_size for part in (CANDIDATES, EVALUATION) for path in (folder / part).rglob("*.safetensors")
        ),
        "spent": json.loads((folder / TIMINGS / "evaluate.json").read_text()),
        "metrics": json.loads((folder / EVALUATION_METRICS).read_text())["metrics"],
        "decision": json.loads((folder / DECISION).read_text()),
    }


def _in_place(folder: Path, temporary: Path) -> tuple[float, float] | None:
    """Seconds until an engine holds a candidate, reloaded from a file of it and formed; None where none is formed, or
    the backend forms none."""
    with contextlib.chdir(folder):
        settings = read_params().evaluate
        models = [one for one in load_contestants(hop.read().champion) if one.origin is not None]
        if not models or settings.backend != "vllm":
            return None
        one, other = models[0], filed(models[-1], temporary / "filed")
        environment = engine_environments(settings.tensor_parallel, settings.engines)[0]
        twins = "CUDA_VISIBLE_DEVICES" not in environment
        slot = Slot(0, engine_settings(settings), environment, twins=twins, state=temporary / "state")
        took: dict[str, list[float]] = {one.name: [], other.name: []}
        try:
            slot.start(other, reloadable=True)
            for _ in range(_TIMES):
                for model in (one, other):
                    begin = time.perf_counter()
                    slot.reload(model)
                    took[model.name].append(time.perf_counter() - begin)
        finally:
            slot.close()
    return statistics.median(took[other.name]), statistics.median(took[one.name])


def _page(folder: Path, found: dict[str, list[dict[str, Any]]]) -> str:
    one, other = (found[way][0] for way in WAYS)
    lines = [
        f"{folder.name}: {one['candidates']} candidates, {other['formed']} of them formed; {os.cpu_count()} cores",
        "",
        "| | files | formed | ratio |",
        "|---|---|---|---|",
        _row("bytes of weights written", *(found[way][0]["bytes"] for way in WAYS), show=show_bytes),
    ]
    for stage in ("extrapolate", "evaluate"):
        best = [min(each["seconds"][stage] for each in found[way]) for way in WAYS]
        lines.append(_row(f"seconds of `relex {stage}`", *best))
    ready = [min(each["spent"]["start_seconds"] for each in found[way]) for way in WAYS]
    lines.append(_row("of these until engines hold their models", *ready))
    for what, key in (("engine starts", "engine_starts"), ("models put into engines that run", "reloads")):
        lines.append(_row(what, *(found[way][0]["spent"][key] for way in WAYS), show=str))
    lines += ["", "| model | files | formed | rows alike |", "|---|---|---|---|"]
    for name, suites in one["metrics"].items():
        for suite in suites:
            theirs = other["metrics"][name].get(suite)
            if theirs is None or not name.startswith("step"):
                continue
            alike, rows = _alike(one["folder"], other["folder"], name, suite)
            lines.append(f"| {name}, {suite} | {_mean(suites[suite])} | {_mean(theirs)} | {alike} of {rows} |")
    decided = [found[way][0]["decision"] for way in WAYS]
    lines += ["", *(f"{way}: {one['outcome']}, {one['winner']}" for way, one in zip(WAYS, decided, strict=True))]
    return "\n".join(lines)


def _row(what: str, one: float, other: float, show: Any = "{:.1f}".format) -> str:
    return f"| {what} | {show(one)} | {show(other)} | {other / one:.2f} |"


def _mean(facts: dict[str, Any]) -> str:
    return next(f"{found['value']:.3f}" for key, found in facts.items() if key.startswith("avg_at_"))


def _alike(one: Path, other: Path, name: str, suite: str) -> tuple[int, int]:
    """Rows whose completion is the same text, and rows that both ways asked."""
    texts = []
    for folder in (one, other):
        table = pq.read_table(folder / EVALUATION / "rows" / f"{name}.parquet").to_pylist()
        texts.append({(row["problem"], row["sample"]): row["completion"] for row in table if row["suite"] == suite})
    both = texts[0].keys() & texts[1].keys()
    return sum(texts[0][key] == texts[1][key] for key in both), len(both)


if __name__ == "__main__":
    main()
