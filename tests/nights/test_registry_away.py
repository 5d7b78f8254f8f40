"""A registry that does not answer (a closed port): a night begins at the newest champion that files here know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from relex.checkpoints.digest import model_sha256
from relex.core import hop as hops
from relex.core import workspace
from relex.core.atomic import write_json
from relex.core.hop import Model
from relex.nights import turn
from relex.params.load import Params
from relex.registry import last_known
from relex.registry.promotion import promote
from relex.registry.register import register
from tests.builders.nights import change_params, finish_night
from tests.builders.project import enter_copy
from tests.registry.test_dvc import dvc, kept

pytestmark = pytest.mark.real
__all__ = ["kept"]


@pytest.fixture
def project(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    project = enter_copy(kept, tmp_path, monkeypatch)
    for stage in ("train", "evaluate"):
        write_json(workspace.TIMINGS / f"{stage}.json", {"seconds": 10.0, "gpu_hours": 0.0})
    return project


def finish(project: Path, params: Params, seed: int) -> Model:
    """The present hop, its winner in DVC and champion."""
    met = hops.read().champion
    model = finish_night(project, seed, champion=met.model_sha256 if met else None)
    Path("dvc.lock").unlink()
    dvc("commit", "--quiet", "--force")
    register(params)
    said = promote(params)
    assert said.startswith("promoted"), said
    return Model(version=said.split("version ")[1].split()[0], model_sha256=model)


def away(params: Params) -> Params:
    registry = params.registry.model_copy(update={"tracking_uri": "http://u:hunter2@127.0.0.1:9"})
    return params.model_copy(update={"registry": registry})


def promoted_twice(project: Path) -> tuple[Params, Model, Model]:
    """Parameters, the champion that hop.json names, and the one that came after it."""
    params = change_params(project)
    budget = params.nights.budget.model_copy(update={"hops": 5})
    params = params.model_copy(update={"nights": params.nights.model_copy(update={"budget": budget})})
    turn.begin(params)
    first = finish(project, params, 1)
    turn.end(params)
    assert hops.read().champion == first
    return params, first, finish(project, params, 2)


def test_the_next_hop_begins_at_the_newest_champion_of_the_history_out_of_dvc(project: Path) -> None:
    params, _, second = promoted_twice(project)
    said = turn.end(away(params))
    assert "the registry cannot be reached (http://***@127.0.0.1:9: Connection refused, tried once)" in said
    assert "version 2, champion since 2" in said
    assert hops.read().champion == hops.read().start == second
    assert model_sha256(workspace.CHAMPION_WEIGHTS) == second.model_sha256


def test_without_the_newest_ones_weights_the_champion_of_hop_json_is_taken_and_that_is_said(project: Path) -> None:
    params, first, _ = promoted_twice(project)
    shutil.rmtree(".dvc/cache")
    said = turn.end(away(params))
    assert "version 1, as hop.json says, though version 2 is champion since 2" in said
    md5 = json.loads(workspace.HISTORY.read_text().splitlines()[-1])["artifact"]["md5"]
    assert f"DVC's cache lacks md5 {md5}" in said
    assert hops.read().champion == first


def test_a_history_that_is_older_than_the_hop_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    met = Model(version="7", model_sha256="7" * 64)
    line = {"id": "a", "when": "2026-01-01T00:00:00Z", "model": "m", "to": "6", "model_sha256": "6" * 64}
    workspace.HISTORY.write_text(json.dumps(line) + "\n")
    found, why = last_known.champion(met, "m")
    assert found == met
    assert why == "version 7, as hop.json says; history.jsonl does not know it yet"
