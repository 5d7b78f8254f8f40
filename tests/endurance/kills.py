"""Nights in miniature of which random processes are killed with -9 at random moments, until each night has ended.

    python -m tests.endurance.kills --count 100 --seed 0

Two nights alternate: a project's first, and the one after it, which has a champion to compete with. Each is run once
undisturbed. Then one of its processes after the other is killed, the kind drawn first and the process of that kind
second; whenever that has ended the night, nothing of it may be left within 5 seconds, and it is started again, until it
ends well. Then it must have left what the undisturbed one has: the same artifacts, dvc.lock, history, versions, tags,
runs and models in the registry (but for ids, moments and seconds), no process and no temporary file. After the last
kill the night under way is let end, and compared like the others. Exit code 0 if all of this held.

A hundred kills take about an hour on two idle cores.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.builders.project import Project
from tests.endurance.miniature import MINIATURE, NEXT, Nights
from tests.endurance.outcome import differing, files_left, outcome, temporaries, unlike
from tests.endurance.processes import adopt_orphans, by_kind, orphans

ENDED_SECONDS = 5.0  # within which nothing may be left of a night that has ended
_SECONDS = 90.0  # of an undisturbed night that was not timed
_KILLS_PER_NIGHT = 12  # of the undisturbed one's seconds: a night must get somewhere between two kills
# Most of a miniature night's starts would be killed before its first stage: of so many the first kill comes as early as
# it likes, of the others once the flow has begun.
_IN_ITS_START, _BEGUN = 0.25, b"Beginning flow run"
STUCK_SECONDS = 900.0  # a night that neither ends nor is killed for so long hangs


@dataclass
class Faults:
    """What must stay empty, and what was killed."""

    kills: Counter[str] = field(default_factory=Counter)
    orphans: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        """Whether all held."""
        return not (self.orphans or self.leftovers or self.differing or self.failed)


@dataclass(frozen=True)
class Undisturbed:
    """What one night leaves when it is left alone."""

    outcome: dict[str, Any]
    files: set[str]
    seconds: float


class Endurance:
    """The kills that are left, and what was found."""

    def __init__(self, count: int, seed: int, mean: float | None):
        self.left = count
        self.count = count
        self.mean = mean
        self.draw = random.Random(seed)
        self.faults = Faults()

    def undisturbed(self, nights: Nights, name: str) -> Undisturbed:
        """Run the night of that name once, and remember the folder under `name`."""
        timed = nights.folder / f"{name}.seconds"
        if nights.has(name):
            nights.put_back(name)
            return Undisturbed(outcome(nights.project), files_left(nights.project), float(timed.read_text()))
        begun = time.monotonic()
        log = nights.folder / f"{name}.log"
        if nights.start(log).wait():
            raise SystemExit(f"the undisturbed night failed; the end of {log}:\n{log.read_text()[-3000:]}")
        seconds = time.monotonic() - begun
        print(f"{name}: undisturbed in {seconds:.0f} s", flush=True)
        timed.write_text(str(seconds))
        nights.keep(name)
        self._check_orphans(f"{name}, undisturbed")
        return Undisturbed(outcome(nights.project), files_left(nights.project), seconds)

    def disturbed(self, nights: Nights, name: str, known: Undisturbed) -> None:
        """Kill processes of the night until it has ended well all the same; compare."""
        starts, before = 0, nights.ended()
        while True:
            starts += 1
            log = nights.folder / f"{name}-disturbed.log"
            if self._run(nights, log, name, known.seconds) == 0:
                break
            if nights.ended() > before:
                # The kill met what comes after the night's line in the ledger: another start is another night.
                nights.tidy()
                break
            if self.left <= 0 and starts > 3 and self._quiet_failures > 2:
                self.faults.failed.append(f"{name}: fails when left alone: {log.read_text()[-1500:]}")
                return
        ours = outcome(nights.project)
        differ = differing(ours, known.outcome)
        for entry in differ:
            print(
                f"  {name}: differs: {entry}",
                *unlike(ours.get(entry), known.outcome.get(entry)),
                sep="\n    ",
                flush=True,
            )
        self.faults.differing += [f"{name}: {entry}" for entry in differ]
        left = sorted((files_left(nights.project) - known.files) | temporaries(nights.temporary))
        for entry in left:
            print(f"  {name}: left: {entry}", flush=True)
        self.faults.leftovers += [f"{name}: {entry}" for entry in left]
        print(f"{name}: ended after {starts} starts; {len(differ)} differing, {len(left)} left", flush=True)

    _quiet_failures = 0

    def _run(self, nights: Nights, log: Path, name: str, seconds: float) -> int:
        """One start of the night, disturbed while kills are left; its exit code. seconds: of the undisturbed one."""
        top, mean = nights.start(log), self.mean or seconds / _KILLS_PER_NIGHT
        killed: list[str] = []
        try:
            if self.left > 0 and self.draw.random() > _IN_ITS_START:
                while top.poll() is None and _BEGUN not in log.read_bytes():
                    time.sleep(0.1)
            while self.left > 0:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    top.wait(self.draw.expovariate(1 / mean))
                if top.poll() is not None:
                    break
                killed.append(self._kill(name))
            code = top.wait(STUCK_SECONDS)
        except subprocess.TimeoutExpired:
            self.faults.failed.append(f"{name}: hangs after {', '.join(killed)}: {log.read_text()[-1500:]}")
            top.kill()
            code = top.wait()
        self._quiet_failures = self._quiet_failures + 1 if code and not killed else 0
        if self._quiet_failures:
            print(f"  {name}: failed undisturbed, after earlier kills:\n{log.read_text()[-1500:]}", flush=True)
        self._check_orphans(f"{name}, after {killed[-1] if killed else 'no kill'}")
        return code

    def _kill(self, name: str) -> str:
        """Kill one process, drawn by kind; what it was."""
        while True:
            kinds = by_kind()
            kind = self.draw.choice(sorted(kinds))
            process = self.draw.choice(sorted(kinds[kind], key=lambda one: one.pid))
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                break
        self.left -= 1
        self.faults.kills[kind] += 1
        doing = sorted(one.removeprefix("relex ") for one in kinds if one.startswith("relex "))
        print(f"{self.count - self.left}/{self.count} {name} [{', '.join(doing)}]: killed {kind}", flush=True)
        return kind

    def _check_orphans(self, when: str) -> None:
        for line in orphans(ENDED_SECONDS):
            print(f"  orphan ({when}): {line}", flush=True)
            self.faults.orphans.append(f"{when}: {line}")

    def end(self) -> int:
        """Print the table; the exit code."""
        print(self.summary(), flush=True)
        return 0 if self.faults.none else 1

    def summary(self) -> str:
        """The table at the end."""
        faults = self.faults
        lines = ["", f"{'kind of process':<24}kills"]
        lines += [f"{kind:<24}{number}" for kind, number in sorted(faults.kills.items())]
        lines += [f"{'all':<24}{faults.kills.total()}", ""]
        for what in ("orphans", "leftovers", "differing", "failed"):
            found: list[str] = getattr(faults, what)
            lines += [f"{what:<24}{len(found)}", *(f"    {line}" for line in found[:20])]
        return "\n".join(lines)


def main() -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance.kills",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=100, help="how many processes are killed (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of the choice (default: 0)")
    parser.add_argument(
        "--mean",
        type=float,
        help="seconds from one kill to the next, in the mean of an exponential "
        f"distribution (default: a {_KILLS_PER_NIGHT}th of what the undisturbed night takes)",
    )
    parser.add_argument(
        "--vllm-every",
        type=int,
        default=6,
        metavar="N",
        help="each Nth pair of nights generates with "
        "vLLM, the others with transformers, which starts quicker (default: 6; 0: none)",
    )
    parser.add_argument("--nights", choices=["both", "first", "next"], default="both", help="which are disturbed")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the nights run, and where undisturbed ones of an earlier call "
        "are used again (default: a temporary folder, removed)",
    )
    parser.add_argument(
        "--undisturbed",
        type=Path,
        metavar="PROJECT",
        help="a project after a first night that nothing disturbed: first nights with its params.yaml are killed, and "
        "compared with it",
    )
    options = parser.parse_args()
    adopt_orphans()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-")))
        return run(folder.resolve(), options)


def run(folder: Path, options: argparse.Namespace) -> int:
    """Pairs of nights until all kills are spent."""
    endurance = Endurance(options.count, options.seed, options.mean)
    if options.undisturbed:
        project = Project(options.undisturbed.resolve())
        known = Undisturbed(outcome(project), files_left(project), _SECONDS)
        nights = Nights(folder, project.folder / "params.yaml")
        while endurance.left > 0:
            nights.put_back("nothing")
            endurance.disturbed(nights, "first", known)
        return endurance.end()
    ready: dict[str, tuple[Nights, Undisturbed, Undisturbed | None]] = {}
    pair = 0
    while endurance.left > 0:
        pair += 1
        backend = "vllm" if options.vllm_every and pair % options.vllm_every == 0 else "transformers"
        if backend not in ready:
            nights = Nights(folder / backend, {**MINIATURE, "evaluate.backend": backend})
            first = endurance.undisturbed(nights, "first")
            after = None
            if options.nights != "first":
                nights.change(NEXT)
                after = endurance.undisturbed(nights, "next")
            ready[backend] = nights, first, after
        nights, first, after = ready[backend]
        if options.nights != "next":
            nights.put_back("nothing")
            endurance.disturbed(nights, "first", first)
        if after is not None and endurance.left > 0:
            nights.put_back("first")
            nights.change(NEXT)
            endurance.disturbed(nights, "next", after)
    return endurance.end()


if __name__ == "__main__":
    sys.exit(main())
