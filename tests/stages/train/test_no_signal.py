"""What a training says that had nothing to learn from."""

from __future__ import annotations

from relex.stages.train.no_signal import at_first, throughout

SILENT = {"share_without_signal": 1.0, "reward": 0.0, "share_truncated": 0.9}


def test_first_steps_without_any_signal_are_warned_of():
    assert at_first([SILENT] * 4) is None
    assert "first 4 steps" in at_first([SILENT] * 4, 4)  # of a window that has no more
    assert "all wrong" in at_first([SILENT] * 5)
    assert "90%" in at_first([SILENT] * 5)
    assert "too easy" in at_first([{**SILENT, "reward": 1.0}] * 5)
    assert at_first([SILENT] * 4 + [{**SILENT, "share_without_signal": 0.9}]) is None


def test_a_whole_run_without_signal_says_why_and_what_to_do():
    cut = throughout([SILENT] * 12, 64)
    assert "no signal: reward was 0.00 in every one of 12 steps" in cut
    assert "90% of the answers were cut off at 64 tokens: raise train.max_completion_length" in cut
    easy = throughout([{**SILENT, "reward": 1.0, "share_truncated": 0.0}] * 12, 64)
    assert "reward was 1.00" in easy
    assert "too easy for this base (0% of the answers were cut off at 64 tokens): take harder ones" in easy
    hard = throughout([{**SILENT, "share_truncated": 0.1}] * 12, 64)
    assert "too hard" in hard
    assert "take easier problems" in hard
    mixed = throughout([SILENT, {**SILENT, "reward": 0.25}], 64)  # some groups all right, the others all wrong
    assert "reward was 0.00 to 0.25" in mixed


def test_a_run_that_had_a_signal_once_is_not_one_without():
    assert throughout([SILENT] * 11 + [{**SILENT, "share_without_signal": 0.9}], 64) is None
    assert throughout([], 64) is None
