"""`relex doctor --gpus 8x80GiB`: what a night takes on GPUs that may not be there, from params.yaml alone."""

from __future__ import annotations

from pathlib import Path

from relex.core.errors import InputError
from relex.core.sizes import show_bytes
from relex.core.topology import Topology
from relex.params.ledger import Line, Machine, Shape, ledger, too_large
from relex.params.load import Params, load
from relex.params.shapes import shape_of
from relex.stages.problems.params import Addition, Problems, SortDigits
from relex.stages.train.params import Imported

_UNKNOWN = 512  # tokens of a prompt, where nothing says how long they are
_CHAT = 64  # that a chat template puts around it


def examine(path: Path, gpus: str, root: Path = Path()) -> tuple[str, list[InputError]]:
    """(a page, a line for each phase and device; what does not fit). InputErrors when the parameters are bad."""
    params = load(path)
    try:
        machine = Machine.parse(gpus)
    except ValueError as error:
        raise InputError(str(error), where="--gpus") from None
    shape = shape_of(params.base, root)
    if shape is None:
        raise InputError(
            "the base's shape is not known here",
            where=f"{path}: base.source",
            todo="let the Hugging Face cache hold its config.json (hf download REPO config.json)",
        )
    lines = _lines(params, shape, machine, root)
    page = [f"{path} on {gpus}, {shape.parameters / 1e9:.2f} billion parameters; counted, not measured"]
    page += [
        f"{line.device:<5}{line.phase:<26}{show_bytes(line.total):>10}   "
        + ", ".join(f"{name} {show_bytes(size)}" for name, size in line.parts.items() if size)
        for line in lines
    ]
    faults = _faults(lines, machine, None, f"{path} on {gpus}")
    engines = params.evaluate.engines * params.evaluate.tensor_parallel
    if engines < machine.gpus:
        page.append(f"evaluation uses {engines} of {machine.gpus} GPUs: raise evaluate.engines")
    return "\n".join(page), faults


def faults_here(params: Params, root: Path, found: Topology, host_bytes: int) -> list[InputError]:
    """What of a night does not fit this machine; nothing where it has no GPU, or the base's shape is not known."""
    shape = shape_of(params.base, root)
    if not found.gpus or shape is None:
        return []
    machine = Machine(len(found.gpus), min(gpu.memory for gpu in found.gpus))
    return _faults(_lines(params, shape, machine, root), machine, host_bytes, "this machine")


def _lines(params: Params, shape: Shape, machine: Machine, root: Path) -> list[Line]:
    processes, sharded = _processes(params, machine, root)
    return ledger(params, shape, machine, processes=processes, sharded=sharded, prompt=longest_prompt(params.problems))


def longest_prompt(problems: Problems) -> int:
    """Tokens of the longest prompt, as far as the section says: a character is one at most. Else 512."""
    source = problems.source
    if isinstance(source, SortDigits):
        longest = max(source.lengths) + 1
    elif isinstance(source, Addition):
        longest = len(source.template) + 2 * len(str(source.numbers[1]))
    else:
        longest = getattr(source, "longest", None) or _UNKNOWN
    return min(longest, _UNKNOWN) + (_CHAT + len(problems.system or "") if problems.chat else 0)


def _faults(lines: list[Line], machine: Machine, host_bytes: int | None, where: str) -> list[InputError]:
    limits = {"GPU": machine.gpu_bytes, "host": host_bytes}
    return [
        InputError(
            f"{line.phase} does not fit",
            where=where,
            expected=f"at most {show_bytes(limits[line.device] or 0)} of {line.device} memory",
            found=show_bytes(line.total),
            todo=line.todo,
        )
        for line in too_large(lines, machine, host_bytes)
    ]


def _processes(params: Params, machine: Machine, root: Path) -> tuple[int, bool]:
    """How many processes train, one a GPU, and whether each holds a part of the weights."""
    if isinstance(params.train, Imported) or params.train.accelerate is None:
        return 1, False
    from accelerate.utils import DistributedType

    from relex.stages.train.accelerate_file import read

    found = read(root / params.train.accelerate)
    sharded = found.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
    return min(machine.gpus, found.num_processes), bool(sharded)
