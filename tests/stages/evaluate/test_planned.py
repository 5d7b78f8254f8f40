"""What a proof may ask at most, before its first row."""

from __future__ import annotations

from pathlib import Path

from relex.proof.race import Racers
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.planned import racing


def test_controls_race_and_so_count_towards_a_budget() -> None:
    kinds = ("base", "observed", "champion", "candidate", "candidate", "control")
    contestants = [Contestant(kind, kind, 1, Path(kind), "weights", "speech") for kind in kinds]
    assert racing(contestants) == Racers(2, 1)
