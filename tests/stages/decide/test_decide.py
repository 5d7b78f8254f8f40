"""The decision's outcomes, its guards and its sentences, on right samples made up for the purpose."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from relex.proof.plan import Plan
from relex.proof.rounds import Room
from relex.proof.rules import Rules
from relex.stages.decide.scores import Scores, SuiteScores
from relex.stages.decide.sentences import OF_PROOF, sentence
from relex.stages.decide.stage import Protocol, decision_of
from relex.stages.decide.trust import marks, trust

RULES = Rules(alpha=0.05, min_gain=0.01, max_ood_loss=0.02, ood_alpha=0.1, max_truncated=0.05)
SUITES = ("choose", "gate", "test", "ood")
PROBLEMS, SAMPLES = 200, 16
PROTOCOL = Protocol(tuple(Room(name, name, PROBLEMS, SAMPLES, 4) for name in SUITES), Plan(50, 4, SAMPLES, SAMPLES))
DIFFICULTY = np.random.default_rng(7).random((PROBLEMS, SAMPLES))  # the same for all: like the same seeds


def model(seed: int, **accuracy: float) -> dict[str, SuiteScores]:
    """A model with these accuracies, `all` for the suites not named; truncated and non_finite are shares.

    Two models agree on half of the samples as far as their accuracies let them.
    """
    generator = np.random.default_rng(seed)
    suites = {}
    for suite in SUITES:
        own = np.where(generator.random((PROBLEMS, SAMPLES)) < 0.5, generator.random((PROBLEMS, SAMPLES)), DIFFICULTY)
        right = own < accuracy.get(suite, accuracy["all"])
        cut, broken = (
            np.tile(np.arange(PROBLEMS) % 20 < round(20 * accuracy.get(key, 0.0)), (SAMPLES, 1)).T
            for key in ("truncated", "non_finite")
        )
        suites[suite] = SuiteScores(suite, tuple(f"{suite}-{i}" for i in range(PROBLEMS)), right, cut, broken)
    return suites


def outcome(
    models: dict[str, dict[str, SuiteScores]], same: tuple[str, str] | None = None, rules: Rules = RULES
) -> dict[str, Any]:
    """The decision with its sentence. same: two names of one model."""
    facts = {}
    for name in models:
        kind = name if name in ("base", "observed", "champion") else "candidate"
        step, _, control = name.removeprefix("step_").partition("-") if kind == "candidate" else ("0", "", "")
        facts[name] = {"kind": kind, "step": int(step), "model_sha256": f"sha-{name}", "folder": f"folder/{name}"}
        facts[name] |= {"control": True} if control else {}
    if same:
        models[same[1]] = models[same[0]]
        facts[same[1]]["model_sha256"] = facts[same[0]]["model_sha256"]
    decision = decision_of(facts, PROTOCOL, Scores(models), rules)
    found = trust(None)
    return decision | {"trust": found, "sentence": sentence(decision | {"trust": found})}


def test_a_proof_of_folders_names_its_options_where_a_night_names_keys() -> None:
    models = {name: model(seed, all=0.3) for seed, name in enumerate(("base", "observed"))}
    found = outcome(models | {"step_000100": model(3, all=0.8, truncated=0.5)})
    assert "decide.max_truncated; how long answers may be: evaluate.max_tokens" in found["sentence"]
    said = sentence(found, OF_PROOF)
    assert "--max-truncated; how long answers may be: --max-tokens" in said
    assert "the candidate at step 100" in said
    assert not {word for word in ("decide.", "evaluate.", "train.") if word in said}


def test_a_training_without_signal_is_why_nothing_is_promoted() -> None:
    said = {"no_signal": "no signal: reward was 0.00 in every one of 12 steps"}
    models = {name: model(seed, all=0.5) for seed, name in enumerate(("base", "observed", "step_000100"))}
    found = outcome(models)
    assert not found["promote"]
    assert sentence(found | said) == "Promote nothing: no signal: reward was 0.00 in every one of 12 steps."


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
    assert decision["tests"][0]["gain"] == pytest.approx(0.3, abs=0.12)  # of the few problems that it took
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
    assert decision["chosen"]["leader"] == "step_000300"
    assert decision["outcome"] == "promote-observed"
    assert [verdict["name"] for verdict in decision["verdicts"]] == ["step_000300", "observed"]
    assert "No better one passed" in decision["sentence"]


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
    assert "what was proven better may not be promoted" in decision["sentence"]
    assert ", but " in decision["sentence"].partition("the forecast for step 100 is proven better (+")[2]
    assert all(test["passed"] for test in decision["verdicts"][0]["tests"])


def test_a_gain_below_the_minimum_is_not_enough() -> None:
    models = {"base": model(0, all=0.3), "observed": model(1, all=0.4), "step_000100": model(2, all=0.5)}
    assert outcome(models)["outcome"] == "promote-candidate"
    strict = RULES.model_copy(update={"min_gain": 0.2})
    assert outcome(models, rules=strict)["outcome"] != "promote-candidate"


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
    decision = decision_of(facts, PROTOCOL, Scores(models), RULES)
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


LOST = (60, 120, 168)  # problems that base always answers right


def losing(seed: int, lost: int, **accuracy: float) -> dict[str, SuiteScores]:
    """A model with these accuracies that answers five of eight problems out of domain, and of them has lost `lost`:
    half a point each."""
    suites = model(seed, **accuracy)
    right = np.tile(np.arange(PROBLEMS) % 8 < 5, (SAMPLES, 1)).T
    right[list(LOST[:lost])] = False
    return suites | {"ood": dataclasses.replace(suites["ood"], right=right)}


def test_small_losses_out_of_domain_do_not_add_up_from_champion_to_champion() -> None:
    """Each night's candidate gains on the gate and loses half a point elsewhere, which is provably within the limit of
    2 against the champion and the last checkpoint; the base does not forget."""
    base = losing(0, 0, all=0.4)
    first = outcome({"base": base, "observed": base | {}, "step_000100": losing(1, 1, all=0.5)})
    assert first["promote"] is True
    champion = losing(1, 2, all=0.5)
    models = {"base": base, "observed": champion | {}, "champion": champion, "step_000100": losing(2, 3, all=0.6)}
    second = outcome(models)
    assert second["promote"] is False
    against = {guard["against"]: guard for guard in second["guards"] if guard["guard"] == "ood loss"}
    assert against["base"]["ended"] in ("futile", "spent")
    assert against["base"]["value"] == pytest.approx(0.015, abs=0.006)
    assert "points on ood against the base model (at most 2.0 were to be proven" in second["sentence"]


@pytest.mark.parametrize(("share", "beaten"), [(0.3, True), (0.6, False), (0.95, False)])
def test_a_winner_that_does_not_beat_the_controls_is_promoted_and_marked(share: float, beaten: bool) -> None:
    models = {"base": model(0, all=0.3), "observed": model(1, all=0.4), "step_000100": model(2, all=0.6)}
    plain = outcome(dict(models))
    found = outcome(models | {"step_000100-random": model(3, all=share)})
    assert found["winner"] == plain["winner"] == "step_000100"
    candidate = next(one for one in found["candidates"] if one["name"] == "step_000100")
    control = next(one for one in found["candidates"] if one["name"] != "step_000100")
    assert (candidate["beats_control"], control["control"]) == (beaten, True)
    assert "beats_control" not in control
    assert ("not shown to be better than every control: random" in found["sentence"]) != beaten
    assert not any({"beats_control", "control"} & one.keys() for one in plain["candidates"])
