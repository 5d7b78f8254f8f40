"""Engines that go from model to model in vLLM: proven on the engines that serve, and never trusted without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relex.core import workspace
from relex.core.atomic import read_json
from relex.stages.evaluate import slot
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.generation import Generation, Want
from tests.builders import asked
from tests.builders.contests import changed, spoil

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("forked_engines")]
SUITE = asked.suite("choose", 20)
PROOFS, TWINS = workspace.STATE / "reloads", workspace.STATE / "twins"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    folder = tmp_path_factory.mktemp("models")
    return [asked.untrained(folder / f"m{seed}", seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


Rows = list[list[dict[str, Any]]]


def night(models: list[Contestant], rows: str, **changes: Any) -> tuple[dict[str, Any], Rows]:
    """What it took to ask everyone, a little first; and what they said."""
    settings = asked.evaluate(backend="vllm", **changes)
    store = asked.store(Path(rows), settings)
    with Generation(settings, store, models) as generation:
        for problems, samples in ((4, 1), (20, 2)):
            generation.fill([Want(model, SUITE, problems, samples) for model in models], "race")
    tables = [store.rows(model, SUITE, 20, 2).drop_columns(["seconds"]) for model in models]
    return generation.spent, [table.to_pylist() for table in tables]


@pytest.fixture(scope="module")
def fresh(models: list[Contestant], tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """What a fresh engine for every model gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fresh"))
        spent, found = night(models, "rows", reload=False)
    assert (spent["engine_starts"], spent["reloads"]) == (5, 0)  # the last one asked first is still held
    return found


def test_two_engines_prove_the_reload_on_themselves_and_give_the_rows_of_fresh_ones(
    models: list[Contestant], fresh: Rows
) -> None:
    spent, found = night(models, "first", engines=2)
    assert found == fresh
    proofs = [read_json(path) for path in PROOFS.glob("*.json")]
    assert [(proof["exact"], proof["compared"]["completions"]) for proof in proofs] == [(True, 8)]
    assert spent["engine_starts"] <= 3  # the engine that was compared with held the original, and is no twin
    assert not TWINS.exists()
    spent, found = night(models, "second", engines=2)
    assert found == fresh
    assert spent["engine_starts"] == 2
    assert spent["reloads"] >= 1


def test_one_engine_proves_the_reload_with_one_more_start_and_once(models: list[Contestant], fresh: Rows) -> None:
    spent, found = night(models, "first")
    assert (found, spent["engine_starts"]) == (fresh, 2)
    spent, found = night(models, "second")
    assert (found, spent["engine_starts"]) == (fresh, 1)


@pytest.mark.parametrize("engines", [1, 2])
def test_a_reload_that_keeps_old_weights_is_found_out_and_not_used(
    models: list[Contestant], fresh: Rows, monkeypatch: pytest.MonkeyPatch, engines: int
) -> None:
    # Without the untied twin, this engine keeps the output head it started with.
    monkeypatch.setattr(slot, "servable", lambda contestant, state: contestant.folder)
    spent, found = night(models, "first", engines=engines)
    assert found == fresh
    proof = read_json(next(iter(PROOFS.glob("*.json"))))
    assert proof["exact"] is False
    assert proof["differ_from_the_fresh_engine"] > 0
    assert spent["reloads"] == 1  # the one that was found out


def test_a_model_that_gives_no_numbers_proves_nothing_and_the_first_that_may_is_compared(
    models: list[Contestant],
) -> None:
    changed(models[0].folder, Path("spoilt"), spoil)
    spoilt = asked.contestant(Path("spoilt"))
    spent, _ = night([models[0], spoilt, models[1]], "rows", engines=2)
    assert not PROOFS.exists()
    assert spent["reloads"] == 1  # the one that was compared
    night([*models[:2], spoilt], "again", engines=2)
    assert [read_json(path)["exact"] for path in PROOFS.glob("*.json")] == [True]
