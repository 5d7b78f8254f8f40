"""A month in miniature: nights on real parts with retention on; whether the disk stays flat and what is kept works.

    python -m tests.endurance.month --nights 30
    python -m tests.endurance.month --nights 30 --built     minutes instead of hours

Every night is a real one (`python -m flows.nightly`: TRL, DVC, Prefect, MLflow), made small, with another seed of
training and every fifth night another base. A line a night says what the disk holds. At the end every registered
version is loaded, rebuilt (or refused, because retention let go of its inputs) and served, and every kept night is
whole in DVC.

--built: window, candidates and metrics come from tests/builders instead of stages, promoted every sixth night; DVC, the
registry, save and prune are the real ones, and there is no Prefect.

Flat: without what registered versions themselves need (their weights, the inputs of held rebuilds), which may grow with
every promotion, the bytes after the first night beyond the limit stay within 10 % of what they were then.
Exit code 1 where anything of that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from relex.core.sizes import parse_size, show_bytes
from relex.retention.folders import bytes_of
from relex.retention.prune import prune
from tests.builders.nights import make_project
from tests.builders.project import SMALL, Project, wait_for
from tests.builders.saved_nights import Nights, change_retention, enter

PLACES = (".dvc/cache", "mlartifacts", "mlflow.db", ".relex", ".prefect")
TOLERANCE = 0.10
# What a version needs stays by right and is no growth that retention could stop (preview.py's words).
_OF_VERSIONS = ("registered versions in mlartifacts", "rebuilds of", "versions by reference")
_MINIATURE = {
    **SMALL,
    "evaluate.backend": "transformers",
    "diagnose.scan_horizons": 0,
    "diagnose.backtest": [],
    "retention.disk": None,
}


@dataclass(frozen=True)
class Disk:
    """Bytes after a night, by place; of_versions: those that registered versions need."""

    places: dict[str, int]
    of_versions: int

    @property
    def total(self) -> int:
        return sum(self.places.values())

    @property
    def nights(self) -> int:
        """What is not there for the versions' sake."""
        return self.total - self.of_versions


def make(folder: Path, nights: int, promoted: int) -> Project:
    """The project of the month. Prefect keeps its events for seven days: here for as many nights, as minutes."""
    project = Project.make(folder, {**_MINIATURE, "retention.nights": nights, "retention.promoted": promoted})
    project.environment["PREFECT_SERVER_EVENTS_RETENTION_PERIOD"] = f"PT{60 * nights}S"
    project.environment["PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS"] = "20"
    return project


def make_built(folder: Path, nights: int, promoted: int) -> Nights:
    """The same without stages; entered."""
    make_project(folder)
    os.chdir(folder)
    enter(os.environ)
    return Nights(change_retention(f"{{nights: {nights}, promoted: {promoted}, disk: null}}"))


def built_night(nights: Nights) -> tuple[str, str]:
    """Make, keep and prune one night; its decision, and what `relex prune` says."""
    wins = nights.count % 6 == 0
    nights.night(promoted=wins)
    return "promote-candidate" if wins else "keep-champion", prune(nights.params, yes=True)


