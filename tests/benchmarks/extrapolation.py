"""How fast, and in how much memory, a window is extrapolated: ratios to one plain sequential read of its bytes.

    python -m tests.benchmarks.extrapolation [--shape tiny] [--folder DIR] [--steps 40] [--repeats 3] [--times]

The work: a 134 M-parameter Llama-shaped model, 40 full bfloat16 checkpoints imported by reference, one target; then
the same window as our own float16 deltas. Every call stands beside two sequential reads of the same
files on one thread, before and after it: `in pieces` into one buffer of 1 MiB, whose bytes never leave the core's cache
(the fastest read there is), and `into memory`, every file whole into one buffer that is used again. What a program
pays that reads every file into an array of its own (numpy.fromfile) is printed once. The repeat with the best ratio is
shown. Processor seconds stand beside wall seconds, because other work on the machine stretches two threads more than
one. Needs 24 GB of disk, and memory to hold the window in the page cache. Peaks of memory are taken with the files in
the page cache and, because rows are kept between the two passes only then, with the files on disk alone.

`two threads` says how much faster two threads multiply and add than one: where the two cores are threads of one core
it is near 1, and the products alone (T (T + 1) / 2 of them a column, 220 GFlop here) then take longer than several
reads in pieces.

What profiling found (2 cores with AVX-512, 10.7 GB in the page cache; processor seconds unless said otherwise):
- Gram matrix by NumPy's syrk 4.3, by torch.mm in full 5.3; by the tiles of kernels_gram.py 1.15. The libraries pack
  both operands, which costs as much as the products when T is 40. Tiles of 5 x 5, 6 x 4 and 8 x 3 rows were no better.
- The tiles run at the processor's peak for float32. Differences of neighbouring bfloat16 checkpoints are bfloat16
  numbers but for columns near zero (3.7 % here), and are multiplied at twice that rate: 0.6. Decoding them takes 0.37
  where rows of float32 take 0.5; setting the other columns aside takes 0.3. First pass 2.3 -> 1.85.
- One sum decodes on the way to float64 (no scratch): second pass 1.3 -> 1.1. Two bfloat16 columns are one integer: a
  shift gives one, a mask the other, and nothing is spread out; theta_0 is taken off the sum, not off every row. Second
  pass 1.36 -> 1.03, differences 0.37 -> 0.25.
- Targets of rank 1 lie along one direction, so they are one sum: what a further one costs is writing it. Several
  directions share what is decoded once, 2048 columns at a time: with 512 the calls alone cost 0.5.
- Blocks of a million columns, read 4 MiB at a time, take 7 % (wall) less than of a quarter of it, read 3 MiB at a time:
  fewer hands to change. Sums are handed on a quarter of a million at a time, or five targets would fill the third-level
  cache: with the next line 0.1 (wall) of a call with five.
- Two threads that write to the same file wait for each other: each begins with another target's.
- Pages for what is written cost 0.02 a target where they were in use shortly before, 0.1 to 0.4 where this virtual
  machine must ask its host for them. Of a further target that is most, and why its share varies.
- float16 by the processor's own conversion: a sixth less for a pass of sums than by integer operations.
- Tensors overlap: one after another, the threads waited 0.3 s (wall) for the last block of each and for the weights.
- BLAS's threads wait in a loop after every small eigenvalue problem: 0.2. Rounding by torch started threads as well.
  Python's cyclic collector went over all that imports made: 0.15, hence gc.freeze() in relex/cli/stages.py.
- Buffers that did not begin on a cache line made the tiles a fifth slower, by luck of the allocator: now they do.
- Reading: mapping the files costs 2.2 in page faults alone (this virtual machine takes 2.5 us for one, and a fault
  brings 12 KB). Adding up all bytes took 1.3 from files mapped populated, 0.8 by pread to a small buffer. So rows are
  read, not mapped (a mapped file that shrinks would end the process, too). Of all samples of repeated calls, each after
  one read of the files, 32 % lay in this copy.
- Pieces: 64 to 128 KB a row and call; with 16 KB a tenth more, with 1 KB more than the products.
- Fresh memory costs the same page faults, so buffers are kept per thread and used again.
- Decoding bfloat16, base and straight path in one loop, 2048 columns a call: 0.4; 1024 a call 0.6; as three passes of
  torch operations 1.1.
- Slices of rows in Numba: a loop over a strided array or from a signed start became gathers, ten times slower.
- Keeping a tensor's rows for the second pass costs 0.2 s (wall) more than reading them again while the files are in
  the page cache: then they are not kept.
- Products of what is left beside the straight path to the last checkpoint, in float32, keep singular values that
  float32 products of the deltas themselves would lose; float64 products would cost 1.6 more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.windows import link_checkpoints, make_base, make_checkpoints

# What a process does once is done before the clock starts: imports, Numba's deferred ones among them, and gc.freeze()
# as in relex/cli/stages.py.
_CALL = """
import gc, json, sys, time
from pathlib import Path
from numba.core.registry import cpu_target
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.window.options import Options
from relex.window.request import Request
cpu_target.target_context.refresh()
gc.freeze()
trajectory, base, out, targets, memory, rank = sys.argv[1:]
request = Request(tuple(json.loads(targets)), options=Options(rank=int(rank), device="cpu", memory=memory))
start, used = time.perf_counter(), time.process_time()
extrapolate_folder(Path(trajectory), Path(base), request, Path(out))
print(json.dumps({"seconds": time.perf_counter() - start, "processor": time.process_time() - used}))
"""
BUDGETS = ("256MiB", "1GiB")
ALLOWANCE = 400 << 20


def read_all(files: list[Path], *, whole: bool = False) -> float:
    """Seconds of one plain sequential read of all files, in pieces of 1 MiB or each `whole`, into a reused buffer."""
    size = max(path.stat().st_size for path in files) if whole else 1 << 20
    buffer = memoryview(bytearray(size))
    buffer[::4096] = bytes(len(buffer[::4096]))  # every page is there before the clock starts
    start = time.perf_counter()
    for path in files:
        with open(path, "rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass
    return time.perf_counter() - start


def read_fresh(files: list[Path]) -> float:
    """Seconds of one plain sequential read of all files, each into a fresh array."""
    start = time.perf_counter()
    for path in files:
        np.fromfile(path, dtype=np.uint8)
    return time.perf_counter() - start


def evict(files: list[Path]) -> None:
    """Take the files out of the page cache."""
    for path in files:
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(command: list[str]) -> tuple[dict[str, float], int]:
    """The JSON line that a Python program prints last, and the peak of its anonymous memory in bytes."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            break
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]) << 10)
        time.sleep(0.004)
    text = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"failed with {process.returncode}: {command[:3]}")
    return (json.loads(text.splitlines()[-1]) if text.strip() else {}), peak


