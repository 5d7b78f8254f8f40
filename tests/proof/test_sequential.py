"""The test over several looks: its levels add up, it stops when it may, and it errs no more often than stated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from relex.proof.answers import Answers
from relex.proof.rounds import Look, Room, looks
from relex.proof.sequential import SequentialTest, Step, spent


def schedule(problems: int, samples: int) -> tuple[tuple[Look, ...], list[Step]]:
    found = looks([Room("gate", "gate", problems, 1 << 20, 4)], 50, samples)
    shares = [0.0, *(look.share for look in found)]
    return found, [Step(share, before) for before, share in itertools.pairwise(shares)]


LOOKS, STEPS = schedule(100, 8)


def answers(right: np.ndarray, problems: int, samples: int) -> Answers:
    counts = right[:problems, :samples].sum(axis=1).astype(np.int64)
    nothing = np.zeros(problems)
    return Answers(counts / samples, nothing, nothing, counts, samples)


def run(
    test: SequentialTest,
    ours: np.ndarray,
    theirs: np.ndarray,
    played: tuple[tuple[Look, ...], list[Step]] = (LOOKS, STEPS),
) -> tuple[str, int]:
    """(how it ended, after how many looks)."""
    for number, (look, step) in enumerate(zip(*played, strict=True), 1):
        _, problems, samples = look.asked[0]
        ended = test.judge(answers(ours, problems, samples), answers(theirs, problems, samples), step).ended
        if ended:
            return ended, number
    raise AssertionError("the last look decides")


def test_the_looks_spend_the_level_and_no_more() -> None:
    assert sum(spent(0.05, step) for step in STEPS) == pytest.approx(0.05)
    assert all(one.share == other.before for one, other in itertools.pairwise(STEPS))


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_without_the_gain_in_question_it_errs_no_more_often_than_stated(margin: float) -> None:
    generator, wrong, nights = np.random.default_rng(1), 0, 1500
    for _ in range(nights):
        p = generator.beta(0.5, 0.5, 100)
        better = np.clip(p + 2 * margin * (1 - p), 0, 1)  # on average by the margin itself
        ours, theirs = generator.random((100, 8)) < better[:, None], generator.random((100, 8)) < p[:, None]
        wrong += run(SequentialTest(margin, 0.05, STEPS[-1]), ours, theirs)[0] == "proven"
    assert wrong / nights <= 0.05


def test_a_large_gain_is_proven_early_and_a_loss_given_up_early() -> None:
    generator = np.random.default_rng(2)
    good, bad = generator.random((100, 8)) < 0.9, generator.random((100, 8)) < 0.2
    test = SequentialTest(0.01, 0.05, STEPS[-1])
    assert run(test, good, bad) == ("proven", 1)
    assert run(test, bad, good) == ("futile", 1)


def test_the_last_look_ends_it() -> None:
    """A gain that stays promising and is never enough."""
    right = np.zeros((100, 8), dtype=bool)
    better = right.copy()
    better[:4] = True
    order = np.random.default_rng(0).permutation(100)
    test = SequentialTest(0.01, 0.05, STEPS[-1], optimism=5.0)
    assert run(test, better[order], right[order]) == ("spent", len(LOOKS))


def test_the_sign_flip_test_must_agree() -> None:
    """Nine of ten problems gained is beyond doubt for Student's test; of four problems, not for the exact one."""
    right = np.ones((4, 1), dtype=bool)
    only = Step(1.0, 0.0)
    found = SequentialTest(0.0, 0.05, only).judge(answers(right, 4, 1), answers(~right, 4, 1), only)
    assert found.found.p_value == pytest.approx(1 / 16)
    assert found.ended == "spent"


@pytest.mark.parametrize("n", [60, 120, 300])
def test_a_loss_of_whole_problems_that_few_problems_may_not_show_passes_no_more_often_than_stated(n: int) -> None:
    """A true loss of two points, in whole problems, at the limit of two points. What one sample of a problem shows, all
    of them show: Student's test alone would take the problems that happen to be lost for all there are."""
    played = schedule(n, 4)
    test = SequentialTest(-0.02, 0.1, played[1][-1])
    generator, passed, nights = np.random.default_rng(5), 0, 1000
    for _ in range(nights):
        theirs = np.ones((n, 4))
        ours = theirs * (generator.random(n) >= 0.02)[:, None]
        passed += run(test, ours, theirs, played)[0] == "proven"
    assert passed / nights <= 0.1


def test_that_nothing_was_lost_can_be_shown_with_enough_problems() -> None:
    right = np.random.default_rng(0).random((300, 4)) < 0.5
    played = schedule(300, 4)
    assert run(SequentialTest(-0.02, 0.1, played[1][-1]), right, right, played)[0] == "proven"
