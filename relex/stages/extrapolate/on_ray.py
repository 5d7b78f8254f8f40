"""Extrapolation over several processes, accelerators or hosts: groups of tensors as tasks on Ray.

Tensors are independent, so a task needs nothing but names: it opens the window itself and writes its tensors to
their places in the files that the driver has made. Window, base and output must lie on storage that all hosts share.
The bytes are those of a single process (stream.py says why).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from relex.checkpoints.writer import CheckpointWriter
from relex.core.errors import InputError, RelexError
from relex.forecast.subspace import Array
from relex.stages.extrapolate.combine import write_sums
from relex.trajectory.reader import Trajectory
from relex.window.device import arithmetic_for, device_name
from relex.window.request import Request
from relex.window.rows import Window
from relex.window.stream import Stream

_PER_WORKER = 4  # groups: enough to even out their sizes


def write_sums_on_ray(
    address: str,
    window: Window,
    base: Path,
    request: Request,
    writers: Sequence[CheckpointWriter],
    known: int,
    grams: Mapping[str, Array],
) -> dict[str, Array]:
    """combine.write_sums by Ray tasks. address: `local` for a Ray of this call's own, or a cluster's address.

    InputError when Ray is not installed or not there.
    """
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed", where="--ray", todo="pip install 'relex[ray]'") from None
    started = not ray.is_initialized()
    try:
        if started:
            ray.init(
                address=None if address == "local" else address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError("no Ray cluster there", where=f"--ray {address}", found=str(error).splitlines()[0]) from error
    try:
        kind = "GPU" if device_name(request.options.device) == "cuda" else "CPU"
        workers = max(1, int(ray.cluster_resources().get(kind, 1)))
        groups = balanced(window, workers * _PER_WORKER)
        task = ray.remote(num_cpus=1, num_gpus=1 if kind == "GPU" else 0)(_work)
        folders = [str(writer.folder.resolve()) for writer in writers]
        places = (str(window.trajectory.folder.resolve()), str(Path(base).resolve()))
        waiting = {
            task.remote(
                places,
                folders,
                request,
                names,
                known,
                {name: grams[name] for name in names if name in grams},
                request.options.budget // workers,
            ): names
            for names in groups
        }
        found: dict[str, Array] = {}
        with tqdm(total=len(groups), desc="extrapolate on Ray", unit="group", disable=None) as bar:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                try:
                    found.update(ray.get(done))
                except ray.exceptions.RayTaskError as error:
                    # What a task raises on purpose is this program's own error; the rest stays Ray's.
                    raise error.cause if isinstance(error.cause, RelexError) else error from None
                names = waiting.pop(done)
                for writer in writers:
                    writer.accept([*names, *(head for head, twin in window.twins.items() if twin in names)])
                bar.update(1)
        return {name: found[name] for name in window.names}
    finally:
        if started:
            ray.shutdown()


def balanced(window: Window, count: int) -> list[list[str]]:
    """The base's tensors in at most `count` groups of like size in bytes, the largest first."""
    specs = window.base.specs
    groups: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    names = [name for name in window.base.names if name not in window.twins]
    for name in sorted(names, key=lambda name: (-specs[name].nbytes, name)):
        least = sizes.index(min(sizes))
        groups[least].append(name)
        sizes[least] += specs[name].nbytes + 1
    return [group for group in groups if group]


def _work(
    places: tuple[str, str],
    folders: list[str],
    request: Request,
    names: list[str],
    known: int,
    grams: dict[str, Array],
    budget: int,
) -> dict[str, Array]:
    """One task: G of its tensors, and their sums written."""
    trajectory, base = (Path(place) for place in places)
    with ExitStack() as stack:
        window = stack.enter_context(Window(Trajectory(trajectory), base))
        joined = [stack.enter_context(CheckpointWriter(Path(folder), window.base, join=True)) for folder in folders]
        arithmetic = arithmetic_for(request.options.device)
        threads = 1 if device_name(request.options.device) == "cpu" else 0
        stream = stack.enter_context(Stream(window, budget, arithmetic, targets=len(folders), threads=threads))
        return write_sums(
            stream, lambda name, gram: request.directed(name, gram, window.steps), joined, known, grams, names
        )
