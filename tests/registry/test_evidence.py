"""What a registration and a promotion rest on: the whole model, the rows, what DVC recorded; nothing on its word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from relex.checkpoints.digest import model_sha256, weights_sha256
from relex.core.atomic import read_json, write_json
from relex.core.errors import CorruptArtifact, InputError
from relex.params.load import Params
from relex.registry.fetch import fetch, fetch_to_serve
from relex.registry.lineage import lineage
from relex.registry.promotion import promote, rollback
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import versions
from tests.builders.nights import finish_night, meet_champion, record

pytestmark = pytest.mark.real

WINNER = Path("candidates/step_000020")
DECISION, EVALUATION = Path("metrics/decision.json"), Path("metrics/evaluate.json")


def swap_digits(folder: Path) -> None:
    """Two digits of the vocabulary change places: same weights, other words."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["1"], vocabulary["2"] = vocabulary["2"], vocabulary["1"]
    path.write_text(json.dumps(tokenizer))


def other_rope(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 77.0}))


def other_generation(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))


def chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content | upper }}")


CHANGES = [swap_digits, other_rope, other_generation, chat_template]


@pytest.mark.parametrize("change", CHANGES)
def test_a_candidate_whose_words_or_shape_changed_after_its_evaluation_is_not_registered(
    project: Path, params: Params, change: Callable[[Path], None]
) -> None:
    finish_night(project, 1, champion=None)
    weights = weights_sha256(WINNER)
    change(WINNER)
    assert weights_sha256(WINNER) == weights
    with pytest.raises(InputError, match="changed after it was evaluated.*configuration and tokenizer"):
        register(params)
    assert registry_client.connect(params).client.search_registered_models() == []


def test_a_registered_model_whose_tokenizer_was_changed_in_the_store_is_refused_wherever_it_is_used(
    project: Path, params: Params
) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    (stored,) = Path("mlartifacts/models").glob("*/artifacts/model")
    swap_digits(stored)
    for use in (
        lambda: fetch(params, "sort-digits@champion", project / "got"),
        lambda: fetch_to_serve(params, "sort-digits@champion"),
        lambda: lineage(params, "sort-digits@champion"),
        lambda: meet_champion(params),
    ):
        with pytest.raises(CorruptArtifact, match="weights, configuration or tokenizer"):
            use()
    assert not Path("got").exists()
    assert not Path("champion").exists()


