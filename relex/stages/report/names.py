"""What the models are called on the page: each by one name, also where two of them are one model."""

from __future__ import annotations

from relex.stages.report import words
from relex.stages.report.data import Proven


def called(night: Proven, name: str) -> str:
    """A model's name on the page, whether or not it is a model of the night."""
    found, same = night.evaluation.models.get(name), night.evaluation.same_as_base
    if found and same and found.kind in ("base", "champion"):
        version = night.evaluation.models[same].version
        return f"base, also the champion{f' (version {version})' if version else ''}"
    return words.model(name, found, night.window, night.candidate) if found else name


def same(night: Proven, name: str) -> list[str]:
    """The names of one model: the base may be the champion too."""
    same = night.evaluation.same_as_base
    return [name, same] if same and name in night.evaluation.of_kind("base") else [name]