def thread_gain() -> float:
    """How much faster two threads multiply small matrices (in their caches) than one."""

    def work() -> None:
        for _ in range(4000):
            np.dot(matrix, matrix, out=np.empty_like(matrix))

    matrix = np.ones((192, 192), np.float32)
    seconds = []
    with threadpool_limits(1):
        for count in (1, 2):
            threads = [threading.Thread(target=work) for _ in range(count)]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds.append((time.perf_counter() - start) / count)
    return seconds[0] / seconds[1]


class Row(NamedTuple):
    """One measurement: wall and processor seconds of a call, and of one sequential read beside it."""

    ratio: float
    seconds: float
    processor: float
    read: float
    into_memory: float


class Bench:
    """One window: its files, and the calls that are timed on it."""

    def __init__(self, work: Path, base: Path, trajectory: Path, files: list[Path], repeats: int):
        self.work, self.base, self.trajectory, self.files, self.repeats = work, base, trajectory, files, repeats
        self.last = json.loads((trajectory / "manifest.json").read_text(encoding="utf-8"))["steps"][-1]["step"]

    def call(self, targets: int, memory: str, *, rank: int = 1, keep_gram: bool = False) -> tuple[float, float, int]:
        """Seconds, processor seconds and peak anonymous bytes of one call with so many targets."""
        if not keep_gram:
            (self.trajectory / "cache" / "gram.safetensors").unlink(missing_ok=True)
        out = self.work / "out"
        steps = json.dumps([self.last * (at + 2) for at in range(targets)])
        found, peak = measured(["-c", _CALL, str(self.trajectory), str(self.base), str(out), steps, memory, str(rank)])
        shutil.rmtree(out)
        return found["seconds"], found["processor"], peak

    def best(self, action: Callable[[], tuple[float, float]]) -> Row:
        """The repeat with the least seconds per second of reading."""
        rows = []
        for _ in range(self.repeats):
            read, into_memory = read_all(self.files), read_all(self.files, whole=True)
            seconds, processor = action()
            read = min(read, read_all(self.files))
            into_memory = min(into_memory, read_all(self.files, whole=True))
            rows.append(Row(seconds / read, seconds, processor, read, into_memory))
        return min(rows)


def show(label: str, row: Row, bound: str = "") -> None:
    print(
        f"| {label} | {row.seconds:.2f} | {row.processor:.2f} | {row.read:.2f} | {row.into_memory:.2f} "
        f"| {row.ratio:.2f} | {row.seconds / row.into_memory:.2f} | {bound} |",
        flush=True,
    )


HEAD = (
    "\n| | seconds | processor | read in pieces | read into memory | ratio to pieces | to memory | bound |"
    "\n|---|---|---|---|---|---|---|---|"
)


