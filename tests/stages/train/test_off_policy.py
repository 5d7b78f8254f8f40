"""What TRL leaves out of the loss where vLLM writes the rollouts is told, and nothing is said where it does not."""

from __future__ import annotations

from relex.stages.train.off_policy import dropped


def test_a_share_of_rollouts_that_the_loss_leaves_out_is_told_from_a_tenth_on() -> None:
    said = dropped([{"step": 1, "share_dropped": 0.0}, {"step": 2, "share_dropped": 0.5}])
    assert said is not None
    assert "25% of the rollouts were left out of the loss" in said
    assert dropped([{"step": 1, "share_dropped": 0.05}, {"step": 2, "share_dropped": 0.1}]) is None
    assert dropped([{"step": 1}]) is None
