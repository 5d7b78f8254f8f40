"""Whether the steps of a manifest are the ones that were observed: none left out, renumbered or listed twice.

What there is to hold them against: the name of a step's file or folder, and what its maker promised (the window of a
training, the checkpoints of a copy). A window that ends early is whole: a budget does that. A hub's snapshots are
called by their commits and cannot be held against a name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.core.errors import CorruptArtifact

if TYPE_CHECKING:
    from relex.trajectory.manifest import Manifest

STEPS = "steps"
# Folders (and branches) of full checkpoints, some of them of the converted copy.
LAYOUT = re.compile(r"(?:checkpoint-|global_step_?|step_|step-|rollout_|iter_)(\d+)(?:[_-]hf)?")
# Below a step's folder, where the Hugging Face copy may lie: verl (written by it, or by its merger under the name that
# its documentation uses; its SFT trainer), NeMo-RL.
INNER = tuple(
    map(
        Path,
        (
            "actor/huggingface",
            "huggingface",
            "merged_hf_model",
            "actor/merged_hf_model",
            "policy/weights/model/consolidated",
            "policy/weights",
        ),
    )
)
_OWN = re.compile(r"(\d{6,})\.safetensors")


def file_name(step: int) -> str:
    """The file of a step of deltas, below the trajectory's folder."""
    return f"{STEPS}/{step:06d}.safetensors"


def step_of_folder(folder: Path) -> int | None:
    """The step that a full checkpoint's folder says in its name; None where it says none."""
    match = LAYOUT.fullmatch(naming_folder(folder).name)
    return int(match[1]) if match else None


def naming_folder(folder: Path) -> Path:
    """Of a full checkpoint's folder, the one that names it: itself, or what a trainer's layout has around it."""
    below = max((len(one.parts) for one in INNER if folder.parts[-len(one.parts) :] == one.parts), default=0)
    return folder.parents[below - 1] if below else folder


def check(manifest: Manifest, where: Path) -> None:
    """CorruptArtifact for steps that are not in order, not called what they are, or not what was promised."""
    numbers = [step.step for step in manifest.steps]
    for before, after in itertools.pairwise(numbers):
        if after <= before:
            what = "a step is there twice" if after == before else "the steps are not in order"
            raise CorruptArtifact(what, where=where, found=f"{after} after {before}")
    if numbers and numbers[0] < 1:
        raise CorruptArtifact("a step must be above zero: step 0 is the base", where=where, found=numbers[0])
    if manifest.kind == "deltas":
        _check_own_names(manifest, where)
        _check_returns(manifest, where)
    else:
        _check_folders(manifest, where)
    promised = _promised(manifest.identity)
    if promised is not None and list(promised[: len(numbers)]) != numbers:
        odd = next((want for want, number in itertools.zip_longest(promised, numbers) if want != number), numbers[-1])
        raise CorruptArtifact(
            "the steps are not the ones that were observed",
            where=where,
            expected=f"step {odd}" if odd is not None else f"no step after {promised[-1]}",
            found=_listed(numbers),
            todo="a step was left out or renumbered: take the trajectory from where it was made",
        )


def check_unlisted(folder: Path, steps: Sequence[int]) -> None:
    """CorruptArtifact for a step's file before the last listed step that the manifest of `folder` leaves out.

    One after it is what a killed writer leaves.
    """
    held = {int(match[1]) for path in (folder / STEPS).glob("*") if (match := _OWN.fullmatch(path.name))}
    missing = sorted(number for number in held - set(steps) if steps and number < steps[-1])
    if missing:
        raise CorruptArtifact(
            "a step that the manifest leaves out",
            where=folder / file_name(missing[0]),
            expected=f"one of {_listed(steps)}",
            todo="take the manifest from where the trajectory was made, or remove the file",
        )


def _check_own_names(manifest: Manifest, where: Path) -> None:
    for step in manifest.steps:
        names = [file.file for file in step.files]
        if step.folder or names != [file_name(step.step)]:
            found = ", ".join([*([step.folder] if step.folder else []), *names])
            raise CorruptArtifact(
                f"step {step.step} names another step's file",
                where=where,
                expected=file_name(step.step),
                found=found[:200],
            )


def _check_folders(manifest: Manifest, where: Path) -> None:
    for step in manifest.steps:
        said = step_of_folder(Path(step.folder))
        if not Path(step.folder).is_absolute():
            raise CorruptArtifact(
                f"step {step.step} does not say where it lies", where=where, expected="an absolute path"
            )
        if said not in (None, step.step):
            raise CorruptArtifact(
                f"step {step.step} names another step's folder", where=where, found=step.folder[-200:]
            )


def _check_returns(manifest: Manifest, where: Path) -> None:
    """A training may stand still for some steps; it does not come back to the very bytes that it left."""
    if "imported" in manifest.identity:
        return
    for _, steps in _grouped((step.sha256_of_files, at) for at, step in enumerate(manifest.steps)):
        if steps[-1] - steps[0] != len(steps) - 1:
            numbers = [manifest.steps[at].step for at in steps]
            raise CorruptArtifact(
                "steps apart from each other have the same content", where=where, found=f"steps {_listed(numbers)}"
            )


def _promised(identity: dict[str, Any]) -> Sequence[int] | None:
    imported, train = identity.get("imported"), identity.get("train")
    if isinstance(imported, list):
        return imported
    window = train.get("window") if isinstance(train, dict) else None
    if isinstance(window, dict):
        first, last, every = (window.get(name) for name in ("first", "last", "every"))
        if isinstance(first, int) and isinstance(last, int) and isinstance(every, int) and every > 0:
            return range(first, last + 1, every)
    return None


def _grouped(pairs: Iterable[tuple[Any, int]]) -> list[tuple[Any, list[int]]]:
    groups: dict[Any, list[int]] = {}
    for key, number in pairs:
        groups.setdefault(key, []).append(number)
    return list(groups.items())


def _listed(steps: Sequence[int]) -> str:
    shown = [str(step) for step in steps]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:6], "...", *shown[-5:]])
