"""What must be true before a night starts: parameters, problems, base, write access, disk; all faults in one look."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from relex.core.errors import InputError
from relex.core.sizes import show_bytes
from relex.core.topology import has_cuda, topology
from relex.core.workspace import METRICS, STATE, TIMINGS
from relex.params.disk import disk_need
from relex.params.load import Params, check
from relex.params.memory import faults_here
from relex.params.proof_ahead import too_small
from relex.rewards.confined import check_available
from relex.stages.base.package import gguf_file
from relex.stages.base.params import Base, FolderBase, PackageBase
from relex.stages.base.stage import check_checkpoint
from relex.stages.problems.params import FileProblems, Problems, files_of
from relex.stages.problems.rows import check_columns
from relex.stages.train.params import AnyTrain, Imported, Train


def faults(path: Path, root: Path | None = None) -> tuple[Params | None, list[InputError]]:
    """The parameters (None when they are bad) and every fault of parameters and machine together.

    root: the project, where it is not the parameter file's own folder.
    """
    sections, errors = check(path)
    params = None if errors else Params(**sections)
    root = (Path(path).parent if root is None else root).resolve()
    errors += _unwritable(root)
    base, train, extrapolate = (sections.get(name) for name in ("base", "train", "extrapolate"))
    problems, evaluate = sections.get("problems"), sections.get("evaluate")
    if problems:
        errors += _problem_files(problems, root)
    if problems and train and extrapolate and evaluate:
        errors += too_small(problems, train, extrapolate, evaluate)
    errors += _training(train, root) if train else []
    errors += _unconfined()
    if params is not None and not errors:
        errors += faults_here(params, root, topology(), psutil.virtual_memory().total)
    missing = _missing_base(base, root) if base else []
    errors += missing
    if base and train and extrapolate and not missing:
        need, free = disk_need(base, train, extrapolate, root), shutil.disk_usage(root).free
        if need is not None and need.total > free:
            errors.append(
                InputError(
                    "too little disk",
                    where=root,
                    expected=f"{show_bytes(need.total)} free",
                    found=show_bytes(free),
                    todo="free room, or ask for fewer targets, a shorter window or a smaller codec",
                )
            )
    return params, errors


def _training(train: AnyTrain, root: Path) -> list[InputError]:
    if isinstance(train, Train):
        return [*_without_gpu(train), *_processes(train, root)]
    return _no_run(train, root)


def _no_run(train: Imported, root: Path) -> list[InputError]:
    if (root / train.run).is_dir():
        return []
    expected = "the folder that the other trainer writes its checkpoints to"
    return [InputError("no such folder", where=f"train.run: {root / train.run}", expected=expected)]


def _without_gpu(train: Train) -> list[InputError]:
    wants = {"train.bf16: true": train.bf16, "train.generation.backend: vllm": train.generation.backend == "vllm"}
    if not any(wants.values()):
        return []
    if has_cuda():
        return []
    return [InputError("needs a CUDA device", where=where, found="none") for where, wanted in wants.items() if wanted]


def _processes(train: Train, root: Path) -> list[InputError]:
    """What is wrong with the processes that train.accelerate asks for."""
    if train.accelerate is None:
        return []
    from relex.stages.train.accelerate_file import faults as faults_of

    try:
        return faults_of(train, root / train.accelerate, topology())
    except InputError as error:
        return [error]


def _unconfined() -> list[InputError]:
    try:
        check_available()
    except InputError as error:
        return [error]
    return []


def _missing_base(base: Base, root: Path) -> list[InputError]:
    try:
        if isinstance(base.source, FolderBase):
            check_checkpoint(root / base.source.path)
        elif isinstance(base.source, PackageBase):
            gguf_file(base.source)
    except InputError as error:
        return [error]
    return []


def _problem_files(problems: Problems, root: Path) -> Iterator[InputError]:
    """Problem files that are missing, or lack a column."""
    source = problems.source
    if not isinstance(source, FileProblems):
        return
    for place in files_of(source):
        if not (root / place).is_file():
            yield InputError("the problem file is missing", where=f"problems.source: {root / place}")
            continue
        try:
            named = {"problems.source.problem": source.problem, "problems.source.answer": source.answer}
            check_columns(root / place, named, "problems.source")
        except InputError as error:
            yield error


def _unwritable(root: Path) -> list[InputError]:
    folders = [root, *(root / folder for folder in (METRICS, TIMINGS, STATE) if (root / folder).exists())]
    return [
        InputError("the folder is not writable", where=folder, todo="change its owner or mode, or work elsewhere")
        for folder in folders
        if not os.access(folder, os.W_OK | os.X_OK)
    ]
