"""The stage on real models in the real engine: who wins, what is reused, what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from relex.core import workspace
from relex.core.atomic import read_json, write_json
from relex.core.digest import folder_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.stages.decide import stage as decide
from relex.stages.decide.paired import paired_test
from relex.stages.decide.scores import load_scores
from relex.stages.evaluate import reload
from relex.stages.evaluate import stage as evaluate
from relex.stages.problems import stage as problems
from tests.builders.contests import (
    SMALL,
    add_noise,
    always,
    changed,
    pretrained,
    set_champion,
    set_observed_step,
    spoil,
    write_params,
)
from tests.builders.project import enter_copy

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real models: a base, a better one, a best one, a ruined one, one with NaN; evaluated once, all together."""
    folder = tmp_path_factory.mktemp("contest")
    before = Path.cwd()
    os.chdir(folder)
    try:
        params = write_params(folder, SMALL)
        problems.run(params.problems)
        pretrained(params, 120, (0.3, 0.85), Path("base"))
        pretrained(params, 120, (0.2, 0.6), Path("observed"))
        pretrained(params, 120, (0.0, 0.2), Path("candidates/step_000100"))
        changed(Path("observed"), Path("candidates/step_000200"), spoil)
        changed(Path("observed"), Path("candidates/step_000300"), add_noise)
        set_champion(None)
        set_observed_step(45)
        evaluate.run(params.evaluate, params.problems)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def contest(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change, with the rows that exist already."""
    return enter_copy(models, tmp_path, monkeypatch)


def night(**changes: Any) -> dict[str, Any]:
    """Evaluate and decide; decision, evaluation and timings."""
    params = write_params(Path(), {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}})
    evaluate.run(params.evaluate, params.problems)
    decide.run(params.decide, params.evaluate.seed)
    return {
        "decision": read_json(workspace.DECISION),
        "evaluation": read_json(workspace.EVALUATION_METRICS),
        "timings": read_json(workspace.TIMINGS / "evaluate.json"),
    }


def rows(model: str) -> list[dict[str, Any]]:
    table = pq.read_table(workspace.EVALUATION / "rows" / f"{model}.parquet")
    return table.drop_columns(["model", "model_sha256"]).to_pylist()


def test_a_truly_better_model_is_promoted(contest: Path) -> None:
    decision = night()["decision"]
    assert (decision["outcome"], decision["winner"]) == ("promote-candidate", "step_000100")
    assert decision["winner_folder"] == "candidates/step_000100"
    assert all(test["low"] > 0 for test in decision["tests"])


def test_a_ruined_model_and_one_with_nan_lose_and_the_night_goes_on(contest: Path) -> None:
    shutil.rmtree("candidates/step_000100")
    result = night()
    decision, metrics = result["decision"], result["evaluation"]["metrics"]
    assert decision["outcome"] != "promote-candidate"
    assert metrics["step_000200"]["gate"]["non_finite"]["value"] == 1.0
    assert metrics["step_000200"]["gate"]["avg_at_4"]["value"] == 0.0
    assert metrics["step_000300"]["gate"]["avg_at_4"]["value"] < metrics["observed"]["gate"]["avg_at_4"]["value"]
    shutil.rmtree("candidates/step_000300")
    alone = night()["decision"]["verdicts"][0]
    assert alone["name"] == "step_000200"
    assert [guard["passed"] for guard in alone["guards"] if guard["guard"] == "not a number"] == [False, False]


def test_the_same_model_under_two_names_gets_the_same_rows_and_no_difference(contest: Path) -> None:
    shutil.rmtree("candidates")
    shutil.copytree("observed", "candidates/step_000100")
    set_champion(contest / "observed")
    result = night()
    assert result["timings"].get("rows") is None  # nothing was generated: the weights are known
    assert rows("step_000100") == rows("observed") == rows("champion")
    models = read_json(workspace.EVALUATION_METRICS)["models"]
    identities = {name: models[name]["model_sha256"] for name in ("step_000100", "champion")}
    right = load_scores(workspace.EVALUATION / "rows", identities).by_model
    test = paired_test(right["step_000100"]["gate"].right, right["champion"]["gate"].right, 4, 0.025, 2000, seed=0)
    assert (test.gain, test.low, test.high, test.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert result["decision"]["promote"] is False
    assert "very same model" in result["decision"]["sentence"]


def test_greedy_rows_of_one_model_are_the_same_in_two_engines(contest: Path) -> None:
    shutil.rmtree("candidates")
    shutil.copytree("observed", "candidates/step_000100")
    greedy = {"evaluate__samples": 1, "evaluate__pass_k": [1], "evaluate__temperature": 0.0}
    night(**greedy)
    first = rows("observed")
    shutil.rmtree(workspace.ROWS_CACHE)
    night(**greedy)
    assert rows("observed") == first
    assert len(first) == sum(SMALL["problems.sizes"][split] for split in ("validation", "test", "ood"))


@pytest.mark.slow
def test_fresh_engines_side_by_side_give_the_very_same_files_as_one_that_reloads(contest: Path) -> None:
    before = folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()
    shutil.rmtree(workspace.ROWS_CACHE)
    proofs = [read_json(path) for path in (workspace.STATE / "reloads").glob("*.json")]
    timings = night(evaluate__reload=False, evaluate__engines=2)["timings"]
    assert timings["engine_starts"] == 5
    assert (folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()) == before
    assert [proof["exact"] for proof in proofs] == [True]
    assert not (workspace.STATE / "twins").exists()


@pytest.mark.slow
def test_one_models_prompts_in_two_engines_get_the_rows_that_one_engine_gives(contest: Path) -> None:
    before = folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()
    mine = workspace.ROWS_CACHE / read_json(workspace.EVALUATION_METRICS)["models"]["observed"]["model_sha256"][:16]
    for engines in (2, 1):
        shutil.rmtree(mine)
        timings = night(evaluate__engines=engines)["timings"]
        assert timings["engine_starts"] == engines
        assert timings["rows"] == sum(SMALL["problems.sizes"][split] for split in ("validation", "test", "ood")) * 4
        assert (folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()) == before


@pytest.mark.slow
def test_a_model_that_says_nothing_and_one_that_never_ends_lose_and_the_night_goes_on(contest: Path) -> None:
    shutil.rmtree("candidates")
    tokenizer = AutoTokenizer.from_pretrained("observed")
    changed(Path("observed"), Path("candidates/step_000100"), always(tokenizer.eos_token_id))
    changed(Path("observed"), Path("candidates/step_000200"), always(tokenizer.convert_tokens_to_ids("7")))
    result = night(evaluate__temperature=0.0, evaluate__samples=1, evaluate__pass_k=[1])
    metrics = result["evaluation"]["metrics"]
    silent, endless = metrics["step_000100"]["gate"], metrics["step_000200"]["gate"]
    assert [silent[name]["value"] for name in ("avg_at_1", "unparsable", "truncated")] == [0.0, 1.0, 0.0]
    assert [endless[name]["value"] for name in ("avg_at_1", "unparsable", "truncated")] == [0.0, 0.0, 1.0]
    assert {row["completion"] for row in rows("step_000100")} == {""}
    assert {row["completion"] for row in rows("step_000200")} == {"7" * 12}
    assert result["decision"]["outcome"] != "promote-candidate"
    cut = [
        guard["passed"]
        for verdict in result["decision"]["verdicts"]
        if verdict["name"] == "step_000200"
        for guard in verdict["guards"]
        if guard["guard"] == "cut off"
    ]
    assert True not in cut


@pytest.mark.slow
def test_a_reload_that_keeps_old_weights_is_found_out_and_not_used(
    contest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder_sha256(workspace.EVALUATION)
    shutil.rmtree(workspace.ROWS_CACHE)
    shutil.rmtree(reload.PROOFS)
    # Without the untied twin, this engine keeps the output head it started with.
    monkeypatch.setattr(reload, "servable", lambda contestant, on_cpu: contestant.folder)
    timings = night()["timings"]
    proof = read_json(next(iter(reload.PROOFS.glob("*.json"))))
    assert proof["exact"] is False
    assert proof["differ_from_the_fresh_engine"] > 0
    assert (timings["engine_starts"], timings["reloads"]) == (5, 0)
    assert folder_sha256(workspace.EVALUATION) == before


def test_what_is_known_is_not_generated_again_and_what_changed_is(contest: Path) -> None:
    before = workspace.EVALUATION_METRICS.read_bytes()
    assert night()["timings"].get("rows") is None
    assert workspace.EVALUATION_METRICS.read_bytes() == before
    next(iter(workspace.ROWS_CACHE.rglob("*.parquet"))).unlink()
    assert night()["timings"]["rows"] <= 30 * 4  # one batch
    assert workspace.EVALUATION_METRICS.read_bytes() == before


def test_every_row_is_kept_with_what_it_was_asked_and_answered(contest: Path) -> None:
    found = rows("observed")
    protocol = read_json(workspace.EVALUATION_METRICS)["protocol"]["suites"]
    assert len(found) == sum(suite["problems"] * suite["samples"] for suite in protocol.values())
    for row in found:
        digits = row["prompt"].removesuffix("=")
        assert row["score"] == float(row["completion"].strip() == "".join(sorted(digits)))
        assert row["finish_reason"] in ("stop", "length")
        assert row["tokens"] <= 12
    assert "seconds" not in found[0]
    cached = pq.read_table(next(iter(workspace.ROWS_CACHE.rglob("*.parquet"))))
    assert "seconds" in cached.column_names


def test_metrics_are_those_of_the_rows(contest: Path) -> None:
    metrics = read_json(workspace.EVALUATION_METRICS)["metrics"]["observed"]["test"]
    found = [row for row in rows("observed") if row["suite"] == "test"]
    assert metrics["avg_at_4"]["value"] == pytest.approx(sum(row["score"] for row in found) / len(found), abs=1e-6)
    right = {row["problem"] for row in found if row["score"]}
    assert metrics["pass_at_4"]["value"] == pytest.approx(len(right) / 40, abs=1e-6)
    cut = sum(row["finish_reason"] == "length" for row in found)
    assert metrics["truncated"]["value"] == pytest.approx(cut / len(found), abs=1e-6)
    for value in metrics.values():
        if isinstance(value, dict):
            assert value["low"] <= value["value"] <= value["high"]


def test_halving_drops_the_worst_on_few_problems_and_reports_what_it_saved(contest: Path) -> None:
    result = night(evaluate__halving={"above": 2, "keep": 1})
    halving, models = result["evaluation"]["halving"], result["evaluation"]["models"]
    assert [(len(turn["scores"]), turn["problems"], len(turn["kept"])) for turn in halving["rounds"]] == [
        (3, 30, 2),
        (2, 60, 1),
    ]
    assert [name for name in models if models[name]["kind"] == "candidate"] == ["step_000100"]
    assert result["decision"]["outcome"] == "promote-candidate"
    assert {item["name"]: item["problems"] for item in result["decision"]["candidates"]}["step_000200"] in (30, 60)
    # The rows were there from the evaluation of everyone; by itself it would have spared the gate, test and ood.
    assert 0 < halving["rows_saved"] < halving["rows_without"]


def test_a_champion_whose_weights_are_not_the_registered_ones_is_refused(contest: Path) -> None:
    set_champion(contest / "observed")
    write_json(workspace.CHAMPION, {"name": "m", "version": "3", "model_sha256": "0" * 64})
    with pytest.raises(CorruptArtifact, match="not the registered model"):
        night()


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("observed", "checkpoint folder is missing"),
        ("candidates", "no candidates"),
        ("observed/tokenizer.json", "has no tokenizer"),
        ("observed/config.json", "config.json"),
        ("champion.json", "the file is missing"),
        ("problems/test.jsonl", "split's file is missing"),
    ],
)
def test_an_incomplete_night_is_refused_before_any_engine_starts(contest: Path, remove: str, message: str) -> None:
    before = folder_sha256(workspace.EVALUATION)
    path = contest / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=message):
        night()
    assert folder_sha256(workspace.EVALUATION) == before


def test_a_decision_without_its_rows_is_refused(contest: Path) -> None:
    params = write_params(Path(), SMALL)
    (workspace.EVALUATION / "rows" / "observed.parquet").unlink()
    with pytest.raises(InputError, match="rows are missing"):
        decide.run(params.decide, params.evaluate.seed)


def test_more_engines_than_the_memory_holds_are_refused_with_the_sum(contest: Path) -> None:
    shutil.rmtree(workspace.ROWS_CACHE)
    with pytest.raises(InputError, match=r"not enough memory.*2 engines.*100000\.00 GiB cache: 200000\.00 GiB"):
        night(evaluate__cpu_kv_cache_gib=100_000, evaluate__engines=2)


def test_the_decision_is_the_same_bytes_again(contest: Path) -> None:
    night()
    before = workspace.DECISION.read_bytes()
    night()
    assert workspace.DECISION.read_bytes() == before
    assert json.loads(before)["sentence"]
