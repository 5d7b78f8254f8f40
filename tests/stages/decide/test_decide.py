"""The decision's outcomes, its guards and its sentences, on right samples made up for the purpose."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from relex.stages.decide.params import Decide
from relex.stages.decide.scores import Scores, SuiteScores
from relex.stages.decide.sentences import sentence
from relex.stages.decide.stage import decision_of, dropped
from relex.stages.decide.trust import marks, trust

SETTINGS = Decide(alpha=0.05, min_gain=0.01, max_ood_loss=0.02, max_truncated=0.05, finalists=1, resamples=2000)
ROLES = {"choose": "choose", "gate": "gate", "test": "test", "ood": "ood"}
PROBLEMS, SAMPLES = 200, 8


def model(seed: int, **accuracy: float) -> dict[str, SuiteScores]:
    """A model with these accuracies, `all` for the suites not named; truncated and non_finite are shares."""
    generator = np.random.default_rng(seed)
    suites = {}
    for suite, role in ROLES.items():
        right = generator.binomial(SAMPLES, accuracy.get(suite, accuracy["all"]), PROBLEMS)
        shares = {
            key: np.full(PROBLEMS, round(SAMPLES * accuracy.get(key, 0.0)), dtype=np.int64)
            for key in ("truncated", "non_finite")
        }
        problems = tuple(f"{suite}-{i}" for i in range(PROBLEMS))
        suites[suite] = SuiteScores(role, problems, SAMPLES, right, shares["truncated"], shares["non_finite"])
    return suites


def outcome(
    models: dict[str, dict[str, SuiteScores]], same: tuple[str, str] | None = None, settings: Decide = SETTINGS
) -> dict[str, Any]:
    """The decision with its sentence. same: two names of one model."""
    facts = {}
    for name in models:
        kind = name if name in ("base", "observed", "champion") else "candidate"
        step = int(name.removeprefix("step_")) if kind == "candidate" else 0
        facts[name] = {"kind": kind, "step": step, "model_sha256": f"sha-{name}", "folder": f"folder/{name}"}
    if same:
        models[same[1]] = models[same[0]]
        facts[same[1]]["model_sha256"] = facts[same[0]]["model_sha256"]
    decision = decision_of(facts, Scores(models), settings, seed=0)
    found = trust(None)
    return decision | {"trust": found, "sentence": sentence(decision | {"trust": found})}


def test_a_better_candidate_is_promoted() -> None:
    decision = outcome(
        {
            "base": model(0, all=0.3),
            "observed": model(1, all=0.4),
            "step_000100": model(2, all=0.5),
            "step_000300": model(3, all=0.7),
        }
    )
    assert decision["outcome"] == "promote-candidate"
    assert decision["promote"] is True
    assert (decision["winner"], decision["winner_kind"], decision["winner_step"]) == ("step_000300", "candidate", 300)
    assert (decision["winner_folder"], decision["winner_model_sha256"]) == ("folder/step_000300", "sha-step_000300")
    assert [test["against"] for test in decision["tests"]] == ["observed", "base"]
    assert decision["tests"][0]["gain"] == pytest.approx(0.3, abs=0.04)
    assert decision["sentence"].startswith("Promote the forecast for step 300: ")
    assert "against the last trained checkpoint" in decision["sentence"]


def test_the_choice_reads_the_choosing_problems_alone() -> None:
    decision = outcome(
        {
            "base": model(0, all=0.3),
            "observed": model(1, all=0.4),
            "step_000100": model(2, all=0.7, choose=0.6),
            "step_000300": model(3, all=0.3, choose=0.7),  # lucky on the choosing problems
        }
    )
    assert decision["chosen"]["finalists"] == ["step_000300"]
    assert decision["outcome"] == "promote-observed"
    assert [verdict["name"] for verdict in decision["verdicts"]] == ["step_000300", "observed"]
    assert "No better one passed" in decision["sentence"]


def test_a_second_finalist_gets_its_turn_and_pays_for_it_with_the_level() -> None:
    models = {
        "base": model(0, all=0.3),
        "observed": model(1, all=0.4),
        "step_000100": model(2, all=0.7, choose=0.6),
        "step_000300": model(3, all=0.3, choose=0.7),
    }
    decision = outcome(models, settings=SETTINGS.model_copy(update={"finalists": 2}))
    assert decision["winner"] == "step_000100"
    assert decision["level"] == pytest.approx(0.05 / 3)
    assert outcome(models)["level"] == pytest.approx(0.05 / 2)


def test_the_test_split_changes_nothing() -> None:
    models = {"base": model(0, all=0.3), "observed": model(1, all=0.4), "step_000100": model(2, all=0.7)}
    decision = outcome(models)
    models["step_000100"] = models["step_000100"] | {"test": model(9, all=0.0)["test"]}
    assert outcome(models) == decision


def test_without_a_candidate_that_passes_the_last_observed_competes_with_the_champion() -> None:
    decision = outcome(
        {
            "base": model(0, all=0.3),
            "observed": model(1, all=0.6),
            "champion": model(2, all=0.4),
            "step_000100": model(3, all=0.2),
        }
    )
    assert (decision["outcome"], decision["winner"]) == ("promote-observed", "observed")


def test_the_champion_stays_when_nothing_is_proven_better() -> None:
    decision = outcome(
        {
            "base": model(0, all=0.3),
            "observed": model(1, all=0.4),
            "champion": model(2, all=0.6),
            "step_000100": model(3, all=0.5),  # better than the last observed, worse than the champion
        }
    )
    assert (decision["outcome"], decision["winner"], decision["promote"]) == ("keep-champion", "champion", False)
    assert decision["sentence"].startswith("Keep the champion: nothing was proven better.")
    assert "loses" in decision["sentence"]


def test_nothing_is_promoted_over_the_base_without_proof() -> None:
    decision = outcome({"base": model(0, all=0.4), "observed": model(1, all=0.4), "step_000100": model(2, all=0.4)})
    assert (decision["outcome"], decision["winner"], decision["promote"]) == ("keep-champion", None, False)
    assert decision["winner_model_sha256"] is None
    assert decision["sentence"].startswith("Promote nothing: ")


@pytest.mark.parametrize("name", ["step_000100", "observed"])
def test_a_winner_that_is_the_champion_changes_nothing_and_says_so(name: str) -> None:
    candidate = {"step_000100": 0.7, "observed": 0.2}[name]
    decision = outcome(
        {
            "base": model(0, all=0.3),
            "observed": model(1, all=0.5),
            "champion": model(2, all=0.4),
            "step_000100": model(3, all=candidate),
        },
        same=(name, "champion"),
    )
    assert (decision["outcome"], decision["winner"], decision["promote"]) == ("keep-champion", "champion", False)
    assert decision["same_as_champion"] is True
    assert "the very same model" in decision["sentence"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"ood": 0.3}, "points on ood against the last trained checkpoint"),
        ({"truncated": 0.25}, "answers on gate cut off"),
        ({"non_finite": 0.25}, "not numbers"),
    ],
)
def test_a_guard_refuses_a_candidate_that_is_better_at_the_gate(fault: dict[str, float], words: str) -> None:
    decision = outcome(
        {"base": model(0, all=0.4), "observed": model(1, all=0.4), "step_000100": model(2, all=0.8, **fault)}
    )
    assert decision["outcome"] == "keep-champion"
    assert words in decision["sentence"]
    assert all(test["passed"] for test in decision["verdicts"][0]["tests"])


def test_a_gain_below_the_minimum_is_not_enough() -> None:
    models = {"base": model(0, all=0.3), "observed": model(1, all=0.4), "step_000100": model(2, all=0.5)}
    assert outcome(models)["outcome"] == "promote-candidate"
    strict = SETTINGS.model_copy(update={"min_gain": 0.2})
    assert outcome(models, settings=strict)["outcome"] != "promote-candidate"


def test_candidates_that_halving_dropped_are_listed_with_what_they_were_asked() -> None:
    halving = {
        "candidates": {name: {"step": step} for name, step in (("a", 1), ("b", 2), ("c", 3), ("d", 4))},
        "rounds": [
            {"problems": 50, "scores": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, "kept": ["c", "d"]},
            {"problems": 100, "scores": {"c": 0.3, "d": 0.4}, "kept": ["d"]},
        ],
    }
    assert [(item["name"], item["problems"], item["choose"]) for item in dropped(halving)] == [
        ("c", 100, 0.3),
        ("b", 50, 0.2),
        ("a", 50, 0.1),
    ]
    assert dropped(None) == []


def test_a_winner_beyond_the_forecasts_own_checks_is_marked_and_still_promoted() -> None:
    decision = outcome({"base": model(0, all=0.3), "observed": model(1, all=0.4), "step_000900": model(2, all=0.7)})
    found = {"backtest_horizon": 135, "likelihood_peak": {"horizon": 600, "low": 500, "high": 700}}
    for candidate in decision["candidates"]:
        candidate["beyond"] = marks(candidate["step"], found)
    text = sentence(decision | {"trust": found})
    assert text.startswith("Promote the forecast for step 900")
    assert "only to about step 135" in text
    assert "most likely at step 600" in text


def test_a_training_that_moved_nothing_promotes_nothing() -> None:
    """Base, last observed and candidate are one model: there is no test, and no test is no promotion."""
    one = model(0, all=0.5)
    models = {"base": one, "observed": one, "step_000100": one}
    facts = {
        name: {"kind": kind, "step": step, "model_sha256": "one", "folder": name}
        for name, kind, step in [("base", "base", 0), ("observed", "observed", 5), ("step_000100", "candidate", 100)]
    }
    decision = decision_of(facts, Scores(models), SETTINGS, seed=0)
    assert decision["tests"] == []
    assert decision["promote"] is False
    assert not any(verdict["passed"] for verdict in decision["verdicts"])
    said = sentence(decision | {"trust": trust(None)})
    assert said.startswith("Promote nothing")
    assert "is the same model as the last trained checkpoint and the base model" in said


@pytest.mark.parametrize("champion", [False, True])
def test_weights_that_equal_the_bases_are_never_promoted(champion: bool) -> None:
    """Training that ruins the model makes a candidate that stayed at the base better than the last checkpoint."""
    models = {"base": model(0, all=0.6), "observed": model(1, all=0.2), "step_000100": model(2, all=0.6)}
    if champion:
        models["champion"] = model(3, all=0.4)
    decision = outcome(models, same=("base", "step_000100"))
    assert decision["promote"] is False
    assert "is the same model as the base model" in decision["sentence"]


def test_a_promotion_cannot_be_put_into_words_without_its_numbers() -> None:
    decision = outcome({"base": model(0, all=0.3), "observed": model(1, all=0.4), "step_000300": model(3, all=0.7)})
    empty = [{**decision["verdicts"][-1], "tests": []}]
    with pytest.raises(ValueError, match="no test says why"):
        sentence(decision | {"verdicts": empty})


def losing(seed: int, points: float, **accuracy: float) -> dict[str, SuiteScores]:
    """A model with these accuracies that has lost exactly so many points out of domain, of 62.5."""
    suites = model(seed, **accuracy)
    right = np.full(PROBLEMS, 5)
    right[: round(points / 100 * PROBLEMS * SAMPLES)] -= 1
    return suites | {"ood": dataclasses.replace(suites["ood"], right=right)}


def test_small_losses_out_of_domain_do_not_add_up_from_champion_to_champion() -> None:
    """Each night's candidate gains on the gate and loses 1.5 points elsewhere, which the limit of 2 allows against the
    champion and the last checkpoint; the base does not forget."""
    base = losing(0, 0.0, all=0.4)
    first = outcome({"base": base, "observed": base | {}, "step_000100": losing(1, 1.5, all=0.5)})
    assert first["promote"] is True
    champion = losing(1, 1.5, all=0.5)
    models = {"base": base, "observed": champion | {}, "champion": champion, "step_000100": losing(2, 3.0, all=0.6)}
    second = outcome(models)
    assert second["promote"] is False
    assert "loses 3.0 points on ood against the base model (at most 2.0)" in second["sentence"]
