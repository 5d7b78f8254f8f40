"""`relex register --from`: what a proof decided becomes a version, and champion on its own rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from relex.core.atomic import read_json, write_json
from tests.builders import ROOT
from tests.builders.checkpoints import MODELS, prove, refused, relex
from tests.builders.nights import change_params

pytestmark = pytest.mark.real
REGISTER = ("register", "--from", "proof", "--model", "mine", "--tracking-uri", "sqlite:///mlflow.db")


@pytest.fixture
def project(proven: Path, tmp_path: Path) -> Path:
    """A folder with the proof in it and nothing else; the checkpoints stay where they were proven."""
    shutil.copytree(proven, tmp_path / "proof", ignore=shutil.ignore_patterns(".relex"))
    return tmp_path


def with_params(project: Path) -> None:
    """What `relex promote` and `relex lineage` ask for."""
    shutil.copyfile(ROOT / "params.yaml", project / "params.yaml")
    change_params(project, model="mine")


def test_the_winner_becomes_a_version_once_and_champion_on_its_own_rows(project: Path) -> None:
    done = relex(project, *REGISTER)
    assert done.returncode == 0, done.stderr
    assert "registered: mine version 1" in done.stdout
    again = relex(project, *REGISTER)
    assert "already registered: mine version 1" in again.stdout, again.stderr
    with_params(project)
    shutil.rmtree(project / "proof")  # the version carries its rows itself
    promoted = relex(project, "promote", "1")
    assert promoted.returncode == 0, promoted.stderr
    assert "promoted: mine version 1" in promoted.stdout
    shown = relex(project, "lineage", "mine@champion")
    assert shown.returncode == 0, shown.stderr
    assert "no DVC run stands behind it" in shown.stdout
    assert "step_000200" in shown.stdout  # everyone who was compared, by hash
    refused(relex(project, "rebuild", "mine", "1"), "not in DVC")


def test_a_proof_is_registered_read_and_promoted_without_a_project(project: Path, here: Path) -> None:
    database = ("--tracking-uri", f"sqlite:///{project}/mine.db")
    mine = ("--model", "mine", *database)
    said = relex(project, "history", *mine)
    assert said.stdout == "mine: no champion so far\n", said.stderr
    refused(relex(project, "lineage", "mine/1", *database), "there is no registry", "mine.db")
    assert not (project / "mine.db").exists()
    assert relex(project, "register", "--from", "proof", *mine).returncode == 0
    for command, told in (
        (("lineage", "models:/mine/1"), "no DVC run stands behind it"),
        (("fetch", "mine@challenger", "--out", "got"), "verified, in got"),
        (("promote", "mine/1"), "promoted: mine version 1 is the champion"),
        (("lineage", "mine@champion"), "verified: the model"),
    ):
        done = relex(project, *command, *database)
        assert told in done.stdout, done.stderr
    assert (project / "got/model.safetensors").is_file()
    models = ["--base", "base", "--last", "45=base", "--candidate", "300=checkpoint-45"]
    assert prove(here, "other", models=models).returncode == 0
    assert "version 2" in relex(project, "register", "--from", str(here / "other"), *mine).stdout
    forced = ("--force", "--reason", "to see")
    done = relex(project, "promote", "2", *forced, *mine)
    assert "promoted: mine version 2 is the champion, after version 1" in done.stdout, done.stderr
    done = relex(project, "rollback", "--reason", "seen", *mine)
    assert "rolled back: mine version 1 is the champion" in done.stdout, done.stderr
    told = relex(project, "history", *mine).stdout
    assert [line.split(" by ")[0][22:] for line in told.splitlines()] == [
        "promote: none -> 1",
        "promote: 1 -> 2",
        "rollback: 2 -> 1",
    ]


def test_what_is_not_said_without_a_project_is_asked_for(project: Path) -> None:
    for command in (("history",), ("rollback", "--reason", "x"), ("promote", "1"), ("promote",)):
        refused(relex(project, *command), "--model: nothing says what the registered model is called")
    refused(relex(project, "promote", "mine/1", "--model", "other"), "another model than the version's")
    refused(relex(project, "promote", "--model", "mine"), "nothing says which version")
    refused(relex(project, "rebuild", "mine/1"), "DVC project", "params.yaml")
    assert [path.name for path in project.iterdir()] == ["proof"]


def test_a_folder_that_is_no_finished_proof_says_what_one_is(project: Path) -> None:
    words = [*REGISTER[2:]]
    nowhere = relex(project, "register", "--from", "nowhere", *words[1:])
    refused(nowhere, "nowhere: not the folder of a proof", "no such folder", "--out of a `relex prove`")
    (project / "proof/decision.json").unlink()
    refused(relex(project, *REGISTER), "did not come to its end", "no decision.json", "the same `relex prove` again")
    (project / "proof/evaluate.json").write_text("{}")
    (project / "proof/decision.json").write_text("{}")
    refused(relex(project, *REGISTER), "not the folder of a proof", "`relex prove`")
    (project / "proof/evaluate.json").write_text("{")
    refused(relex(project, *REGISTER), "evaluate.json", "cannot be read as JSON")


def test_rows_that_were_changed_or_lost_in_the_store_promote_nothing(project: Path) -> None:
    assert relex(project, *REGISTER).returncode == 0
    with_params(project)
    (stored,) = (project / "mlartifacts").rglob("proof/rows/step_000100.parquet")
    kept = stored.read_bytes()
    stored.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused(relex(project, "promote", "1"), "a file changed", "step_000100.parquet")
    stored.unlink()
    refused(relex(project, "promote", "1"), "gone from the artifact store")


def test_a_version_that_did_not_meet_the_champion_is_not_promoted(project: Path, here: Path) -> None:
    assert relex(project, *REGISTER).returncode == 0
    with_params(project)
    assert relex(project, "promote", "1").returncode == 0
    models = ["--base", "base", "--last", "45=base", "--candidate", "300=checkpoint-45"]
    assert prove(here, "other", models=models).returncode == 0
    assert read_json(here / "other/decision.json")["promote"]
    done = relex(project, "register", "--from", str(here / "other"))
    assert "registered: mine version 2" in done.stdout, done.stderr
    refused(
        relex(project, "promote", "2"),
        "the champion is version 1, another one than the decision competed with",
        "relex prove --champion",
    )


def test_the_same_model_by_another_proof_is_told_from_the_first(project: Path, here: Path) -> None:
    assert relex(project, *REGISTER).returncode == 0
    assert prove(here, "other", models=[*MODELS[:4], "--candidate", "step_000100"]).returncode == 0
    done = relex(project, *(str(here / "other") if word == "proof" else word for word in REGISTER))
    assert "already registered: mine version 1, by another decision" in done.stdout, done.stderr


def test_a_changed_winner_is_refused(project: Path, made: Path) -> None:
    decision = read_json(project / "proof/decision.json")
    winner = shutil.copytree(made / "step_000100", project / "step_000100")
    (winner / "generation_config.json").write_text(json.dumps({"temperature": 0.1}))
    evaluation = read_json(project / "proof/evaluate.json")
    evaluation["models"]["step_000100"]["folder"] = decision["winner_folder"] = str(winner)
    write_json(project / "proof/evaluate.json", evaluation)
    write_json(project / "proof/decision.json", decision)
    refused(relex(project, *REGISTER), "the model changed after it was proven")
    shutil.rmtree(winner)
    refused(relex(project, *REGISTER), "the winner's folder is gone")
    assert not (project / "mlflow.db").exists()


def test_a_folder_that_does_not_bear_out_its_decision_is_refused(project: Path) -> None:
    proof = project / "proof"
    decision = (proof / "decision.json").read_text()
    write_json(proof / "decision.json", json.loads(decision) | {"winner": "step_000200"})
    refused(relex(project, *REGISTER), "the decision is not what the rows give", "winner")
    (proof / "decision.json").write_text(decision)
    rows = pq.read_table(proof / "rows/step_000100.parquet")
    wrong = rows.set_column(rows.schema.get_field_index("score"), "score", pa.array([0.0] * rows.num_rows))
    pq.write_table(wrong, proof / "rows/step_000100.parquet")
    refused(relex(project, *REGISTER))
    request = read_json(proof / "prove.json")
    write_json(proof / "prove.json", request | {"suites": {}})
    refused(relex(project, *REGISTER), "of other models or problems than were asked for")
    refused(relex(project, "register", "--from", "rows", "--model", "mine"), "prove.json")
    refused(relex(project, "register", "--from", "proof"), "--model")


def test_nothing_is_registered_where_nothing_was_promoted(project: Path, here: Path) -> None:
    models = ["--base", "base", "--last", "45=step_000100", "--candidate", "300=checkpoint-45"]
    assert prove(here, "other", "--champion", "step_000100", models=models).returncode == 0
    done = relex(project, "register", "--from", str(here / "other"), "--model", "mine")
    assert done.returncode == 0, done.stderr
    assert "nothing to register" in done.stdout
    assert not (project / "mlflow.db").exists()


def test_the_names_of_the_registry_go_with_a_proof(project: Path) -> None:
    done = relex(project, "register", "--model", "mine")
    assert done.returncode == 2
    assert "go with --from" in done.stderr
