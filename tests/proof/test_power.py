"""What can be proven, before anything runs."""

from __future__ import annotations

import pytest

from relex.proof.power import problems_to_show_no_loss
from relex.proof.rules import Rules

RULES = Rules(alpha=0.05, min_gain=0.01, max_ood_loss=0.02, ood_alpha=0.1, max_truncated=0.05)


@pytest.mark.parametrize(("loss", "problems"), [(0.02, 114), (0.05, 45), (1.0, 1), (0.0, 0)])
def test_that_nothing_was_lost_takes_so_many_problems(loss: float, problems: int) -> None:
    rules = RULES.model_copy(update={"max_ood_loss": loss})
    assert problems_to_show_no_loss(rules) == problems
    if 0 < loss < 1:
        assert (1 - loss) ** problems <= 0.1 < (1 - loss) ** (problems - 1)
