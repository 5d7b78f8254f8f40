"""Who leaves the race, and when it is over."""

from __future__ import annotations

import numpy as np

from relex.proof.answers import Answers
from relex.proof.race import behind, better_half, equivalent, standing


def answers(*right: int, samples: int = 4) -> Answers:
    counts = np.array(right, dtype=np.int64)
    nothing = np.zeros(len(counts))
    return Answers(counts / samples, nothing, nothing, counts, samples)


def test_those_credibly_behind_leave_and_the_best_never_does() -> None:
    good, bad, near = answers(*[4] * 20), answers(*[1] * 20), answers(*[4] * 19, 3)
    assert behind({"good": good, "bad": bad, "near": near}) == {"bad"}
    assert behind({"good": good}) == set()


def test_the_runner_up_leaves_only_when_it_is_more_credibly_behind() -> None:
    """One of the study's nights had sent home the better horizon by chance, and no third made up for it."""
    best, four_less, ten_less = answers(*[4] * 50), answers(*[4] * 46, *[0] * 4), answers(*[4] * 40, *[0] * 10)
    racing = {"runner-up": four_less, "best": best, "third": four_less}
    assert behind(racing, racing) == {"third"}
    assert behind({"best": best, "runner-up": ten_less}, racing) == {"runner-up"}
    # Behind a model that is no candidate, being near helps nobody.
    assert behind(racing, ["runner-up", "third"]) == {"runner-up", "third"}


def test_models_that_answer_alike_are_equivalent_once_enough_was_asked() -> None:
    few, many = answers(*[4, 0] * 10), answers(*[4, 0] * 200)
    assert not equivalent({"one": few, "other": few}, 0.01)
    assert equivalent({"one": many, "other": many}, 0.01)


def test_the_better_half_of_equals_are_those_named_first() -> None:
    alike = {name: answers(*[4] * 10) for name in "abcde"}
    assert better_half(alike) == {"a", "b", "c"}
    assert better_half(alike | {"f": answers(*[4] * 9, 3), "a": answers(*[0] * 10)}) == {"b", "c", "d"}


def test_a_standing_has_an_interval_within_a_share() -> None:
    found = standing(answers(*[4] * 19, 0), 20, 4)
    assert found.share == 0.95
    assert 0.8 < found.low < 0.95 < found.high <= 1.0
    assert (found.problems, found.samples, found.left) == (20, 4, None)
