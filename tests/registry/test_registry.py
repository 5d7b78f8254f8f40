"""Register, promote, roll back, fetch on a registry in a SQLite file, with real (tiny) checkpoints."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from relex.core.errors import CorruptArtifact, InputError
from relex.core.hop import Model
from relex.params.load import Params
from relex.registry.champion import put
from relex.registry.fetch import fetch
from relex.registry.history import history
from relex.registry.lineage import lineage
from relex.registry.promotion import promote, rollback
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import log as registry_log
from relex.registry.store import nights_view
from relex.registry.store import versions as registry_versions
from relex.registry.store.connection import Connection
from tests.builders.nights import change_params, finish_night, make_project, meet_champion
from tests.builders.project import wait_for

pytestmark = pytest.mark.real


def connect(params: Params) -> Connection:
    return registry_client.connect(params)


def state(params: Params) -> dict[str, str | None]:
    return registry_versions.aliases(connect(params))


def promote_two(project: Path, params: Params) -> tuple[str, str]:
    """Two nights, each promoted; the weights of versions 1 and 2."""
    first = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    meet_champion(params)
    second = finish_night(project, 2, champion=first)
    register(params)
    promote(params)
    return first, second


def test_a_registered_model_loads_with_the_usual_clients_and_carries_all_that_is_promised(
    project: Path, params: Params
) -> None:
    weights = finish_night(project, 1, champion=None)
    assert "version 1" in register(params)
    assert promote(params) == "promoted: sort-digits version 1 is the champion"

    pipeline = mlflow.transformers.load_model("models:/sort-digits@champion")
    assert pipeline("312=", max_new_tokens=3, do_sample=False)[0]["generated_text"].startswith("312=")
    served = mlflow.pyfunc.load_model("models:/sort-digits@champion")
    assert {column.name for column in served.metadata.signature.inputs} >= {"prompt", "max_tokens"}
    assert served.input_example["prompt"] == "312="
    assert served.predict(served.input_example)[0]["choices"]

    version = connect(params).client.get_model_version_by_alias("sort-digits", "champion")
    assert version.tags["model_sha256"] == weights
    assert version.tags["window"] == "1-3, 3 steps"
    lineage = json.loads(version.tags["lineage"])
    assert lineage.keys() >= {
        *("base_weights_sha256", "trajectory_sha256", "window_steps", "codec", "rank", "fit", "target"),
        *("decision_sha256", "software", "params_sha256"),
    }
    assert lineage["trajectory_sha256"] in version.description
    card = Path(mlflow.artifacts.download_artifacts("models:/sort-digits@champion/model/README.md")).read_text()
    assert "step 20" in card
    reported = json.loads(Path("metrics/evaluate.json").read_text())["metrics"]["step_000020"]["test"]["avg_at_4"]
    assert f"{reported['value']:.3f} ({reported['low']:.3f} to {reported['high']:.3f})" in card
    description = Path(mlflow.artifacts.download_artifacts("models:/sort-digits@champion/MLmodel")).read_text()
    assert str(project / "candidates") not in description


def test_the_same_night_registers_once_and_logs_one_run_with_its_children(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    first = register(params)
    again = register(params)
    assert "already registered: sort-digits version 1" in again
    assert first.split("run ")[1] == again.split("run ")[1]
    connection = connect(params)
    assert len(registry_versions.versions(connection)) == 1
    experiment = connection.client.get_experiment_by_name("nightly")
    runs = connection.client.search_runs([experiment.experiment_id])
    kinds = sorted(run.data.tags["relex.kind"] for run in runs)
    assert kinds == ["evaluate", "evaluate", "evaluate", "night", "train"]
    evaluated = {run.data.tags["relex.model"]: run for run in runs if run.data.tags["relex.kind"] == "evaluate"}
    assert evaluated.keys() == {"base", "observed", "step_000020"}
    assert evaluated["step_000020"].data.params["kind"] == "candidate"
    measured = json.loads(Path("metrics/evaluate.json").read_text())["metrics"]
    low = measured["step_000020"]["test"]["avg_at_4"]["low"]
    assert evaluated["step_000020"].data.metrics["eval_interval/test/avg_at_4_low"] == pytest.approx(low)
    assert "optimiser step 20" in evaluated["step_000020"].data.tags["mlflow.note.content"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    train = next(run for run in runs if run.data.tags["relex.kind"] == "train")
    rewards = connection.client.get_metric_history(train.info.run_id, "train/reward")
    assert [(metric.step, metric.value) for metric in rewards] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    night = next(run for run in runs if run.data.tags["relex.kind"] == "night")
    figures = night.data.metrics
    for model, called in (("step_000020", "winner"), ("observed", "observed"), ("base", "base")):
        for suite in ("test", "ood"):
            share = measured[model][suite]["avg_at_4"]["value"]
            assert figures[f"reported/{called}/{suite}"] == pytest.approx(share)
    headline = json.loads(Path("metrics/headline.json").read_text())
    assert 10 <= len(headline) <= 14
    assert {name: value for name, value in figures.items() if "/" not in name} == pytest.approx(headline)
    assert figures["eval/test/avg_at_4"] == figures["reported/winner/test"] == headline["test"]
    decision = json.loads(Path("metrics/decision.json").read_text())
    test = next(test for test in decision["tests"] if test["against"] == "observed")
    assert figures["gate/candidate_against_observed/gain"] == pytest.approx(test["gain"])
    assert figures["gate_interval/candidate_against_observed/low"] == pytest.approx(test["low"])
    for part in ("race", "gate", "guards"):
        assert figures[f"proof/{part}/rows"] == decision["spent"][part]
    assert figures["proof/rows"] == sum(decision["spent"].values())
    assert figures["proof/report/tokens"] > 0
    assert night.data.metrics["train/reward_last"] == pytest.approx(0.3)
    assert night.info.run_name.startswith("1.1 step_000020 2")
    assert next(iter(night.data.metrics)) in headline  # what MLflow's comparison begins with
    shown = json.loads(connection.client.get_experiment(experiment.experiment_id).tags[nights_view.TAG])
    columns = {name[len("metrics.`") : -1] for name in shown["selectedColumns"] if name.startswith("metrics.")}
    assert columns <= headline.keys() | {"skill"}  # of which this night's training kept no record
    page = json.loads(Path(".relex/nights.json").read_text())["page"]
    assert page == f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=nights"
    (model,) = connection.client.search_logged_models([experiment.experiment_id])
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "sort-digits", "version": "1"}]
    assert model.params["window"] == "1-3, 3 steps"
    assert {metric.key for metric in model.metrics} >= {"eval/test/avg_at_4", "eval_interval/ood/avg_at_4_high"}
    assert {item.dataset.name for item in night.inputs.dataset_inputs} >= {"problems/test", "problems/ood"}


def test_a_registration_that_was_killed_before_its_version_is_repeated_with_more_than_100_metrics(
    project: Path, params: Params
) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    connection = connect(params)
    (model,) = connection.client.search_logged_models([connection.experiment_id("nightly")])
    before = {metric.key: metric.value for metric in model.metrics}
    assert len(before) > 100  # beyond so many, MLflow's database takes a repetition for an error
    connection.client.delete_registered_model("sort-digits")
    assert "registered: sort-digits version 1" in register(params)
    (model,) = connection.client.search_logged_models([connection.experiment_id("nightly")])
    assert sorted(metric.key for metric in model.metrics) == sorted(before)


def test_two_promotions_and_a_rollback_give_the_right_aliases_statuses_and_history(
    project: Path, params: Params
) -> None:
    first, second = promote_two(project, params)
    assert state(params) == {"champion": "2", "previous": "1", "challenger": None}
    assert rollback(params, reason="complaints").startswith("rolled back: sort-digits version 1")
    assert state(params) == {"champion": "1", "previous": None, "challenger": None}

    lines = [json.loads(line) for line in Path("history.jsonl").read_text().splitlines()]
    assert [(line["what"], line["from"], line["to"]) for line in lines] == [
        ("promote", None, "1"),
        ("promote", "1", "2"),
        ("rollback", "2", "1"),
    ]
    measured = json.loads(Path("metrics/evaluate.json").read_text())["metrics"]["step_000020"]
    share = {suite: measured[suite]["avg_at_4"]["value"] for suite in ("test", "ood")}
    assert lines[1]["right"] == pytest.approx(share)  # of the second night, whose files stand
    assert lines[2]["right"] == lines[0]["right"]
    assert lines[0]["right"].keys() == {"test", "ood"}
    assert [line["model_sha256"] for line in lines] == [first, second, first]
    assert lines[2]["why"] == "complaints"
    assert lines[1]["run"]
    assert lines[1]["decision_sha256"]
    connection = connect(params)
    page = connection.client.get_registered_model("sort-digits").description
    assert [row.split(" | ")[1:4] for row in page.splitlines()[4:]] == [
        ["rollback", "2", "1"],
        ["promote", "1", "2"],
        ["promote", "none", "1"],
    ]
    statuses = {version.number: version.tags["status"] for version in registry_versions.versions(connection)}
    assert statuses == {"1": "champion", "2": "registered"}
    assert "version 1 was champion at 2" in history(params, "2999-01-01")
    assert history(params, "2001-01-01") == "sort-digits: no champion at 2001-01-01T23:59:59Z"


def test_the_history_is_read_whole_and_nothing_is_written(project: Path, params: Params) -> None:
    promote_two(project, params)
    whole = history(params)
    page = connect(params).client.get_registered_model("sort-digits").last_updated_timestamp
    kept = Path("history.jsonl").read_text().splitlines(keepends=True)
    Path("history.jsonl").write_text(kept[0])  # as in a checkout that did not make the second promotion
    assert history(params) == whole
    assert Path("history.jsonl").read_text() == kept[0]
    assert connect(params).client.get_registered_model("sort-digits").last_updated_timestamp == page
    Path("history.jsonl").unlink()
    assert "version 2 was champion" in history(params, "2999-01-01")
    assert not Path("history.jsonl").exists()


@pytest.mark.parametrize("version", ["2", "sort-digits/2", "models:/sort-digits/2", "sort-digits@challenger"])
def test_a_version_is_named_to_a_promotion_in_every_way(project: Path, params: Params, version: str) -> None:
    first = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    finish_night(project, 2, champion=first)
    register(params)
    assert promote(params, version) == "promoted: sort-digits version 2 is the champion, after version 1"


def test_a_decision_that_was_rolled_back_does_not_promote_again_unless_forced_with_a_reason(
    project: Path, params: Params
) -> None:
    promote_two(project, params)
    rollback(params, reason="complaints")
    assert "taken back since" in promote(params)
    with pytest.raises(InputError, match="taken back since"):
        promote(params, "2")
    with pytest.raises(InputError, match="needs its reason"):
        promote(params, "2", force=True)
    assert "version 2 is the champion" in promote(params, "2", force=True, reason="it was the network")
    last = json.loads(Path("history.jsonl").read_text().splitlines()[-1])
    assert last["forced"] is True
    assert last["why"] == "it was the network"


def test_a_night_that_keeps_the_champion_registers_nothing_and_is_logged_once(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None, promote=False)
    assert "nothing to register: keep-champion" in register(params)
    assert "nothing to register: keep-champion" in register(params)
    assert promote(params).startswith("not promoted: keep-champion. Promote nothing: nothing was proven better.")
    connection = connect(params)
    assert registry_versions.versions(connection) == []
    experiment = connection.client.get_experiment_by_name("nightly")
    nights = connection.client.search_runs([experiment.experiment_id], "tags.`relex.kind` = 'night'")
    assert len(nights) == 1


def test_the_champion_comes_with_its_weights_which_are_fetched_once(
    template: Path, project: Path, params: Params
) -> None:
    Path("mlflow.db").unlink()
    assert meet_champion(params) is None
    assert not Path("mlflow.db").exists()
    shutil.copy(template / "mlflow.db", "mlflow.db")
    model = finish_night(project, 1, champion=None)
    register(params)
    assert meet_champion(params) is None
    assert not Path("champion").exists()
    promote(params)
    assert meet_champion(params) == Model(version="1", model_sha256=model)
    written = Path("champion/model.safetensors").stat().st_mtime_ns
    meet_champion(params)
    assert Path("champion/model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(CorruptArtifact, match="another model under this number"):
        put(params, Model(version="1", model_sha256="0" * 64), Path("start"))
    assert not Path("start").exists()


def test_a_night_whose_champion_was_replaced_meanwhile_says_so_and_changes_nothing(
    project: Path, params: Params
) -> None:
    promote_two(project, params)
    finish_night(project, 3, champion="d" * 64)
    register(params)
    before = state(params)
    assert "another one than the decision competed with" in promote(params)
    assert state(params) == before


def test_a_model_that_changed_after_its_evaluation_is_refused_and_nothing_is_logged(
    project: Path, params: Params
) -> None:
    finish_night(project, 1, champion=None)
    path = Path("candidates/step_000020/model.safetensors")
    path.chmod(0o644)
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(InputError, match="changed after it was evaluated"):
        register(params)
    assert connect(params).client.get_experiment_by_name("nightly") is None


def test_weights_without_a_decision_are_not_promoted(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    client = connect(params).client
    source = client.get_model_version("sort-digits", "1").source
    client.create_model_version("sort-digits", source, tags={"model_sha256": "e" * 64})
    with pytest.raises(InputError, match="no passing decision for exactly this model") as caught:
        promote(params, "2")
    assert caught.value.exit_code == 2
    assert state(params)["champion"] is None


def test_promotion_and_rollback_refuse_a_version_whose_files_are_gone(project: Path, params: Params) -> None:
    promote_two(project, params)
    for weights in Path("mlartifacts/models").glob("*/artifacts/model/model.safetensors"):
        weights.unlink()
    before = state(params)
    with pytest.raises(InputError, match="files are gone"):
        rollback(params, reason="complaints")
    with pytest.raises(InputError, match="files are gone"):
        promote(params, "1", force=True, reason="x")
    with pytest.raises(InputError):
        fetch(params, "sort-digits@champion", project / "got")
    assert not Path("got").exists()
    assert state(params) == before


def test_fetch_refuses_weights_that_were_changed_in_the_store_and_leaves_nothing(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    assert "verified" in fetch(params, "models:/sort-digits@challenger", project / "good")
    assert json.loads(Path("good/lineage.json").read_text())["step"] == 20
    (path,) = Path("mlartifacts/models").glob("*/artifacts/model/model.safetensors")
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(CorruptArtifact, match="not the one that was evaluated"):
        fetch(params, "sort-digits/1", project / "got")
    assert not Path("got").exists()


def test_lineage_is_printed_when_all_of_it_still_holds_and_names_what_changed(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    text = lineage(params, "sort-digits/1")
    assert "trajectory_sha256" in text
    assert "verified" in text
    connect(params).client.set_model_version_tag("sort-digits", "1", "window", "1-9, 9 steps")
    with pytest.raises(CorruptArtifact, match="a tag changed"):
        lineage(params, "sort-digits/1")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/sort-digits@latest", "reserves this alias"),
        ("models:/sort-digits@v3", "reserves this alias"),
        ("models:/sort-digits@nobody", "no such version"),
        ("models:/sort-digits/9", "no such version"),
        ("models:/unknown@champion", "no such registered model"),
        ("models:/../../etc@champion", "not the name of a registered model"),
        ("models:/..@champion", "not the name of a registered model"),
        ("sort-digits", "not the name of a registered model"),
        ("models:/sort-digits/one", "not a version number"),
    ],
)
def test_a_reference_that_names_nothing_is_refused(project: Path, params: Params, model: str, message: str) -> None:
    connection = connect(params)
    connection.client.create_registered_model("sort-digits")
    connection.client.create_model_version("sort-digits", str(project / "base"))
    with pytest.raises(InputError, match=message):
        fetch(params, model, project / "got")


def test_a_decision_that_points_outside_the_project_is_refused(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    path = Path("metrics/decision.json")
    for folder in ("../elsewhere", str(project / "candidates"), "candidates/../../elsewhere"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "winner_folder": folder}))
        with pytest.raises(InputError, match="leaves the project"):
            register(params)


def test_an_alias_that_was_moved_by_other_means_is_seen_and_recorded(project: Path, params: Params) -> None:
    promote_two(project, params)
    connect(params).client.set_registered_model_alias("sort-digits", "champion", "1")
    meet_champion(params)
    last = json.loads(Path("history.jsonl").read_text().splitlines()[-1])
    assert (last["what"], last["from"], last["to"]) == ("outside", "2", "1")
    assert [slot.outcome for slot in registry_log.read(connect(params))] == ["done"] * 3


def test_an_unreachable_registry_loses_nothing_and_never_shows_credentials(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_night(project, 1, champion=None)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = change_params(project, tracking_uri="http://somebody:hunter2@127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached") as caught:
        register(away)
    assert "hunter2" not in str(caught.value)
    assert "relex register" in str(caught.value)
    with pytest.raises(InputError, match="cannot be reached") as caught:
        meet_champion(away)
    assert "hunter2" not in str(caught.value)
    assert "version 1" in register(params)  # and the night's work is still there


def test_a_full_disk_while_logging_is_reported_and_the_next_register_completes_the_work(
    project: Path, params: Params
) -> None:
    finish_night(project, 1, champion=None)
    store = project / "mlartifacts"
    store.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", store], capture_output=True)
    if mounted.returncode:
        pytest.skip("this test needs a small file system of its own, and may not mount one")
    try:
        filler = store / "filler"
        filler.write_bytes(bytes(1_000_000 - Path("candidates/step_000020/model.safetensors").stat().st_size))
        with pytest.raises(InputError, match="the disk is full") as caught:
            register(params)
        assert "relex register" in str(caught.value)
        assert registry_versions.versions(connect(params)) == []
        filler.unlink()
        assert "registered: sort-digits version 1" in register(params)
        assert "verified" in lineage(params, "sort-digits/1")
    finally:
        subprocess.run(["umount", store], check=True)


def test_credentials_are_in_nothing_that_is_logged(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    secret = params.registry.model_copy(update={"tracking_uri": f"sqlite:///{project}/mlflow.db?password=hunter2"})
    register(params.model_copy(update={"registry": secret}))
    run = connect(params).client.search_runs(["1"], "tags.`relex.kind` = 'night'")[0]
    assert "hunter2" not in json.dumps(run.to_dictionary())
    assert run.data.params["registry.tracking_uri"].endswith("password=***")


def test_a_secret_in_the_parameters_is_in_nothing_that_a_night_uploads(project: Path) -> None:
    params = change_params(project, tracking_uri=f"sqlite:///{project}/mlflow.db?password=hunter2")
    assert "hunter2" in Path("params.yaml").read_text()
    finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    uploaded = [path for path in Path("mlartifacts").rglob("*") if path.is_file()]
    assert "params.yaml" in {path.name for path in uploaded}
    kept = [Path("mlflow.db"), Path("history.jsonl"), *(path for path in Path(".relex").rglob("*") if path.is_file())]
    assert [path for path in uploaded + kept if b"hunter2" in path.read_bytes()] == []


_CONNECT = """
from pathlib import Path
from relex.params.load import load
from relex.registry.store.connection import connect
"""


def test_a_registry_whose_making_was_killed_is_made_whole_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    params = change_params(Path())
    code = _CONNECT + "connect(load(Path('params.yaml'))).client.search_experiments()"
    generator = random.Random(0)
    for _ in range(4):
        making = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        seen = wait_for(lambda p=making: any(Path().glob(".tmp-mlflow.db*")) or p.poll() is not None)
        assert seen
        time.sleep(generator.uniform(0.0, 1.5))
        making.kill()
        making.wait()
        if Path("mlflow.db").is_file():
            Path("mlflow.db").unlink()  # it was quicker than the kill
    assert connect(params).client.search_experiments()
    assert [path.name for path in Path().glob(".tmp-*")] == []


def test_two_that_make_the_registry_together_find_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    change_params(Path())
    code = _CONNECT + "print(len(connect(load(Path('params.yaml'))).client.search_experiments()))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["1\n", "1\n"]


def test_a_damaged_registry_is_named_as_damaged(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    Path("mlflow.db").write_bytes(b"not a database, and long enough to be taken for one " * 40)
    with pytest.raises(InputError, match="database is damaged"):
        register(params)


def test_the_lineage_of_a_version_whose_base_was_fetched_from_the_registry_is_verified(
    project: Path, params: Params
) -> None:
    """A fetched base carries its own lineage.json and card, which are not the new version's."""
    for name in ("lineage.json", "README.md"):
        (project / "base" / name).write_text(json.dumps({"of": "another version"}))
    finish_night(project, 1, champion=None)
    assert not Path("candidates/step_000020/lineage.json").exists()
    Path("candidates/step_000020/lineage.json").write_text("{}")  # as candidates of earlier versions hold it
    register(params)
    assert "verified" in lineage(params, "sort-digits/1")
    assert "verified" in fetch(params, "sort-digits/1", project / "got")
    assert json.loads(Path("got/lineage.json").read_text())["step"] == 20