def run(shape: str, work: Path, count: int, repeats: int, *, times_only: bool) -> None:
    """Make the windows and print the tables."""
    base = make_base(work / "base", shape)
    source = make_checkpoints(work / "source", base, range(1, count + 1))
    files = sorted(source.rglob("*.safetensors"))
    total = sum(path.stat().st_size for path in files)
    start = time.perf_counter()
    relex = [sys.executable, "-m", "relex.cli"]
    subprocess.run([*relex, "import", str(source), "--base", str(base), "--out", str(work / "ours")], check=True)
    print(f"{shape}: {count} checkpoints, {total / 1e9:.1f} GB; import {time.perf_counter() - start:.1f} s", flush=True)
    print(f"two threads multiply and add {thread_gain():.2f} times as fast as one")
    print(f"read into fresh arrays {min(read_fresh(files) for _ in range(repeats)):.2f} s")
    print(HEAD)
    window = Bench(work, base, work / "ours", files, repeats)
    window.call(1, "1GiB")  # compiles the kernels, once per installation
    one = window.best(lambda: window.call(1, "1GiB")[:2])
    show("by reference, one target", one, "4.00")
    for rank in (1, 3):
        more = window.best(lambda rank=rank: window.call(5, "1GiB", rank=rank)[:2])
        show(f"five targets of rank {rank}", more)
        each = 100 * (more.seconds / one.seconds - 1) / 4, 100 * (more.processor / one.processor - 1) / 4
        print(f"| each further target | +{each[0]:.1f} % | +{each[1]:.1f} % | | | | | {'+15 %' if rank == 1 else ''} |")
    show("one target, Gram matrices known", window.best(lambda: window.call(1, "1GiB", keep_gram=True)[:2]))
    if not times_only:
        baseline_and_peaks(work, base, source, window, relex, count)
    own(work, base, source, repeats)


def baseline_and_peaks(work: Path, base: Path, source: Path, window: Bench, relex: list[str], count: int) -> None:
    """Print what plain NumPy takes, the size of the Gram matrices, and the peaks of memory."""
    files = window.files
    plain = ["-m", "tests.benchmarks.numpy_baseline", str(source), str(base), str(2 * count), str(work / "plain")]

    def numpy_baseline() -> tuple[float, float]:
        found, peak = measured(plain)
        shutil.rmtree(work / "plain")
        peaks.append(peak)
        return found["seconds"], found["processor"]

    window.repeats, peaks = 1, list[int]()
    show("plain NumPy", window.best(numpy_baseline))
    print(f"| its peak anonymous memory | {peaks[0] >> 20} MiB | | | | | | |")
    gram = (work / "ours" / "cache" / "gram.safetensors").stat().st_size
    print(f"| Gram matrices on disk | {gram / (1 << 20):.2f} MiB | | | | | | 1 MiB |")
    print("\n| checkpoints | budget | files | peak anonymous memory | bound |\n|---|---|---|---|---|")
    for number in (count // 2, count, 2 * count):
        linked = link_checkpoints(source, work / f"linked{number}", number)
        target = work / f"window{number}"
        subprocess.run([*relex, "import", str(linked), "--base", str(base), "--out", str(target)], check=True)
        part = Bench(work, base, target, files, 1)
        for budget in BUDGETS:
            bound = (int(budget[:-3]) << (20 if budget.endswith("MiB") else 30)) + ALLOWANCE
            for place in ("in the page cache", "on disk"):
                if place == "on disk":
                    evict(files)
                peak = part.call(1, budget)[2]
                print(f"| {number} | {budget} | {place} | {peak >> 20} MiB | {bound >> 20} MiB |", flush=True)


def own(work: Path, base: Path, source: Path, repeats: int) -> None:
    """The same window as our own deltas; the full checkpoints go first, so that the page cache holds the deltas."""
    deltas = work / "deltas"
    program = (
        "import sys; from pathlib import Path; from relex.window.importing import import_checkpoints as f; "
        "f(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), copy=True, codec='float16')"
    )
    subprocess.run([sys.executable, "-c", program, str(source), str(base), str(deltas)], check=True)
    shutil.rmtree(source)
    for path in work.glob("linked*"):
        shutil.rmtree(path)
    files = sorted((deltas / "steps").iterdir())
    read_all(files)
    print(HEAD)
    window = Bench(work, base, deltas, files, repeats)
    show("own float16 deltas, one target", window.best(lambda: window.call(1, "1GiB")[:2]), "4.00")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="135M", choices=("135M", "tiny"))
    parser.add_argument("--folder", type=Path, help="where the windows are made; default: a temporary folder")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--times", action="store_true", help="without plain NumPy and the peaks of memory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relex-bench-", dir=given.folder) as work:
        run(given.shape, Path(work), given.steps, given.repeats, times_only=given.times)


if __name__ == "__main__":
    main()
