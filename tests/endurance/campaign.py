"""A campaign in miniature, every second night of which is killed once with -9 at a random moment and started again.

    python -m tests.endurance.campaign --nights 30 --seed 0

The same nights run twice in one folder: first undisturbed, then with the kills. After each night of the second campaign
the folder must hold what it held after that night of the first: the same artifacts, dvc.lock, ledger, history,
versions, tags, runs and models in the registry (but for ids, moments and seconds), no process and no temporary file. A
night begins anew, goes on, or is refused, as the policy says. At the end the bytes of the folder are held against those
of the undisturbed one, from which they may differ by a tenth. Exit code 0 if all of this held.

A night took two to three minutes on two cores that were busy otherwise, so thirty take hours.
--folder keeps what is done of the undisturbed campaign for another call.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from relex.core.sizes import show_bytes
from relex.core.workspace import LEDGER
from tests.endurance.kills import Endurance, Undisturbed
from tests.endurance.miniature import MINIATURE, Nights
from tests.endurance.processes import adopt_orphans

_ALLOWED = 0.1  # of the disk: how far the disturbed campaign's may be from the other's
# Nights whose gate lets nothing pass for a while would end in a plateau, and nothing would be tried any more.
_CHANGES = {**MINIATURE, "evaluate.backend": "transformers", "nights.patience": 1000}


def main() -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance.campaign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nights", type=int, default=30, help="of each campaign (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of what is killed (default: 0)")
    parser.add_argument(
        "--folder", type=Path, help="where the nights run, left there (default: a temporary one, removed)"
    )
    options = parser.parse_args()
    adopt_orphans()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        return run(folder.resolve(), options.nights, options.seed)


def run(folder: Path, count: int, seed: int) -> int:
    """Both campaigns, of `count` nights each."""
    endurance = Endurance(0, seed, None)
    nights = Nights(folder, _CHANGES)
    known = [_undisturbed(endurance, nights, number) for number in range(1, count + 1)]
    held = disk(nights)
    nights.put_back("nothing")
    for number, expected in enumerate(known, 1):
        endurance.left = endurance.count = int(number % 2 == 0)
        endurance.disturbed(nights, f"night {number}", expected)
    ours = disk(nights)
    print(f"disk: {show_bytes(ours)} after {count} nights, undisturbed {show_bytes(held)}", flush=True)
    if abs(ours - held) > _ALLOWED * held:
        endurance.faults.leftovers.append(f"disk: {show_bytes(ours)} beside {show_bytes(held)}")
    return endurance.end()


def _undisturbed(endurance: Endurance, nights: Nights, number: int) -> Undisturbed:
    """The next night of the campaign, left alone."""
    found = endurance.undisturbed(nights, f"night-{number}")
    print(f"night {number}: {told(nights)}", flush=True)
    return found


def told(nights: Nights) -> str:
    """What the ledger says of the last hop."""
    rows = [json.loads(line) for line in (nights.project.folder / LEDGER).read_text().splitlines()]
    last = [row for row in rows if row["kind"] == "hop"][-1]
    return f"{last['mode']}, {'accepted' if last['accepted'] else 'refused'}, {last['total']['steps']} steps in all"


def disk(nights: Nights) -> int:
    """Bytes of the project's folder, those that share their blocks counted once."""
    seen: dict[tuple[int, int], int] = {}
    for path in nights.project.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            facts = path.stat()
            seen[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(seen.values())


if __name__ == "__main__":
    sys.exit(main())
