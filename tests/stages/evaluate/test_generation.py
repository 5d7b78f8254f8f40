"""Rows through real engines: the same whatever they were asked with, by whom, and how often it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.generation import Generation, Want
from relex.stages.evaluate.row_store import RowStore
from relex.stages.evaluate.suites.suite import Suite
from tests.builders import asked

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    folder = tmp_path_factory.mktemp("models")
    return [asked.untrained(folder / f"m{seed}", seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(store: RowStore, model: Contestant, suite: Suite, problems: int, samples: int) -> list[dict[str, Any]]:
    return store.rows(model, suite, problems, samples).drop_columns(["seconds"]).to_pylist()


def fill(store: RowStore, wants: list[Want], **changes: Any) -> dict[str, Any]:
    models = list({want.contestant.name: want.contestant for want in wants}.values())
    with Generation(asked.evaluate(**changes), store, models) as generation:
        generation.fill(wants, "race")
    return generation.spent


def test_rows_depend_on_neither_order_nor_company_nor_the_number_of_engines(models: list[Contestant]) -> None:
    suite = asked.suite("choose", 20)
    settings = asked.evaluate()
    whole = asked.store(Path("whole"), settings)
    spent = fill(whole, [Want(model, suite, 20, 4) for model in models])
    assert (spent["race"]["rows"], spent["engine_starts"], spent["reloads"]) == (240, 1, 2)
    grown = asked.store(Path("grown"), settings)
    with Generation(asked.evaluate(engines=2), grown, models) as generation:
        for problems, samples in ((5, 1), (20, 1), (20, 2), (20, 4)):
            generation.fill([Want(model, suite, problems, samples) for model in reversed(models)], "race")
    assert generation.spent["engine_starts"] == 2
    assert generation.spent["race"]["rows"] == 240
    for model in models:
        assert said(grown, model, suite, 20, 4) == said(whole, model, suite, 20, 4)
        assert said(whole, model, suite, 20, 2) == [
            row for row in said(whole, model, suite, 20, 4) if row["sample"] < 2
        ]
