"""Simulated campaigns: what persists between nights, that no night is skipped that could promote, and what the level's
rule changes."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from relex.cli.app import app
from relex.core.errors import InputError
from relex.params.load import load
from relex.proof.level_over_nights import rules_at
from relex.proof.roles import GATE
from relex.proof.rounds import looks
from relex.proof.rules import Rules
from relex.stages.decide.campaign import START, Campaign, Setting, World
from relex.stages.decide.campaign_table import simulate, table
from relex.stages.decide.chance import Chance
from relex.stages.evaluate.planned import largest
from tests.builders import ROOT

PARAMS = load(ROOT / "params.yaml")
RULES, PLAN = PARAMS.decide, largest(PARAMS.evaluate)
LOOSE = RULES.model_copy(update={"alpha": 0.4, "min_gain": 0.0})
EQUAL, AROUND = World("equal"), World("around", -0.01, 0.01, spread=0.1)


def chance(setting: Setting, rules: Rules) -> Chance:
    rooms = [room for room in setting.rooms if room.role == GATE]
    return Chance(looks(rooms, setting.plan.first, setting.plan.gate), rules)


class Always(Chance):
    """Every night is played."""

    def any(self, champion: object, challengers: object) -> bool:
        return True


@pytest.mark.parametrize("rules", [RULES, LOOSE])
def test_no_night_is_skipped_that_could_promote(rules: Rules) -> None:
    setting, outcomes = Setting(3, 60, PLAN, fresh=True), []
    found, every = chance(setting, rules), Always([], rules)
    for seed in range(100):
        world, gain = (AROUND, EQUAL)[seed % 2], (None, 0.08)[seed % 3 == 0]
        moved = [
            Campaign(world, setting, np.random.default_rng(seed)).night(rules, one, gain) for one in (found, every)
        ]
        outcomes.append(moved)
        assert moved[0] == moved[1], seed
    assert any(moved for moved, _ in outcomes)


def test_most_nights_without_a_gain_need_not_be_played() -> None:
    setting, played = Setting(5, 200, PLAN, fresh=True), []

    class Counted(Chance):
        def any(self, champion: np.ndarray, challengers: np.ndarray) -> bool:
            played.append(super().any(champion, challengers))
            return played[-1]

    rooms = [room for room in setting.rooms if room.role == GATE]
    found, campaign = (
        Counted(looks(rooms, PLAN.first, PLAN.gate), RULES),
        Campaign(EQUAL, setting, np.random.default_rng(0)),
    )
    for _ in range(100):
        campaign.night(RULES, found)
    assert sum(played) <= 10


@pytest.mark.parametrize("gain", [0.2, -0.2])
def test_a_model_is_as_good_as_its_quality_says(gain: float) -> None:
    """Over 20,000 problems: the champion's probabilities and rows, after a move and on fresh problems."""
    world = World("moved", gain, gain, spread=0.1)
    setting = Setting(1, 20_000, PLAN, fresh=True)
    rules = RULES.model_copy(update={"min_gain": 0.0})
    campaign = Campaign(world, setting, np.random.default_rng(3))
    moved = campaign.night(rules, Always([], rules))
    assert moved == (gain > 0)
    assert campaign.champion.quality == pytest.approx(START + max(gain, 0.0))
    campaign.night(rules, Never([], rules))
    assert campaign.champion.p[GATE].mean() == pytest.approx(campaign.champion.quality, abs=0.01)
    assert campaign.champion.counts[-1].mean() / PLAN.gate == pytest.approx(campaign.champion.quality, abs=0.01)


class Never(Chance):
    """No night is played."""

    def any(self, champion: object, challengers: object) -> bool:
        return False


def test_on_the_same_problems_the_champions_rows_stay_and_fresh_ones_are_new() -> None:
    for fresh in (False, True):
        campaign = Campaign(AROUND, Setting(2, 50, PLAN, fresh), np.random.default_rng(0))
        before = campaign.champion.counts
        campaign.night(RULES, Never([], RULES))
        assert np.array_equal(before, campaign.champion.counts) != fresh


def test_the_winner_takes_its_rows_along() -> None:
    campaign = Campaign(EQUAL, Setting(2, 200, PLAN, fresh=False), np.random.default_rng(0))
    before = campaign.champion
    assert campaign.night(RULES, Always([], RULES), gain=0.2)
    assert campaign.champion.quality == pytest.approx(START + 0.2)
    assert campaign.champion.counts[-1].mean() > before.counts[-1].mean() + 0.1 * PLAN.gate
    assert (campaign.champion.p[GATE] >= before.p[GATE]).all()


def test_with_the_level_spent_the_champion_moves_more_seldom_and_only_a_large_gain_is_still_proven() -> None:
    nights, campaigns = 25, 16
    each = [LOOSE] * (nights + 1)
    spent = [rules_at(LOOSE, look) for look in range(1, nights + 2)]
    for fresh in (True, False):
        setting = Setting(2, 60, PLAN, fresh)
        always, rule = (simulate(EQUAL, setting, rules, campaigns, seed=1) for rules in (each, spent))
        assert always.moves.mean() > 2 * rule.moves.mean()
        assert not always.drift.any()  # all are equal: wherever the champion moves, it is as good
        assert rule.late[0] <= always.late[0]


def test_the_default_rules_hold_what_they_promise_over_a_few_short_campaigns() -> None:
    setting, nights = Setting(5, 200, PLAN, fresh=False), 60
    rules = [rules_at(RULES, look) for look in range(1, nights + 2)]
    found = simulate(AROUND, setting, rules, campaigns=20, seed=0)
    assert found.moves.mean() <= RULES.alpha
    assert found.drift.min() >= -0.01
    assert found.late[1] >= 0.9


def test_the_tables_have_a_line_each_and_are_the_same_again() -> None:
    text = table(RULES, PLAN, nights=2, campaigns=1, seed=0)
    lines = [line for line in text.splitlines() if line.startswith("| ") and "standard error" not in line]
    assert len(lines) == 3 * 4 + 4 + 1 + 7
    assert text == table(RULES, PLAN, nights=2, campaigns=1, seed=0)


@pytest.mark.parametrize("arguments", [["--campaigns", "2"], ["--campaign", "2", "--nights", "2"]])
def test_options_that_would_do_nothing_are_refused(arguments: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, ["calibrate", *arguments]).exception, InputError)


def test_the_command_prints_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = CliRunner().invoke(app, ["calibrate", "--campaign", "1", "--campaigns", "1"])
    assert shown.exit_code == 0, shown.output
    assert "Campaigns without a true gain (1 campaigns of 1 nights a line" in shown.output
