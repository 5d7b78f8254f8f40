"""`relex prove` as a user types it, on small models that somebody else might have trained."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer

from relex.cli import proving
from relex.cli.app import app
from relex.core.atomic import read_json
from relex.core.digest import folder_sha256
from relex.params.load import load
from relex.proof.rules import Rules
from relex.proving.options import Options
from relex.proving.wording import in_options
from relex.stages.evaluate.row_file import RowFile
from tests.builders import ROOT, checkpoints
from tests.builders.checkpoints import MODELS, arguments, environment, prove, refused
from tests.builders.contests import changed, spoil
from tests.builders.forked import Command

OUTPUTS = ("prove.json", "evaluate.json", "decision.json")


ACCOUNT = "timings/evaluate.json"


def made(proof: Path) -> int:
    """Rows that all calls generated together."""
    return sum(part["rows"] for part in read_json(proof / ACCOUNT).values() if isinstance(part, dict))


def results(proof: Path) -> dict[str, Any]:
    """Everything that is decided, as bytes or their hash."""
    return {name: (proof / name).read_bytes() for name in OUTPUTS} | {"rows": folder_sha256(proof / "rows")}


@pytest.mark.real
def test_a_better_checkpoint_is_found_and_the_folder_holds_all_of_it(proven: Path) -> None:
    decision, evaluation = read_json(proven / "decision.json"), read_json(proven / "evaluate.json")
    assert (decision["outcome"], decision["winner"]) == ("promote-candidate", "step_000100")
    assert Path(decision["winner_folder"]) == proven.parent / "step_000100"
    assert {test["against"] for test in decision["tests"]} == {"observed", "base"}
    sizes = {name: suite["problems"] for name, suite in evaluation["protocol"]["suites"].items()}
    assert sizes == {"choose": 60, "gate": 60, "test": 40, "ood": 40}
    assert set(evaluation["metrics"]["step_000100"]) == set(sizes)
    assert set(evaluation["metrics"]["step_000200"]) == {"choose"}
    rows = pq.read_table(proven / "rows/step_000100.parquet")
    assert set(rows.column("suite").to_pylist()) == set(sizes)
    assert {path.name for path in proven.iterdir()} == {*OUTPUTS, "rows", "report.html", "timings", ".relex"}
    assert not (proven.parent / ".relex").exists()  # nothing is written elsewhere
    page = (proven / "report.html").read_text()
    assert "Proof of checkpoints" in page
    assert decision["sentence"].partition(": ")[0] in page
    assert "suite.jsonl" in page
    assert "candidate 100 (2.2" in page
    assert "step_000100: model" in page  # which folder it is
    assert "forecast 100" not in page  # nothing says what made it
    assert "Champions, night by night" not in page
    assert "Likelihood scan" not in page


@pytest.mark.real
def test_a_second_call_generates_nothing_and_gives_the_same_bytes(proven: Path) -> None:
    before, took, page = results(proven), (proven / ACCOUNT).read_bytes(), (proven / "report.html").read_bytes()
    done = prove(proven.parent, "proof")
    assert (done.returncode, results(proven)) == (0, before)
    assert read_json(proven / "decision.json")["sentence"] in done.stdout
    assert (proven / ACCOUNT).read_bytes() == took  # what the proof took stays what it was
    assert (proven / "report.html").read_bytes() == page


@pytest.mark.real
def test_a_proof_that_is_killed_goes_on_with_its_rows(proven: Path, here: Path) -> None:
    running = Command(arguments("proof"), cwd=here, env=environment(), stdout=subprocess.DEVNULL)
    kept = here / "proof/.relex/rows"
    while running.poll() is None and not any(path.stat().st_size > 20_000 for path in kept.rglob("*.rows")):
        time.sleep(0.05)
    running.kill_all()  # none goes on adding rows
    first, known = made(here / "proof"), sum(len(RowFile(path).keys()) for path in kept.rglob("*.rows"))
    seconds = read_json(here / "proof" / ACCOUNT)["seconds"]
    done = prove(here, "proof")
    assert done.returncode == 0, done.stderr
    everything = sum(part["rows"] for part in read_json(proven / "evaluate.json")["proof"]["spent"].values())
    assert 0 < known < everything
    assert first > 0
    assert made(here / "proof") == first + everything - known  # both calls count
    assert read_json(here / "proof" / ACCOUNT)["seconds"] > seconds
    assert folder_sha256(here / "proof/rows") == folder_sha256(proven / "rows")


@pytest.mark.real
def test_nothing_better_ends_well_too(here: Path) -> None:
    models = ["--base", "base", "--last", "45=step_000100", "--candidate", "300=checkpoint-45"]
    done = prove(here, "proof", "--champion", "step_000100", models=models)
    assert done.returncode == 0, done.stderr
    decision = read_json(here / "proof/decision.json")
    assert (decision["promote"], decision["winner"]) == (False, "champion")
    assert "Keep the champion" in done.stdout
    assert [one["name"] for one in decision["candidates"]] == ["step_000300"]


@pytest.mark.real
def test_weights_that_are_damaged_or_no_numbers_are_all_named_before_any_work(here: Path) -> None:
    changed(here / "step_000100", here / "step_000300", spoil)
    shutil.copytree(here / "step_000100", here / "step_000400")
    os.truncate(here / "step_000400/model.safetensors", 200_000)
    done = prove(here, "proof", models=[*MODELS, "--candidate", "step_000300", "--candidate", "step_000400"])
    refused(done, "2 problems", "step_000300: model.layers.1", "NaN", "step_000400/model.safetensors", "truncated")
    assert not (here / "proof").exists()


@pytest.mark.real
def test_another_request_is_not_mixed_with_the_rows_of_one(proven: Path) -> None:
    before = results(proven)
    refused(prove(proven.parent, "proof", "--min-gain", "0.0"), "the folder holds another proof", "decide")
    refused(prove(proven.parent, "proof", "--proof-samples", "16"), "evaluate")
    refused(prove(proven.parent, "proof", models=MODELS[:-2]), "models")
    assert results(proven) == before


@pytest.mark.real
def test_a_folder_that_holds_something_else_stays_as_it_is(here: Path) -> None:
    (here / "thesis").mkdir()
    (here / "thesis/chapter").write_text("one")
    refused(prove(here, "thesis"), "the folder holds something else")
    assert [path.name for path in (here / "thesis").iterdir()] == ["chapter"]


@pytest.mark.real
def test_every_folder_that_will_not_do_is_named_at_once(here: Path) -> None:
    (here / "empty").mkdir()
    models = ["--base", "empty", "--last", "45=nowhere", "--candidate", "step_000100", "--candidate", "base"]
    refused(prove(here, "proof", models=models), "3 problems", "empty", "nowhere", "optimiser step")
    assert not (here / "proof").exists()


@pytest.mark.real
def test_a_step_that_nothing_says_is_to_be_written_before_the_folder(here: Path) -> None:
    models = ["--base", "base", "--last", "base", "--candidate", "base"]
    done = prove(here, "proof", models=models)
    refused(done, "--last STEP=base, with the step that it was trained to", "--candidate STEP=base, with its step")
    models = ["--base", "base", "--last", "runs/last", "--candidate", "step_000100"]
    refused(prove(here, "proof", models=models), "--last runs/last: the folder is missing")


@pytest.mark.real
def test_the_weights_are_found_inside_a_trainer_s_layout(here: Path) -> None:
    for step, name in ((45, "checkpoint-45"), (100, "step_000100")):
        (here / f"run/global_step_{step}/actor").mkdir(parents=True)
        shutil.copytree((here / name).resolve(), here / f"run/global_step_{step}/actor/huggingface")
    models = ["--base", "base", "--last", "run/global_step_45", "--candidate", "run/global_step_100/"]
    done = prove(here, "proof", models=models)
    assert done.returncode == 0, done.stderr
    known = read_json(here / "proof/evaluate.json")["models"]
    assert known["observed"]["folder"] == str(here / "run/global_step_45/actor/huggingface")
    assert (known["observed"]["step"], known["step_000100"]["step"]) == (45, 100)


@pytest.mark.real
def test_what_is_no_whole_checkpoint_is_named_with_what_makes_one(here: Path) -> None:
    (here / "checkpoint-50").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (here / "checkpoint-50" / name).write_text("{}")
    (here / "run/global_step_60/actor").mkdir(parents=True)
    (here / "run/global_step_60/actor/model_world_size_2_rank_0.pt").write_text("")
    models = ["--base", "base", "--last", "checkpoint-50", "--candidate", "run/global_step_60"]
    done = prove(here, "proof", models=models)
    refused(done, "2 problems", "--last", "an adapter", "relex materialize", "verl.model_merger")


@pytest.mark.real
def test_a_candidate_that_is_given_already_is_refused_before_anything_is_generated(here: Path) -> None:
    models = [*MODELS, "--candidate", "300=step_000100", "--candidate", "400=base", "--candidate", "500=checkpoint-45"]
    done = prove(here, "proof", models=models)
    refused(done, "3 problems", "the same folder as --candidate", "the same folder as --base", "as --last")
    shutil.copytree((here / "step_000100").resolve(), here / "step_000300")
    done = prove(here, "proof", models=[*MODELS, "--candidate", "step_000300"])
    refused(done, "--candidate", "step_000300", "the same weights", "step_000100")
    assert not (here / "proof").exists()


@pytest.mark.real
def test_a_model_with_another_tokenizer_is_refused(here: Path) -> None:
    (here / "step_000100").unlink()
    shutil.copytree((here / "step_000200").resolve(), here / "step_000100")
    path = here / "step_000100/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["1"], vocabulary["2"] = vocabulary["2"], vocabulary["1"]
    path.write_text(json.dumps(tokenizer))
    refused(prove(here, "proof"), "another tokenizer than the base's", "step_000100")


@pytest.mark.real
def test_problems_that_will_not_do_are_refused(here: Path) -> None:
    checkpoints.table(here / "one.jsonl", [("321=", "123")])
    refused(prove(here, "proof", "--suite", "one.jsonl"), "too small to split")
    wrong = prove(here, "proof", "--answer", "label")
    refused(wrong, "--suite", "a column is missing", "label", "question, solution", "--answer")
    refused(prove(here, "proof", "--problem", "prompt"), "'prompt'", "question, solution", "with --problem")
    refused(prove(here, "proof", "--suite", "nowhere.csv"), "--suite: nowhere.csv: the file is missing")
    refused(prove(here, "proof", "--ood", "suite.jsonl"), "--ood", "a prompt stands in two roles")
    refused(prove(here, "proof", "--suite", "trained.jsonl"), "a prompt stands in two roles", "train")
    checkpoints.table(here / "words.jsonl", [(f"{number}=", "many") for number in range(20)])
    refused(prove(here, "proof", "--suite", "words.jsonl", "--scorer", "integer"), "many", "--scorer")
    assert not (here / "proof").exists()


@pytest.mark.real
def test_options_that_are_impossible_are_named_as_they_are_typed(here: Path) -> None:
    refused(prove(here, "proof", "--alpha", "0.7"), "--alpha")
    refused(prove(here, "proof", "--template", "Sort."), "--template")
    refused(prove(here, "proof", "--system", "Be brief."), "--system: it goes into the chat template", "--chat")
    refused(prove(here, "proof", "--max-tokens", "100000"), "no room", "--max-tokens")
    few = prove(here, "made-here/proof", "--rows", "10")
    refused(few, "--rows: --rows does not reach", "10 rows", "raise --rows")
    assert "evaluate." not in few.stderr
    assert not (here / "made-here").exists()  # nothing of it is left
    done = prove(here, "proof", "--rows", "4000")  # nothing was generated for the ten: they are no other proof
    assert not {word for word in ("evaluate.", "decide.", "params.yaml") if word in done.stdout + done.stderr}
    assert done.returncode == 0, done.stderr


@pytest.mark.real
@pytest.mark.slow
def test_it_proves_with_vllm(here: Path) -> None:
    done = prove(here, "proof", "--backend", "vllm")
    assert done.returncode == 0, done.stderr
    assert read_json(here / "proof/decision.json")["winner"] == "step_000100"
    assert not (here / ".relex").exists()


def test_every_key_that_a_stage_may_name_is_said_as_an_option() -> None:
    keys = [f"evaluate.{key}" for key in ("budget", "budget.rows", "proof.first", "proof.samples", "dtype", "engines")]
    keys += [f"decide.{key}" for key in Rules.model_fields]
    keys += [f"evaluate.{key}" for key in ("max_tokens", "tensor_parallel", "gate_share", "seed", "temperature")]
    flags = {f"--{name.replace('_', '-')}" for name in inspect.signature(proving.prove).parameters}
    said = {key: in_options(key) for key in keys}
    assert {key: flag for key, flag in said.items() if flag not in flags} == {}
    for role in ("validation", "choose", "gate", "test", "ood"):
        assert in_options(f"suite {role}, problem 3").partition(",")[0] in flags


def test_the_flags_are_the_options_and_begin_where_they_do() -> None:
    flags = {flag.name: flag.default for flag in typer.main.get_command(app).commands["prove"].params}
    named = set(inspect.signature(proving.prove).parameters)
    about = {"base", "last", "candidate", "champion", "suite", "ood", "test", "train", "problem", "answer", "out"}
    assert named == set(Options.__dataclass_fields__) | about
    options = Options()
    assert {name: flags[name] for name in Options.__dataclass_fields__} == vars(options)


def test_what_must_be_proven_is_what_the_committed_parameters_ask() -> None:
    params = load(ROOT / "params.yaml")
    assert Options().rules == params.decide
    proof = params.evaluate.proof
    options = Options()
    asked = options.first, options.race_samples, options.proof_samples
    assert asked == (proof.first, proof.race_samples, proof.samples)
    names = ("gate_share", "seed", "samples", "temperature", "top_p", "backend")
    assert {name: getattr(options, name) for name in names} == {name: getattr(params.evaluate, name) for name in names}
