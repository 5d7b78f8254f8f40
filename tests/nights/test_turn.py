"""From one hop to the next with a real registry: begun once, noted once, wherever a kill falls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relex.core import hop as hops
from relex.core import workspace
from relex.core.atomic import write_json
from relex.core.errors import InputError
from relex.core.hop import Hop, Model, Training
from relex.ledger import lines as ledger
from relex.nights import account, turn
from relex.nights.present import unfinished
from relex.params.load import Params
from relex.registry import champion as champions
from relex.registry.lineage import lineage
from relex.registry.promotion import promote, rollback
from relex.registry.register import register
from relex.registry.store.connection import RegistryUnreachable
from relex.stages.base import stage as base
from tests.builders.nights import change_params, finish_night

pytestmark = pytest.mark.real


@pytest.fixture
def project(project: Path) -> Path:
    """A project before its first hop."""
    for stage in ("train", "evaluate"):
        write_json(workspace.TIMINGS / f"{stage}.json", {"seconds": 10.0, "gpu_hours": 0.0})
    return project


def limited(project: Path, **nights: Any) -> Params:
    """Parameters with another section `nights`."""
    params = change_params(project)
    section = params.nights.model_validate({"mode": "auto", "budget": {"hops": 2}, "patience": 2} | nights)
    return params.model_copy(update={"nights": section})


def finish(project: Path, params: Params, seed: int, *, promoted: bool) -> str:
    """The present hop's stages and registry actions; its candidate."""
    champion = hops.read().champion
    model = finish_night(project, seed, champion=champion.model_sha256 if champion else None, promote=promoted)
    register(params)
    promote(params)
    return model


def after_a_promotion(project: Path, **budget: int) -> tuple[Params, Hop]:
    """Parameters, and the hop that stands once the first one's winner is champion."""
    params = limited(project, budget=budget)
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    turn.end(params)
    return params, hops.read()


def test_two_hops_make_a_night_and_the_next_night_begins_at_the_champion(project: Path) -> None:
    params = limited(project)
    assert "a new campaign" in turn.begin(params)
    assert hops.read().place == (1, 1, 1)
    assert "unfinished" in turn.begin(params)
    first = finish(project, params, 1, promoted=True)
    assert unfinished(params)
    assert "begun" in turn.end(params)
    second = hops.read()
    assert (second.place, second.mode, second.slice) == ((1, 1, 2), "reground", 1)
    assert second.start == second.champion == Model(version="1", model_sha256=first)
    assert second.training == Training(before=3)
    # What this hop starts from is here, and the stage base takes it.
    base.run(params.base, second.start)
    assert json.loads(workspace.BASE_METRICS.read_text())["kind"] == "champion"
    finish(project, params, 2, promoted=False)
    assert "night 1 ended: 2 of 2 hops" in turn.end(params)
    rows = ledger.read().rows
    assert [row.place for row in rows] == [(1, 1, 1), (1, 1, 2), (1, 1, 0)]
    assert [row.accepted for row in ledger.read().hops] == [True, False]
    assert ledger.read().nights[0].promoted
    assert ledger.read().nights[0].total.steps == 6
    assert not unfinished(params)
    # Refused: the training of the second hop goes on.
    assert "begun" in turn.begin(params)
    third = hops.read()
    assert (third.place, third.mode, third.start) == ((1, 2, 1), "continue", second.start)
    assert third.training == Training(before=3, grown=1)


def test_a_stage_that_did_not_run_again_costs_a_hop_nothing(project: Path) -> None:
    params = limited(project)
    turn.begin(params)
    finish(project, params, 1, promoted=False)
    write_json(workspace.TIMINGS / "base.json", {"seconds": 7.0, "ended": "2026-01-01T00:00:00Z"})
    turn.end(params)
    finish(project, params, 2, promoted=False)
    write_json(workspace.TIMINGS / "evaluate.json", {"seconds": 3.0, "ended": "2999-01-01T00:00:00Z"})
    turn.end(params)
    first, second = ledger.read().hops
    assert first.spent.seconds == {"base": 7.0, "evaluate": 10.0, "train": 10.0}
    # The training is the same one, gone on with: nothing of its ten seconds is new.
    assert second.spent.seconds == {"evaluate": 3.0, "train": 0.0}
    assert second.total.all_seconds == 30.0


