"""Small models and what they can be asked, for whatever generates rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from relex.checkpoints.digest import speech_sha256, weights_sha256
from relex.params.load import load
from relex.rewards.problem import make_problem
from relex.stages.base.embedded import make_model, make_tokenizer
from relex.stages.base.params import EmbeddedBase
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.engine.settings import engine_facts
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.row_store import RowStore
from relex.stages.evaluate.suites.sampling import Sampling
from relex.stages.evaluate.suites.suite import Suite
from tests.builders import ROOT


def untrained(folder: Path, seed: int) -> Contestant:
    """An embedded model without training: its answers are noise, and the same noise everywhere."""
    source = load(ROOT / "params.yaml").base.source
    assert isinstance(source, EmbeddedBase)
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = make_model(source, tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)  # far from ties
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return contestant(folder)


def contestant(folder: Path) -> Contestant:
    """The model in a folder, by the folder's name."""
    return Contestant(folder.name, "candidate", 1, folder, weights_sha256(folder), speech_sha256(folder))


def evaluate(**changes: Any) -> Evaluate:
    """The committed section, with another protocol: transformers, one engine."""
    usual = {"backend": "transformers", "engines": 1}
    return load(ROOT / "params.yaml").evaluate.model_copy(update=usual | changes)


def suite(name: str, problems: int, scorer: str = "exact", first: int = 0, **changes: Any) -> Suite:
    """Digits to be sorted: `problems` numbers from 10000 + `first` on."""
    numbers = [str(7 * number % 90000 + 10000) for number in range(first, first + problems)]
    found = tuple(make_problem(f"{digits}=", "".join(sorted(digits)), scorer) for digits in numbers)
    how = {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": 12, "seed": 0} | changes
    return Suite(name, "choose", found, Sampling(**how))


def store(folder: Path, settings: Evaluate) -> RowStore:
    """The rows in a folder, as the stage would find them."""
    return RowStore(folder, engine_facts(settings))
