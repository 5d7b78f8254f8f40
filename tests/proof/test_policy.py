"""The policy: what it asks for, and that it asks the same of the same rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.proof.answers import Marks
from relex.proof.night import Ask, Player
from relex.proof.plan import Plan
from relex.proof.policy import Outcome, play
from relex.proof.race import Racers, most_raced
from relex.proof.roles import CHOOSE, GATE, OOD
from relex.proof.rounds import Room, looks, rows_of
from relex.proof.rules import Rules

RULES = Rules(alpha=0.05, min_gain=0.01, max_ood_loss=0.02, ood_alpha=0.1, max_truncated=0.05)
PLAN = Plan(50, 4, 16, 16)
ROOMS = [Room(role, role, 200, 1 << 20, 4) for role in (CHOOSE, GATE, OOD)]


class Rows:
    """Every row there could be. shares: model -> share of right samples, or (of the choosing problems, elsewhere)."""

    def __init__(self, shares: Mapping[str, float], cut: float = 0.0, broken: float = 0.0):
        self.asked: list[tuple[str, str, int, int]] = []
        self._shares, self._cut, self._broken = shares, cut, broken

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        self.asked.append((model, suite, problems, samples))
        seed = sum(map(ord, suite))
        draws = np.random.default_rng(seed).random((200, 16))
        own = np.random.default_rng(seed + sum(map(ord, model))).random((200, 16))
        right = np.where(own < 0.3, own / 0.3, draws) < self._shares[model]
        marked = [(draws[:problems, :samples] < share).sum(axis=1) for share in (self._cut, self._broken)]
        if not model.startswith("step"):
            marked = [np.zeros(problems, dtype=np.int64)] * 2
        return Marks(right[:problems, :samples].sum(axis=1), *marked, samples)


def players(*names: str, same: Mapping[str, str] | None = None) -> list[Player]:
    return [
        Player(
            name,
            "candidate" if name.startswith("step") else "control" if name.startswith("control") else name,
            int(name.partition("_")[2] or 0),
            (same or {}).get(name, name),
        )
        for name in names
    ]


def finish(rows: Rows, who: list[Player], rooms: list[Room] = ROOMS, plan: Plan = PLAN) -> tuple[Outcome, list[Ask]]:
    asks, proof = [], play(who, rooms, plan, RULES, rows)
    while True:
        try:
            ask = next(proof)
        except StopIteration as end:
            return end.value, asks
        had = len(rows.asked)
        asks.append(ask)
        assert had == len(rows.asked)  # nothing is looked at before it was asked for


def test_only_what_was_asked_for_is_looked_at() -> None:
    rows = Rows({"base": 0.3, "observed": 0.4, "step_100": 0.5, "step_300": 0.7})
    _, asks = finish(rows, players(*rows._shares))
    allowed = {(model, suite, n, k) for ask in asks for model in ask.models for suite, n, k in ask.asked}
    assert set(rows.asked) <= allowed


def test_a_clear_night_takes_few_rows() -> None:
    rows = Rows({"base": 0.3, "observed": 0.35, "step_100": 0.5, "step_300": 0.75, "step_600": 0.1})
    outcome, asks = finish(rows, players(*rows._shares))
    assert (outcome.leader, outcome.promoted) == ("step_300", "step_300")
    assert (asks[0].purpose, asks[0].asked) == ("race", ((CHOOSE, 50, 1),))
    assert max(n * k for ask in asks for _, n, k in ask.asked) <= 200


def test_the_same_rows_are_asked_for_in_the_same_order() -> None:
    rows = Rows({"base": 0.3, "observed": 0.4, "step_100": 0.45, "step_300": 0.5})
    assert finish(rows, players(*rows._shares)) == finish(rows, players(*rows._shares))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([0.2, 0.9, 0.95, 0.998, 1.0]), min_size=1, max_size=16),
    st.lists(st.sampled_from([0.2, 0.95, 1.0]), max_size=2),
)
def test_a_race_takes_no_more_than_was_planned_for_however_near_they_are(
    shares: list[float], controls: list[float]
) -> None:
    racing = {f"step_{100 + at}": share for at, share in enumerate(shares)}
    beside = {f"control_{at}": share for at, share in enumerate(controls)}
    rows = Rows({"base": 0.9, "observed": 0.95, **racing, **beside})
    _, asks = finish(rows, players(*rows._shares))
    asked: dict[str, int] = {}
    for ask in asks:
        if ask.purpose == "race":
            asked.update(dict.fromkeys(ask.models, rows_of(ask.asked)))
    played = looks(ROOMS[:1], PLAN.first, PLAN.race)
    assert sum(asked.values()) <= most_raced(played, Racers(len(racing), len(beside)))


def test_nearly_equal_candidates_do_not_all_race_to_the_end() -> None:
    rows = Rows({"base": 0.9, "observed": 0.99, **{f"step_{100 + at}": 0.99 for at in range(15)}})
    _, asks = finish(rows, players(*rows._shares))
    raced = [(len(ask.models), ask.asked) for ask in asks if ask.purpose == "race"]
    assert [models - 1 for models, _ in raced[:4]] == [15, 15, 8, 4]


def test_the_order_of_the_players_changes_nothing() -> None:
    rows = Rows({"base": 0.3, "observed": 0.4, "step_100": 0.6, "step_300": 0.6})
    names = list(rows._shares)
    one, other = finish(rows, players(*names))[0], finish(rows, players(*reversed(names)))[0]
    assert (one.leader, one.promoted, one.verdicts) == (other.leader, other.promoted, other.verdicts)


def test_of_two_candidates_that_are_one_model_the_nearer_wins() -> None:
    class Twins(Rows):
        def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
            return super().marks(model.replace("300", "100"), suite, problems, samples)

    rows = Twins({"base": 0.3, "observed": 0.3, "step_100": 0.7})
    assert finish(rows, players("base", "observed", "step_300", "step_100"))[0].promoted == "step_100"


def test_without_a_candidate_near_the_last_observed_none_meets_the_gate() -> None:
    rows = Rows({"base": 0.3, "observed": 0.7, "step_100": 0.1, "step_300": 0.2})
    outcome, asks = finish(rows, players(*rows._shares))
    assert outcome.leader is None
    assert [verdict.name for verdict in outcome.verdicts] == ["observed"]
    assert outcome.promoted == "observed"
    assert not any("step" in name for ask in asks if ask.purpose != "race" for name in ask.models)


def test_guards_are_asked_only_of_what_passed_the_gate() -> None:
    rows = Rows({"base": 0.4, "observed": 0.4, "champion": 0.4, "step_100": 0.4})
    outcome, asks = finish(rows, players(*rows._shares))
    assert outcome.promoted is None
    assert not any(ask.purpose == "guards" for ask in asks)


@pytest.mark.parametrize(("fault", "guard"), [({"cut": 0.3}, "cut off"), ({"broken": 0.3}, "not a number")])
def test_answers_that_are_cut_off_or_no_numbers_refuse_a_gain(fault: dict[str, float], guard: str) -> None:
    rows = Rows({"base": 0.3, "observed": 0.3, "step_100": 0.8}, **fault)
    outcome, _ = finish(rows, players(*rows._shares))
    assert outcome.promoted is None
    failed = [item for item in outcome.verdicts[0].guards if not item["passed"]]
    assert {item["guard"] for item in failed} == {guard}


def test_a_few_answers_cut_off_by_chance_are_looked_at_again() -> None:
    """True share 4 %, limit 5 %: some first looks show more."""
    rows = Rows({"base": 0.3, "observed": 0.3, "step_100": 0.8}, cut=0.04)
    assert finish(rows, players(*rows._shares))[0].promoted == "step_100"


def test_a_night_without_suites_out_of_domain_is_decided_at_the_gate() -> None:
    rows = Rows({"base": 0.3, "observed": 0.3, "step_100": 0.8})
    outcome, asks = finish(rows, players(*rows._shares), rooms=ROOMS[:2])
    assert outcome.promoted == "step_100"
    assert {suite for ask in asks for suite, _, _ in ask.asked} == {CHOOSE, GATE}


def test_a_champion_that_is_the_base_is_met_once() -> None:
    rows = Rows({"base": 0.3, "observed": 0.3, "champion": 0.3, "step_100": 0.8})
    outcome, _ = finish(rows, players(*rows._shares, same={"champion": "base"}))
    assert [test["against"] for test in outcome.verdicts[0].tests] == ["observed", "champion"]


def test_a_single_problem_in_each_part_decides_nothing() -> None:
    rooms = [Room(role, role, 1, 1 << 20, 4) for role in (CHOOSE, GATE, OOD)]
    rows = Rows({"base": 0.0, "observed": 0.0, "step_100": 1.0})
    assert finish(rows, players(*rows._shares), rooms=rooms)[0].promoted is None


SHARES = {"base": 0.3, "observed": 0.35, "step_100": 0.5, "step_300": 0.6, "step_600": 0.1}


@pytest.mark.parametrize("share", [0.05, 0.45, 0.6, 0.95])
def test_controls_change_neither_leader_nor_promotion(share: float) -> None:
    plain, _ = finish(Rows(SHARES), players(*SHARES))
    shares = SHARES | {"control_100": share, "control_300": share}
    found, asks = finish(Rows(shares), players(*shares))
    assert (found.leader, found.promoted, found.verdicts) == (plain.leader, plain.promoted, plain.verdicts)
    assert plain.beats_controls == {}
    assert not any("control" in name for ask in asks if ask.purpose != "race" for name in ask.models)
    assert found.beats_controls == {"step_100": share < 0.3, "step_300": share < 0.5, "step_600": False}
    assert {name for name in found.standings if "control" in name} == {"control_100", "control_300"}


def test_a_control_is_never_promoted_even_where_all_else_fails() -> None:
    shares = {"base": 0.3, "observed": 0.3, "step_100": 0.1, "control_100": 0.9}
    outcome, asks = finish(Rows(shares), players(*shares))
    assert (outcome.leader, outcome.promoted) == (None, None)
    assert [verdict.name for verdict in outcome.verdicts] == ["observed"]
    assert outcome.beats_controls == {"step_100": False}
    assert {name for ask in asks if ask.purpose != "race" for name in ask.models} <= {"base", "observed"}


def test_the_leader_meets_a_control_that_stays_near_it_until_that_is_decided() -> None:
    shares = {"base": 0.3, "observed": 0.3, "step_100": 0.72, "control_100": 0.6}
    outcome, asks = finish(Rows(shares), players(*shares))
    races = [ask for ask in asks if ask.purpose == "race"]
    assert races[0].models == ("observed", "step_100", "control_100")
    assert {ask.models for ask in races[1:]} == {("step_100", "control_100")}
    assert outcome.beats_controls == {"step_100": True}
    assert outcome.standings["observed"].problems < outcome.standings["step_100"].problems


def test_a_control_that_is_far_behind_costs_one_look() -> None:
    shares = {"base": 0.3, "observed": 0.3, "step_100": 0.8, "control_100": 0.05}
    _, asks = finish(Rows(shares), players(*shares))
    assert sum("control_100" in ask.models for ask in asks) == 1