def test_a_kill_between_the_ledger_and_what_comes_after_it_changes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = limited(project)
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    with monkeypatch.context() as patch:
        patch.setattr(hops, "write", lambda hop: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            turn.end(params)
    assert len(ledger.read().rows) == 1
    assert hops.read().place == (1, 1, 1)
    assert "begun" in turn.begin(params)
    assert hops.read().place == (1, 1, 2)
    assert len(ledger.read().rows) == 1


def test_another_base_begins_a_campaign_and_the_old_one_stays_in_the_ledger(project: Path) -> None:
    params = limited(project, budget={"hops": 1})
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    turn.end(params)
    source = params.base.source.model_copy(update={"seed": 5})
    other = params.model_copy(update={"base": params.base.model_copy(update={"source": source})})
    assert "a new campaign" in turn.begin(other)
    begun = hops.read()
    # The champion is no child of this base: it is met, not started from.
    assert (begun.place, begun.mode, begun.start, begun.slice) == ((2, 2, 1), "fresh", None, 1)
    assert begun.champion is not None
    assert [row.campaign for row in ledger.read().rows] == [1, 1]


def test_a_second_checkout_on_the_same_registry_begins_at_its_champion(project: Path) -> None:
    params = limited(project, budget={"hops": 1})
    turn.begin(params)
    model = finish(project, params, 1, promoted=True)
    turn.end(params)
    hops.write(Hop())
    workspace.LEDGER.unlink()
    turn.begin(params)
    begun = hops.read()
    assert (begun.place, begun.mode) == ((1, 1, 1), "reground")
    assert begun.start == Model(version="1", model_sha256=model)


def test_nights_without_a_promotion_end_at_once_until_params_change(project: Path) -> None:
    params = limited(project, budget={"hops": 1}, patience=1)
    turn.begin(params)
    finish(project, params, 1, promoted=False)
    turn.end(params)
    before = hops.read()
    assert "plateau" in turn.begin(params)
    assert hops.read() == before
    assert not unfinished(params)
    changed = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"samples": 2})})
    assert "params.yaml changed" in turn.begin(changed)
    assert hops.read().place == (1, 2, 1)


def test_a_registry_that_is_away_is_done_without_where_the_champion_is_here(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = limited(project)
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    turn.end(params)
    finish(project, params, 2, promoted=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = params.model_copy(
        update={"registry": params.registry.model_copy(update={"tracking_uri": "http://u:hunter2@127.0.0.1:9"})}
    )
    # The model's name and the base are the same: the same campaign.
    said = turn.end(away)
    assert "as last known" in said
    assert "hunter2" not in said
    hops.write(Hop())
    with pytest.raises(RegistryUnreachable):
        turn.begin(away)  # nobody here knows who is champion


def test_another_registry_without_the_champion_is_refused_instead_of_starting_over(project: Path) -> None:
    params, before = after_a_promotion(project, hops=1)
    other = params.model_copy(
        update={"registry": params.registry.model_copy(update={"tracking_uri": "sqlite:///other.db"})}
    )
    with pytest.raises(InputError, match="no champion sort-digits.*version 1, as history.jsonl says"):
        turn.begin(other)
    assert hops.read() == before
    renamed = other.model_copy(update={"registry": other.registry.model_copy(update={"model": "sort-again"})})
    assert "a new campaign" in turn.begin(renamed)
    assert hops.read().champion is None


def test_a_checkout_goes_on_beyond_the_problems_that_another_ones_champion_was_proven_on(project: Path) -> None:
    params = limited(project, budget={"hops": 3})
    turn.begin(params)
    first = hops.read()
    hops.write(first.model_copy(update={"slice": 5}))  # the other checkout has asked five already
    finish(project, params, 1, promoted=True)
    assert champions.asked(params, champions.present(params)) == 5
    hops.write(first)  # this one has only begun
    turn.end(params)
    assert hops.read().slice == 6
    anew = params.model_copy(
        update={"base": params.base.model_copy(update={"source": params.base.source.model_copy(update={"seed": 9})})}
    )
    assert "a new campaign" in turn.begin(anew)
    assert hops.read().slice == 6


def test_a_hop_whose_winner_came_second_is_told_apart_and_keeps_its_own_figures(project: Path) -> None:
    _, met = after_a_promotion(project, hops=3)
    finish_night(project, 2, champion=met.champion.model_sha256, promote=True)
    row = account.hop_row(met, ledger.read(), Model(version="7", model_sha256="f" * 64), "settings")
    assert (row.accepted, row.outcome, row.step, row.model) == (False, "overtaken by version 7", None, met.champion)
    assert row.sentence.endswith(
        "Not promoted: another model became champion meanwhile, which it did not compete with."
    )


def test_a_champion_that_was_rolled_back_meanwhile_is_not_what_the_next_hop_starts_from(project: Path) -> None:
    params = limited(project, budget={"hops": 3})
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    turn.end(params)
    first = hops.read().start
    finish(project, params, 2, promoted=True)
    rollback(params, reason="complaints")
    assert "begun" in turn.end(params)
    assert ledger.read().hops[-1].accepted is False
    assert hops.read().start == first


def test_a_version_names_its_descent_down_to_the_base(project: Path) -> None:
    params = limited(project)
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    turn.end(params)
    finish(project, params, 2, promoted=True)
    other = change_params(project, model="other")  # a project of another model may ask, too
    for asking in (params, other):
        (said,) = [line for line in lineage(asking, "sort-digits@champion").splitlines() if line.startswith("descent")]
        assert said.split(None, 1)[1] == (
            "version 2 (step 20; campaign 1, night 1, hop 2) <- version 1 (step 20; campaign 1, night 1, hop 1) "
            "<- embedded, seed 0"
        )


def test_weights_that_were_changed_are_fetched_again_and_none_are_taken_on_trust(project: Path) -> None:
    params = limited(project)
    turn.begin(params)
    finish(project, params, 1, promoted=True)
    turn.end(params)
    start = hops.read().start
    weights = workspace.CHAMPION_WEIGHTS / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"relex hop --fetch"):
        base.run(params.base, start)
    assert "version 1" in turn.fetch(params)
    base.run(params.base, start)
