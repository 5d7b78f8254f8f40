"""The files beside the weights: which of them make a folder of weights a model, and which change what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

from relex.checkpoints.tensors import INDEX

# What makes a folder of weights a model that loads: configuration, tokenizer, custom code, licence. Weights in other
# formats, optimiser states and folders are not part of it.
_SUFFIXES = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".py", ".md"}
RECIPE = "recipe.json"  # in the place of weights: see formed.py
# lineage.json: what another registered model descends from.
_NOT_SIDE = {INDEX, RECIPE, "trainer_state.json", "lineage.json"}
_LEGAL = ("LICENSE", "NOTICE")


def side_files(folder: Path) -> list[Path]:
    """Configuration, generation configuration, tokenizer, templates, code, card, licence, whatever exists; by name."""
    return [
        path
        for path in sorted(Path(folder).iterdir())
        if path.is_file()
        and (path.suffix in _SUFFIXES or path.name.startswith(_LEGAL))
        and not path.name.endswith(".index.json")
        and path.name not in _NOT_SIDE
        and not path.name.startswith(".")
    ]


def speaking_files(folder: Path) -> list[Path]:
    """Those of them that can change what the model says: all but what only people read, the card and the licence."""
    return [path for path in side_files(folder) if path.suffix != ".md" and not path.name.startswith(_LEGAL)]


def copy_side_files(source: Path, target: Path) -> None:
    """Copy side_files of one folder into another."""
    for path in side_files(source):
        shutil.copyfile(path, target / path.name)
