"""Candidates without files: the race on what vLLM forms in place, the gate on the file that it becomes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from relex.checkpoints.digest import model_sha256
from relex.checkpoints.directions import DirectionsWriter, directions_file
from relex.checkpoints.formed import Formed
from relex.checkpoints.recipe import Recipe
from relex.checkpoints.side_files import copy_side_files
from relex.core import hop, workspace
from relex.core.atomic import read_json
from relex.core.digest import file_sha256
from relex.stages.decide import stage as decide
from relex.stages.evaluate import slot
from relex.stages.evaluate import stage as evaluate
from relex.stages.evaluate.contestants import Contestant, _formed
from relex.stages.evaluate.generation import Generation, Want
from relex.stages.problems import stage as problems
from tests.builders import asked
from tests.builders.contests import SMALL, pretrained, set_champion, set_observed_step, write_params
from tests.builders.project import enter_copy

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("forked_engines")]
SUITE = asked.suite("choose", 20)
PROOFS, TWINS = workspace.STATE / "reloads", workspace.STATE / "twins"
Rows = list[list[dict[str, Any]]]


def form(base: Path, other: Path, candidates: Path, amounts: dict[str, float]) -> None:
    """Candidates on the straight line from a base through another model: 0 is the one and 1 the other."""
    start, end = (load_file(folder / "model.safetensors") for folder in (base, other))
    shapes = {name: (1, tensor.numel()) for name, tensor in start.items()}
    candidates.mkdir(exist_ok=True)
    with DirectionsWriter(candidates, "step", shapes) as writer:
        for name, tensor in start.items():
            writer.write(name, 0, 0, (end[name] - tensor).reshape(-1).numpy())
    digest = file_sha256(directions_file(candidates, "step"))
    known = asked.contestant(base).weights_sha256
    for name, amount in amounts.items():
        (candidates / name).mkdir()
        copy_side_files(base, candidates / name)
        Recipe("step", known, digest, dict.fromkeys(start, (amount,)), {}).write(candidates / name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    """A base, and two that have no files."""
    folder = tmp_path_factory.mktemp("models")
    base = asked.untrained(folder / "base", 0)
    asked.untrained(folder / "other", 1)
    form(base.folder, folder / "other", folder / "candidates", {"step_000010": 0.3, "step_000020": 0.8})
    return [base, *(_formed(path, 10, base, set()) for path in sorted((folder / "candidates").glob("step_*")))]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def night(models: list[Contestant], rows: str, **changes: Any) -> tuple[dict[str, Any], Rows]:
    """What it took to ask everyone, and what they said."""
    settings = asked.evaluate(**{"backend": "vllm"} | changes)
    store = asked.store(Path(rows), settings)
    with Generation(settings, store, models) as generation:
        generation.fill([Want(model, SUITE, 20, 2) for model in models], "race")
    tables = [store.rows(model, SUITE, 20, 2).drop_columns(["seconds"]) for model in models]
    return generation.spent, [table.to_pylist() for table in tables]


@pytest.fixture(scope="module")
def written(models: list[Contestant], tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    """The same models, as files."""
    folder = tmp_path_factory.mktemp("written")
    found = models[:1]
    for one in models[1:]:
        assert one.origin is not None
        (folder / one.name).mkdir()
        with Formed(one.folder, one.origin.folder) as formed:
            formed.write(folder / one.name)
        found.append(asked.contestant(folder / one.name))
    return found


@pytest.fixture(scope="module")
def fresh(written: list[Contestant], tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """What a fresh engine on every file gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fresh"))
        return night(written, "rows", reload=False)[1]


@pytest.mark.parametrize("engines", [1, 2])
def test_a_model_that_is_formed_in_place_says_what_a_fresh_engine_on_its_file_says(
    models: list[Contestant], fresh: Rows, engines: int
) -> None:
    spent, found = night(models, "first", engines=engines)
    assert found == fresh
    assert len({str([row["completion"] for row in rows]) for rows in found}) == len(models)
    assert [read_json(path)["exact"] for path in PROOFS.glob("*.json")] == [True]
    assert not TWINS.exists()
    assert not list(workspace.STATE.rglob("formed*"))
    spent, found = night(models, "second", engines=engines)
    assert found == fresh
    assert spent["engine_starts"] == engines
    assert spent["reloads"] >= len(models) - engines


