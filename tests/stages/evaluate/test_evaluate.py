"""The stage on real models in the real engine: who wins, what is reused, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer

from relex.core import hop, workspace
from relex.core.atomic import read_json, write_json
from relex.core.digest import folder_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.stages.decide import stage as decide
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

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("forked_engines")]
PROOFS = workspace.STATE / "reloads"


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
        evaluate.run(params.evaluate, params.problems, params.decide, hop.read().champion)
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
    evaluate.run(params.evaluate, params.problems, params.decide, hop.read().champion)
    decide.run(params.decide)
    return {
        "decision": read_json(workspace.DECISION),
        "evaluation": read_json(workspace.EVALUATION_METRICS),
        "timings": read_json(workspace.TIMINGS / "evaluate.json"),
    }


def rows(model: str) -> list[dict[str, Any]]:
    table = pq.read_table(workspace.EVALUATION / "rows" / f"{model}.parquet")
    return table.drop_columns(["model", "model_sha256"]).to_pylist()


def generated(timings: dict[str, Any]) -> int:
    """Rows that were new."""
    return sum(part["rows"] for part in timings.values() if isinstance(part, dict))


def small_change(tensors: dict[str, torch.Tensor]) -> None:
    """Other weights, other answers here and there, no other quality."""
    generator = torch.Generator().manual_seed(0)
    for tensor in tensors.values():
        tensor += 0.01 * tensor.std() * torch.randn(tensor.shape, generator=generator)


def test_a_truly_better_model_is_promoted(contest: Path) -> None:
    found = night()
    decision, spent = found["decision"], found["evaluation"]["proof"]["spent"]
    assert (decision["outcome"], decision["winner"]) == ("promote-candidate", "step_000100")
    assert decision["winner_folder"] == "candidates/step_000100"
    assert all(test["low"] > 0 and test["ended"] == "proven" for test in decision["tests"])
    assert decision["spent"] == {part: spent[part]["rows"] for part in ("race", "gate", "guards")}
    assert decision["spent"]["gate"] <= 3 * 60  # of 1,440: a clear gain needs few rows


def test_a_ruined_model_and_one_with_nan_lose_the_race_and_the_night_goes_on(contest: Path) -> None:
    shutil.rmtree("candidates/step_000100")
    result = night()
    decision, metrics = result["decision"], result["evaluation"]["metrics"]
    assert decision["outcome"] != "promote-candidate"
    assert decision["chosen"]["leader"] is None  # both are credibly worse than what was observed
    assert metrics["step_000200"]["choose"]["non_finite"]["value"] == 1.0
    assert {item["name"]: item["left"] for item in decision["candidates"]} == {"step_000200": 1, "step_000300": 1}
    assert set(metrics["step_000300"]) == {"choose"}


def test_a_ruined_model_beside_a_ruined_checkpoint_is_refused_at_the_gate(contest: Path) -> None:
    shutil.rmtree("candidates")
    shutil.copytree("observed", "kept")
    changed(Path("kept"), Path("candidates/step_000100"), spoil)
    shutil.rmtree("observed")
    shutil.copytree("candidates/step_000100", "observed")
    changed(Path("kept"), Path("candidates/step_000200"), add_noise)
    decision = night()["decision"]
    assert decision["promote"] is False
    assert decision["chosen"]["leader"] == "step_000100" or decision["verdicts"][0]["name"] == "step_000200"


def test_the_same_model_under_two_names_gets_the_same_rows_and_is_not_promoted(contest: Path) -> None:
    shutil.rmtree("candidates")
    shutil.copytree("observed", "candidates/step_000100")
    set_champion(contest / "observed")
    result = night()
    assert result["decision"]["spent"]["gate"] == 0  # it has nobody to meet
    shared = {name: {(row["suite"], row["problem"], row["sample"]): row for row in rows(name)} for name in NAMES}
    both = shared["step_000100"].keys() & shared["observed"].keys()
    assert both
    assert all(shared["step_000100"][key] == shared["observed"][key] for key in both)
    assert result["decision"]["promote"] is False
    assert "very same model" in result["decision"]["sentence"]


NAMES = ("step_000100", "observed", "champion")


def test_other_weights_of_the_same_quality_are_not_promoted(contest: Path) -> None:
    shutil.rmtree("candidates")
    changed(Path("observed"), Path("candidates/step_000100"), small_change)
    set_champion(contest / "observed")
    decision = night()["decision"]
    assert decision["promote"] is False
    verdict = decision["verdicts"][0]
    assert verdict["name"] == "step_000100"
    assert {test["ended"] for test in verdict["tests"]} <= {"futile", "spent", "stopped"}
    assert "more than +1.0 were to be proven" in decision["sentence"]


def test_greedy_rows_of_one_model_are_the_same_in_two_engines(contest: Path) -> None:
    shutil.rmtree("candidates")
    shutil.copytree("observed", "candidates/step_000100")
    greedy = {"evaluate__samples": 1, "evaluate__pass_k": [1], "evaluate__temperature": 0.0}
    night(**greedy)
    first = rows("observed")
    shutil.rmtree(workspace.ROWS_CACHE)
    night(**greedy)
    assert rows("observed") == first
    assert {row["sample"] for row in first} == {0}


def test_only_the_winner_and_those_it_met_are_asked_what_is_reported(contest: Path) -> None:
    metrics = night()["evaluation"]["metrics"]
    reported = {name for name, found in metrics.items() if "test" in found}
    assert reported == {"base", "observed", "step_000100"}
    everyone = night(evaluate__report="all", evaluate__budget={"rows": 10**6, "share": None, "minutes": None})
    assert all({"test", "ood"} <= found.keys() for found in everyone["evaluation"]["metrics"].values())
    assert everyone["decision"]["winner"] == "step_000100"


def test_a_budget_cuts_the_samples_and_one_that_is_too_small_is_refused(
    contest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def budget(**limits: float) -> dict[str, Any]:
        return {"rows": None, "share": None, "minutes": None} | limits

    found = night(evaluate__budget=budget(rows=2000))
    assert found["evaluation"]["proof"]["plan"]["gate"] < 8
    assert "WARNING: within 2,000 rows only a gain of" in capsys.readouterr().out
    assert sum(part["rows"] for part in found["evaluation"]["proof"]["spent"].values()) <= 2000
    with pytest.raises(InputError, match=r"does not reach.*at least [\d,]+ rows.*found 50 rows"):
        night(evaluate__budget=budget(rows=50))
    write_json(workspace.TRAIN_METRICS, {"completions": 500})
    assert night(evaluate__budget=budget(share=4.0))["evaluation"]["proof"] == found["evaluation"]["proof"]
    unlimited = night(evaluate__budget=budget(minutes=600))
    assert unlimited["evaluation"]["proof"]["plan"]["gate"] == 8


@pytest.mark.slow
def test_one_engine_gives_the_very_same_files_as_two(contest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()
    shutil.rmtree(workspace.ROWS_CACHE)
    proofs = [read_json(path) for path in (workspace.STATE / "reloads").glob("*.json")]
    timings = night(evaluate__reload=True, evaluate__engines=1)["timings"]
    assert timings["reloads"] >= 4
    assert (folder_sha256(workspace.EVALUATION), workspace.EVALUATION_METRICS.read_bytes()) == before
    assert [proof["exact"] for proof in proofs] == [True]
    assert not (workspace.STATE / "twins").exists()
    said = capsys.readouterr()
    assert "evaluate: making engines ready ..." in said.out
    looks = dict.fromkeys(re.findall(r"((?:race|gate|guards), look \d[^:]*): [\d,]+ rows", said.err))
    assert next(iter(looks)) == "race, look 1"
    assert {
        "gate, look 1 at step_000100",
        "gate, look 2 at step_000100",
        "guards, look 1 at step_000100",
    } <= looks.keys()


@pytest.mark.slow
def test_a_model_that_says_nothing_and_one_that_never_ends_lose_and_the_night_goes_on(contest: Path) -> None:
    shutil.rmtree("candidates")
    tokenizer = AutoTokenizer.from_pretrained("observed")
    changed(Path("observed"), Path("candidates/step_000100"), always(tokenizer.eos_token_id))
    changed(Path("observed"), Path("candidates/step_000200"), always(tokenizer.convert_tokens_to_ids("7")))
    result = night(evaluate__temperature=0.0, evaluate__samples=1, evaluate__pass_k=[1])
    metrics = result["evaluation"]["metrics"]
    silent, endless = metrics["step_000100"]["choose"], metrics["step_000200"]["choose"]
    assert [silent[name]["value"] for name in ("avg_at_1", "unparsable", "truncated")] == [0.0, 1.0, 0.0]
    assert [endless[name]["value"] for name in ("avg_at_1", "unparsable", "truncated")] == [0.0, 0.0, 1.0]
    assert {row["completion"] for row in rows("step_000100")} == {""}
    assert {row["completion"] for row in rows("step_000200")} == {"7" * 12}
    assert result["decision"]["outcome"] != "promote-candidate"


def test_what_is_known_is_not_generated_again_and_what_changed_is(contest: Path) -> None:
    before = workspace.EVALUATION_METRICS.read_bytes()
    assert generated(night()["timings"]) == 0
    assert workspace.EVALUATION_METRICS.read_bytes() == before
    largest = max(workspace.ROWS_CACHE.rglob("*.rows"), key=lambda path: path.stat().st_size)
    largest.unlink()
    assert generated(night()["timings"]) > 0
    assert workspace.EVALUATION_METRICS.read_bytes() == before


def test_every_row_is_kept_with_what_it_was_asked_and_answered(contest: Path) -> None:
    found = rows("observed")
    protocol = read_json(workspace.EVALUATION_METRICS)["protocol"]["suites"]
    reported = sum(protocol[suite]["problems"] * protocol[suite]["samples"] for suite in ("test", "ood"))
    assert sum(row["suite"] in ("test", "ood") for row in found) == reported
    for row in found:
        digits = row["prompt"].removesuffix("=")
        assert row["score"] == float(row["completion"].strip() == "".join(sorted(digits)))
        assert row["finish_reason"] in ("stop", "length")
        assert row["tokens"] <= 12
    assert "seconds" not in found[0]


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


def test_a_champion_whose_weights_are_not_the_registered_ones_is_refused(contest: Path) -> None:
    set_champion(contest / "observed")
    hop.write(hop.Hop(champion=hop.Model(version="3", model_sha256="0" * 64)))
    with pytest.raises(CorruptArtifact, match="not the registered model"):
        night()


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("observed", "checkpoint folder is missing"),
        ("candidates", "no candidates"),
        ("observed/tokenizer.json", "has no tokenizer"),
        ("observed/config.json", "config.json"),
        ("hop.json", "the file is missing"),
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
        decide.run(params.decide)


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