def night(project: Project, number: int) -> tuple[str, str]:
    """Run one night; its decision, and what `relex prune` says after it."""
    project.change({"train.seed": number, "base.source.seed": number // 5, "problems.seed": number // 5})
    done = project.night()
    if done.returncode:
        raise SystemExit(f"night {number} ended with exit code {done.returncode}\n{done.stdout[-4000:]}")
    outcome = str(json.loads((project.folder / "metrics/decision.json").read_text())["outcome"])
    return outcome, project.run("relex", "prune").stdout


def disk(folder: Path, staying: str) -> Disk:
    """What the project holds now. staying: the page of `relex prune`."""
    lines = re.findall(r"^  (\S.*?)  +([\d.]+ [KMGT]?i?B)$", staying, re.MULTILINE)
    of_versions = sum(parse_size(size) for what, size in lines if what.startswith(_OF_VERSIONS))
    return Disk({place: bytes_of(folder / place) for place in PLACES}, of_versions)


def flat(disks: list[Disk], limit: int) -> tuple[bool, float]:
    """Whether the bytes stayed within TOLERANCE of those of the first night beyond the limit, and the largest ratio."""
    after = [disk.nights for disk in disks[limit:]]
    ratio = max(after) / after[0] if after else 1.0
    return ratio <= 1 + TOLERANCE, ratio


def versions(project: Project) -> list[str]:
    """The numbers of all registered versions."""
    code = (
        "from pathlib import Path\nfrom relex.params.load import load\nfrom relex.registry.store import versions\n"
        "from relex.registry.store.connection import connect\n"
        "print(*(v.number for v in versions.of_all_models(connect(load(Path('params.yaml'))))))\n"
    )
    return project.run(sys.executable, "-c", code).stdout.split("\n")[-2].split()


def faults_of_version(project: Project, number: str, *, serve: bool) -> list[str]:
    """What does not hold for a version: it loads and answers, is rebuilt bit for bit or says why not, is served."""
    faults, said = [], []
    got = project.folder / f"got-{number}"
    fetched = project.run("relex", "fetch", f"sort-digits/{number}", "--out", str(got))
    load = (
        "import sys\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "t, m = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "print(m.generate(**t('312=', return_tensors='pt'), max_new_tokens=2).shape)\n"
    )
    loaded = project.run(sys.executable, "-c", load, str(got))
    if fetched.returncode or loaded.returncode:
        faults.append(f"version {number} does not load:\n{fetched.stdout[-500:]}\n{loaded.stdout[-1500:]}")
    shutil.rmtree(got, ignore_errors=True)
    rebuilt = project.run("relex", "rebuild", "sort-digits", number)
    if rebuilt.returncode == 0 and "identical (" in rebuilt.stdout:
        said.append("rebuilt, identical")
    elif rebuilt.returncode == 2 and "retention let go" in rebuilt.stdout:
        said.append("not rebuilt: retention let go of its inputs")
    else:
        faults.append(f"version {number}: rebuild neither done nor refused with its reason:\n{rebuilt.stdout[-1500:]}")
    if serve:
        fault = _serve(project, number)
        faults += [fault] if fault else []
        said.append("served" if not fault else "NOT served")
    print(
        f"  version {number}: loads, {', '.join(said)}" if not faults else f"  version {number}: {faults}", flush=True
    )
    return faults


def faults_of_nights(project: Project, kept: int) -> list[str]:
    """What does not hold for the saved nights: as many as the limit, each whole in the cache, and DVC agrees."""
    code = (
        "import json\nfrom relex.retention import objects\n"
        "with objects.locked_project() as project:\n"
        "    nights, cache = objects.nights(project)[0], objects.cached(project)\n"
        "    print(json.dumps({n.name: len(n.objects - cache.keys()) for n in nights}))\n"
    )
    found = project.run(sys.executable, "-c", code)
    missing = json.loads(found.stdout.splitlines()[-1])
    faults = [f"{name} lacks {count} objects" for name, count in missing.items() if count]
    if len(missing) != kept:
        faults.append(f"{len(missing)} nights are kept, not {kept}")
    status = project.run("dvc", "status", "--quiet")
    if status.returncode:
        faults.append(f"dvc status: {status.stdout[-500:]}")
    return faults


def _serve(project: Project, number: str) -> str:
    """Start vLLM's server on a version and ask it the curl line that it prints; what went wrong."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = project.folder / f"serve-{number}.log"
    command = [sys.executable, "-m", "relex.cli", "serve", f"sort-digits/{number}", "--port", str(port)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=project.folder, env=project.environment, stdout=output, stderr=output, start_new_session=True
        )
    try:

        def printed() -> re.Match[str] | None:
            return re.search(r"^\s*(curl .*)$", log.read_text(errors="replace"), re.MULTILINE)

        wait_for(lambda: printed() is not None or process.poll() is not None, 400)
        line = printed()
        if line is None:
            return f"version {number} was not served: {log.read_text(errors='replace')[-1500:]}"
        answered = subprocess.run(shlex.split(line[1]), capture_output=True, text=True, check=False)
        return "" if '"choices"' in answered.stdout else f"version {number} does not answer: {answered.stdout[-500:]}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def main(arguments: list[str] | None = None) -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance.month",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nights", type=int, default=30, help="how many (default: 30)")
    parser.add_argument("--keep", type=int, default=10, help="retention.nights (default: 10)")
    parser.add_argument("--promoted", type=int, default=1, help="retention.promoted (default: 1)")
    parser.add_argument("--built", action="store_true", help="nights made by builders: no training, no evaluation")
    parser.add_argument("--no-serve", action="store_true", help="do not start vLLM's server on every version")
    parser.add_argument("--folder", type=Path, help="the project's folder, left there (default: one that is removed)")
    options = parser.parse_args(arguments)
    if options.nights <= options.keep:
        parser.error("a month is longer than what it keeps: --nights must exceed --keep")
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="month-")) / "project").absolute()
    try:
        return _run(folder, options)
    finally:
        if options.folder is None:
            shutil.rmtree(folder.parent)


def _run(folder: Path, options: argparse.Namespace) -> int:
    built = make_built(folder, options.keep, options.promoted) if options.built else None
    project = make(folder, options.keep, options.promoted) if built is None else Project(folder)
    disks: list[Disk] = []
    head = [f"{place:>11}" for place in (*PLACES, "total", "of versions", "nights")]
    print("night  seconds", *head, " decision", flush=True)
    for number in range(options.nights):
        begin = time.monotonic()
        outcome, page = night(project, number) if built is None else built_night(built)
        disks.append(disk(folder, page))
        last = disks[-1]
        sizes = (*last.places.values(), last.total, last.of_versions, last.nights)
        cells = [f"{show_bytes(size):>11}" for size in sizes]
        print(f"{number + 1:5d}  {time.monotonic() - begin:7.0f}", *cells, f" {outcome}", flush=True)
    holds, ratio = flat(disks, options.keep)
    print(f"\nafter night {options.keep + 1}: at most {ratio:.3f} of its bytes (allowed 1.100)", flush=True)
    faults = [] if holds else [f"the disk is not flat: {ratio:.3f}"]
    faults += faults_of_nights(project, options.keep)
    for number_of in versions(project):
        faults += faults_of_version(project, number_of, serve=not options.no_serve)
    print("\n".join(["", *(f"FAULT {fault}" for fault in faults)]) if faults else "\nit holds", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