def test_where_an_engine_keeps_old_weights_it_is_found_out_and_each_becomes_a_file_for_a_while(
    models: list[Contestant], fresh: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the untied twin, this engine keeps the output head it started with.
    monkeypatch.setattr(slot, "servable", lambda contestant, state: contestant.folder)
    monkeypatch.setattr(slot, "HEAD", None)
    _, found = night(models, "first", engines=2)
    assert found == fresh
    assert [read_json(path)["exact"] for path in PROOFS.glob("*.json")] == [False]
    assert not list(workspace.STATE.rglob("formed*"))


def test_without_reloads_and_with_transformers_each_becomes_a_file_for_a_while(
    models: list[Contestant], written: list[Contestant], fresh: Rows
) -> None:
    spent, found = night(models, "first", reload=False)
    assert (found, spent["reloads"]) == (fresh, 0)
    assert night(models, "formed", backend="transformers")[1] == night(written, "written", backend="transformers")[1]


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real models: a base, an observed one, and formed ones of which that between base and best is worse."""
    folder = tmp_path_factory.mktemp("contest")
    before = Path.cwd()
    os.chdir(folder)
    try:
        params = write_params(folder, SMALL)
        problems.run(params.problems)
        pretrained(params, 120, (0.3, 0.85), Path("base"))
        pretrained(params, 120, (0.0, 0.2), Path("best"))
        amounts = {"step_000045": 0.3, "step_000100": 0.1, "step_000200": 1.0, "step_000300": 5.0}
        form(Path("base"), Path("best"), Path("candidates"), amounts)
        Path("observed").mkdir()
        with Formed(Path("candidates/step_000045"), Path("base")) as formed:
            formed.write(Path("observed"))
        shutil.rmtree("candidates/step_000045")
        set_champion(None)
        set_observed_step(45)
    finally:
        os.chdir(before)
    return folder


def proof(**changes: Any) -> dict[str, Any]:
    params = write_params(Path(), {**SMALL, **changes})
    evaluate.run(params.evaluate, params.problems, params.decide, hop.read().champion)
    decide.run(params.decide)
    return read_json(workspace.DECISION)


def test_the_winner_becomes_a_file_and_nothing_else_does(
    contest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_copy(contest, tmp_path, monkeypatch)
    decision = proof()
    assert (decision["outcome"], decision["winner"]) == ("promote-candidate", "step_000200")
    folder = Path(decision["winner_folder"])
    assert folder == workspace.EVALUATION / "models" / "step_000200"
    assert model_sha256(folder) == decision["winner_model_sha256"]
    assert [path.name for path in (workspace.EVALUATION / "models").iterdir()] == ["step_000200"]
    assert not (workspace.STATE / "filed").exists()
    start, end = (load_file(Path(name) / "model.safetensors") for name in ("best", str(folder)))
    assert all((start[name] - end[name]).abs().max() < 1e-6 for name in start)
    facts = read_json(workspace.EVALUATION_METRICS)["models"]
    assert {name for name, one in facts.items() if "raced_as" in one} == {"step_000200"}
    assert facts["step_000200"]["raced_as"] != facts["step_000200"]["model_sha256"]
    # Everything again, out of the store: no engine starts, and the file is the same one.
    again = proof()
    assert again == decision
    assert read_json(workspace.TIMINGS / "evaluate.json")["engine_starts"] == 0
    assert model_sha256(folder) == decision["winner_model_sha256"]


def test_who_is_refused_at_the_gate_leaves_no_file(
    contest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_copy(contest, tmp_path, monkeypatch)
    decision = proof(**{"decide.min_gain": 0.9})
    assert decision["outcome"] == "keep-champion"
    assert not (workspace.EVALUATION / "models").exists()
    assert not (workspace.STATE / "filed").exists()
    name = decision["chosen"]["leader"]
    facts = read_json(workspace.EVALUATION_METRICS)["models"][name]
    assert (facts["folder"], "raced_as" in facts) == (f"candidates/{name}", True)
