"""What a candidate without weights of its own is made of: recipe.json in its folder (formed.py)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relex.checkpoints.side_files import RECIPE
from relex.core import atomic
from relex.core.digest import json_sha256
from relex.core.errors import CorruptArtifact, InputError

_FORMAT = 1
_RAY = re.compile(r"step(-[a-z0-9][a-z0-9-]*)?")


@dataclass(frozen=True)
class Recipe:
    """recipe.json. ray: whose directions. base_sha256, directions_sha256: of the base's weights, of that file.

    amounts: by tensor, one for each of its directions; a tensor that is not named stays as the base has it.
    twins: tensors that follow another one, an output head its embedding.
    """

    ray: str
    base_sha256: str
    directions_sha256: str
    amounts: Mapping[str, tuple[float, ...]]
    twins: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """What it makes: equal recipes are equal weights."""
        return json_sha256(self.facts())

    def facts(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "format": _FORMAT,
            "ray": self.ray,
            "base_sha256": self.base_sha256,
            "directions_sha256": self.directions_sha256,
            "amounts": {name: list(amounts) for name, amounts in sorted(self.amounts.items())},
            "twins": dict(sorted(self.twins.items())),
        }

    def write(self, folder: Path) -> None:
        """Into a candidate's folder."""
        atomic.write_json(folder / RECIPE, self.facts())


def has_recipe(folder: Path) -> bool:
    """Whether a candidate is formed, and has no weights of its own."""
    return (folder / RECIPE).is_file()


def read_recipe(folder: Path) -> Recipe:
    """The recipe in a candidate's folder; CorruptArtifact where it is not one."""
    path = folder / RECIPE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found["format"]
        recipe = Recipe(
            found["ray"],
            found["base_sha256"],
            found["directions_sha256"],
            {name: tuple(float(one) for one in amounts) for name, amounts in found["amounts"].items()},
            dict(found["twins"]),
        )
        numbers = all(math.isfinite(one) for amounts in recipe.amounts.values() for one in amounts)
        texts = [recipe.ray, recipe.base_sha256, recipe.directions_sha256, *recipe.twins.values()]
        if not (numbers and all(isinstance(text, str) for text in texts) and _RAY.fullmatch(recipe.ray)):
            raise ValueError("amounts that are no numbers, or names that are none")
    except FileNotFoundError:
        raise InputError("the file is missing", where=path, todo="run `relex extrapolate`") from None
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found = str(error)[:200]
        raise CorruptArtifact("not a recipe", where=path, found=found, todo="run `relex extrapolate`") from None
    if version != _FORMAT:
        raise InputError("unknown format version", where=path, expected=_FORMAT, found=version)
    return recipe
