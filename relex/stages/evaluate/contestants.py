"""Who is evaluated: base, last observed checkpoint, present champion, and every candidate."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import combined, speech_sha256, weights_sha256
from relex.checkpoints.directions import check_directions
from relex.checkpoints.formed import Formed
from relex.checkpoints.recipe import has_recipe, read_recipe
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import CorruptArtifact, InputError
from relex.core.hop import Model
from relex.proof.night import CONTROL, Player


@dataclass(frozen=True)
class Contestant:
    """One model of the night.

    kind: base, observed, champion or candidate. step: optimiser steps (observed or predicted), None for a champion.
    speech_sha256: hash of what changes, beside the weights, what it says. version: the champion's in the registry, else
    None. control: a candidate that may never be promoted. origin: the base, for a candidate without weights of its own:
    it is formed in the engine from that and the recipe in its folder, and its weights_sha256 is the recipe's. raced_as:
    its model_sha256 before it became a file, else nothing.
    """

    name: str
    kind: str
    step: int | None
    folder: Path
    weights_sha256: str
    speech_sha256: str
    version: str | None = None
    control: bool = False
    origin: Contestant | None = None
    raced_as: str = ""

    @property
    def layout(self) -> Path:
        """A folder with weights of its names, shapes and dtypes."""
        return self.folder if self.origin is None else self.origin.folder

    @property
    def player(self) -> Player:
        """As the proof sees it."""
        identity = self.raced_as or self.model_sha256  # one for the whole proof
        return Player(self.name, CONTROL if self.control else self.kind, self.step, identity)

    @property
    def model_sha256(self) -> str:
        """What it is, whatever its name: checkpoints.digest.model_sha256."""
        return combined(self.weights_sha256, self.speech_sha256)

    def facts(self) -> dict[str, Any]:
        """For metrics/evaluate.json."""
        facts = {
            "kind": self.kind,
            "step": self.step,
            "model_sha256": self.model_sha256,
            "weights_sha256": self.weights_sha256,
            "folder": str(self.folder),
        }
        facts |= {"control": True} if self.control else {}
        facts |= {"raced_as": self.raced_as} if self.raced_as else {}
        return facts | ({"version": self.version} if self.kind == "champion" else {})


def load_contestants(champion: Model | None = None) -> list[Contestant]:
    """Everyone, in a fixed order; InputError for a folder that is missing or incomplete.

    champion: whom this hop meets, as hop.json names it; None for none.
    """
    contestants = [
        contestant_of("base", "base", 0, workspace.BASE),
        contestant_of("observed", "observed", _observed_step(), workspace.OBSERVED),
    ]
    if champion is not None:
        found = contestant_of("champion", "champion", None, workspace.CHAMPION_WEIGHTS, champion.version)
        if found.model_sha256 != champion.model_sha256:
            raise CorruptArtifact(
                "the champion is not the registered model: its weights, configuration or tokenizer changed",
                where=workspace.CHAMPION_WEIGHTS,
                expected=champion.model_sha256,
                found=found.model_sha256,
                todo="fetch them again: relex hop --fetch",
            )
        contestants.append(found)
    return contestants + _candidates(workspace.CANDIDATES, _controls(), contestants[0])


def _observed_step() -> int:
    """The last step that was observed, as the stage extrapolate found it: a training may end before its window."""
    path = workspace.EXTRAPOLATION_METRICS
    found = read_json(path)
    if not isinstance(found, dict) or type(found.get("observed_step")) is not int:
        raise InputError("it does not say which step was observed last", where=path, todo="run `relex extrapolate`")
    return found["observed_step"]


def _controls() -> list[str]:
    """The candidates that are controls, as the stage extrapolate made them."""
    found = read_json(workspace.EXTRAPOLATION_METRICS).get("controls", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError("not names of controls", where=workspace.EXTRAPOLATION_METRICS, todo="run `relex extrapolate`")
    return found


def _candidates(folder: Path, controls: list[str], base: Contestant) -> list[Contestant]:
    found = []
    checked = set[str]()  # directions
    for path in sorted(folder.glob("step_*")):
        match = re.match(r"step_(\d+)", path.name)
        if match and path.is_dir():
            if has_recipe(path):
                one = _formed(path, int(match[1]), base, checked)
            else:
                one = contestant_of(path.name, "candidate", int(match[1]), path)
            found.append(replace(one, control=path.name in controls))
    if missing := set(controls) - {one.name for one in found}:
        raise InputError("controls are missing", where=folder, expected=sorted(missing), todo="run `relex extrapolate`")
    if all(one.control for one in found):
        raise InputError("no candidates", where=folder, expected="step_<N> folders", todo="run `relex extrapolate`")
    return found


def _formed(folder: Path, step: int, base: Contestant, checked: set[str]) -> Contestant:
    """A candidate that has a recipe. checked: directions whose hash was looked at."""
    recipe = read_recipe(folder)
    if recipe.base_sha256 != base.weights_sha256:
        raise CorruptArtifact(
            "the recipe is of another base",
            where=folder,
            expected=recipe.base_sha256,
            found=base.weights_sha256,
            todo="run `relex extrapolate`",
        )
    if recipe.directions_sha256 not in checked:
        check_directions(folder, recipe)
        checked.add(recipe.directions_sha256)
    Formed(folder, base.folder).close()  # whether they fit together
    _check_side_files(folder)
    return Contestant(folder.name, "candidate", step, folder, recipe.sha256, speech_sha256(folder), origin=base)


def contestant_of(name: str, kind: str, step: int | None, folder: Path, version: str | None = None) -> Contestant:
    """The model in a checkpoint folder, with its hashes; InputError for a folder that is missing or incomplete."""
    if not folder.is_dir():
        raise InputError("the checkpoint folder is missing", where=folder, todo="run the stage that writes it")
    _check_side_files(folder)
    return Contestant(name, kind, step, folder, weights_sha256(folder), speech_sha256(folder), version)


def _check_side_files(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError("not a checkpoint folder", where=folder, expected="config.json", found="no such file")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise InputError(
            "the checkpoint has no tokenizer", where=folder, expected="tokenizer.json or the like beside the weights"
        )