def test_a_tokenizer_that_only_mlflow_reads_is_part_of_the_lineage(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    assert "verified" in lineage(params, "sort-digits/1")
    (stored,) = Path("mlartifacts/models").glob("*/artifacts/components/tokenizer")
    swap_digits(stored)
    with pytest.raises(CorruptArtifact, match=r"components/tokenizer/tokenizer\.json"):
        lineage(params, "sort-digits/1")


def test_a_champion_whose_tokenizer_was_changed_here_is_fetched_again(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    champion = meet_champion(params)
    swap_digits(Path("champion"))
    assert meet_champion(params) == champion
    assert model_sha256(Path("champion")) == champion.model_sha256


def test_the_same_weights_under_another_tokenizer_are_another_version(project: Path, params: Params) -> None:
    first = finish_night(project, 1, champion=None)
    weights = weights_sha256(WINNER)
    register(params)
    swap_digits(Path("base"))
    second = finish_night(project, 1, champion=None)
    assert weights_sha256(WINNER) == weights
    assert first != second
    assert "version 2" in register(params)


def test_cards_licences_and_lineages_are_not_part_of_what_a_model_is(project: Path, params: Params) -> None:
    before = model_sha256(Path("base"))
    for name in ("README.md", "LICENSE", "LICENSE.txt", "NOTICE", "lineage.json"):
        (Path("base") / name).write_text("{}")
    assert model_sha256(Path("base")) == before


def forged(winner: str, folder: str) -> dict[str, object]:
    models = read_json(EVALUATION)["models"]
    return read_json(DECISION) | {
        "winner": winner,
        "winner_kind": "candidate",
        "winner_folder": folder,
        "winner_model_sha256": models[winner]["model_sha256"],
    }


def test_a_decision_edited_to_another_winner_is_neither_registered_nor_promoted(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    write_json(DECISION, forged("base", "base"))
    for action in (register, promote):
        with pytest.raises(InputError, match="decision.json: it is not what the night made.*dvc.lock"):
            action(params)
    record(project)  # whoever edits the lock too meets the rows
    for action in (register, promote):
        with pytest.raises(CorruptArtifact, match="not what the rows give"):
            action(params)
    assert versions.aliases(registry_client.connect(params))["champion"] is None


def test_a_refused_night_edited_to_a_promotion_is_not_registered(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None, promote=False)
    edited = forged("step_000020", WINNER.as_posix()) | {"promote": True, "outcome": "promote-candidate"}
    write_json(DECISION, edited)
    record(project)
    with pytest.raises(CorruptArtifact, match="not what the rows give.*nothing was proven better"):
        register(params)


def test_metrics_that_name_another_folder_for_the_winner_are_refused(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    evaluation = read_json(EVALUATION)
    evaluation["models"]["step_000020"]["folder"] = "base"
    write_json(EVALUATION, evaluation)
    write_json(DECISION, read_json(DECISION) | {"winner_folder": "base"})
    with pytest.raises(InputError, match="not what the night made"):
        register(params)
    record(project)
    with pytest.raises(InputError, match="changed after it was evaluated"):
        register(params)


def test_rows_that_changed_or_belong_to_another_model_are_refused(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    rows = Path("evaluation/rows")
    table = pq.read_table(rows / "observed.parquet")
    shutil.copy(rows / "step_000020.parquet", rows / "observed.parquet")
    with pytest.raises(InputError, match="evaluation: it is not what the night made"):
        register(params)
    record(project)
    with pytest.raises(InputError, match="rows are another model's"):
        register(params)
    pq.write_table(table.drop_columns(["score"]), rows / "observed.parquet")
    record(project)
    with pytest.raises(InputError, match="not rows of an evaluation"):
        register(params)


def test_a_night_that_dvc_recorded_nothing_of_is_not_registered(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    Path("dvc.lock").unlink()
    with pytest.raises(InputError, match="nothing says which files the night made"):
        register(params)
    Path("dvc.lock").write_text("stages: [")
    with pytest.raises(InputError, match="not a lock that DVC writes"):
        register(params)


def test_a_changed_gate_in_params_decides_again_before_it_promotes(project: Path, params: Params) -> None:
    finish_night(project, 1, champion=None)
    stricter = params.model_copy(update={"decide": params.decide.model_copy(update={"min_gain": 0.9})})
    with pytest.raises(InputError, match="not what the rows give"):
        register(stricter)


def test_a_forced_promotion_says_so_for_good(project: Path, params: Params) -> None:
    first = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    finish_night(project, 2, champion="d" * 64)
    register(params)
    promote(params, "2", force=True, reason="a trial")
    rollback(params, reason="enough")
    client = registry_client.connect(params).client
    version = client.get_model_version("sort-digits", "2")
    assert "a trial" in version.tags["promoted_by_force"]
    assert version.description.startswith("**Promoted by force on ")
    assert "lineage" in version.description
    assert "promoted_by_force" in lineage(params, "sort-digits/2")
    assert "promoted_by_force" not in client.get_model_version("sort-digits", "1").tags
    assert "promote, forced" in client.get_registered_model("sort-digits").description
    moves = [json.loads(line) for line in Path("history.jsonl").read_text().splitlines()]
    assert [move["forced"] for move in moves] == [False, True, False]
    assert moves[0]["model_sha256"] == first


def test_a_version_of_an_earlier_release_is_identified_from_files_that_its_lineage_vouches_for(
    project: Path, params: Params
) -> None:
    model = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    client = registry_client.connect(params).client
    client.delete_model_version_tag("sort-digits", "1", "model_sha256")
    (stored,) = Path("mlartifacts/models").glob("*/artifacts/model")
    genuine = (stored / "tokenizer.json").read_text()
    swap_digits(stored)
    with pytest.raises(CorruptArtifact, match=r"tokenizer\.json: a file changed"):
        meet_champion(params)
    (stored / "tokenizer.json").write_text(genuine)
    champion = meet_champion(params)
    assert client.get_model_version("sort-digits", "1").tags["model_sha256"] == model == champion.model_sha256


def decided_by_earlier_rules() -> None:
    """The lineage of version 1 as an earlier release wrote it, which knew other rules."""
    (path,) = Path("mlartifacts/models").glob("*/artifacts/lineage.json")
    facts = read_json(path)
    policy = facts["decision"]["policy"]
    facts["decision"]["policy"] = {"settings": {"finalists": 1, "resamples": 10000}, "seed": 0}
    facts["decision"]["policy"]["models"] = policy["models"]
    write_json(path, facts)


def test_a_version_that_an_earlier_releases_rules_decided_is_promoted_by_force_alone(
    project: Path, params: Params
) -> None:
    finish_night(project, 1, champion=None)
    register(params)
    decided_by_earlier_rules()
    finish_night(project, 2, champion=None)
    with pytest.raises(InputError, match="decided by the rules of an earlier release.*promote it on your word"):
        promote(params, "1")
    assert versions.aliases(registry_client.connect(params))["champion"] is None
    assert "is the champion" in promote(params, "1", force=True, reason="it served us well")


def test_a_rollback_reaches_a_version_that_an_earlier_releases_rules_decided(project: Path, params: Params) -> None:
    first = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    decided_by_earlier_rules()
    finish_night(project, 2, champion=first)
    register(params)
    promote(params)
    assert rollback(params, reason="complaints").startswith("rolled back: sort-digits version 1")


def test_a_rollback_reaches_a_version_of_an_earlier_release(project: Path, params: Params) -> None:
    first = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    finish_night(project, 2, champion=first)
    register(params)
    promote(params)
    client = registry_client.connect(params).client
    client.delete_model_version_tag("sort-digits", "1", "model_sha256")
    assert rollback(params, reason="complaints").startswith("rolled back: sort-digits version 1")
    assert client.get_model_version("sort-digits", "1").tags["model_sha256"] == first
