"""What a hop adds to the ledger, out of the files of its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relex.core import workspace
from relex.core.atomic import write_json
from relex.core.errors import InputError
from relex.core.hop import Hop, Training
from relex.ledger.lines import Ledger
from relex.ledger.spending import spent
from tests.nights.rows import SPENT, hop_row

TRAIN = {"steps": 24, "completions": 6144, "tokens": 61440}


@pytest.fixture(autouse=True)
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages' files of a training of 24 steps."""
    monkeypatch.chdir(tmp_path)
    evaluation: dict[str, Any] = {"proof": {"spent": {"race": {"rows": 800, "tokens": 4000}}}}
    for path, facts in ((workspace.TRAIN_METRICS, TRAIN), (workspace.EVALUATION_METRICS, evaluation)):
        path.parent.mkdir(exist_ok=True)
        write_json(path, facts)
    workspace.TIMINGS.mkdir()
    write_json(workspace.TIMINGS / "train.json", {"seconds": 21.0, "gpu_hours": 0.25})
    write_json(workspace.TIMINGS / "evaluate.json", {"seconds": 60.0})


def test_a_training_of_its_own_counts_as_a_whole() -> None:
    found = spent(Hop(), Ledger([]))
    assert (found.steps, found.rollouts, found.tokens, found.rows) == (24, 6144, 61440, {"race": 800})
    assert (found.training_seconds, found.other_seconds, found.gpu_hours) == (21.0, 60.0, 0.25)


def test_a_training_that_went_on_counts_from_where_it_went_on() -> None:
    earlier = Ledger([hop_row(Hop(), accepted=False), hop_row(Hop(campaign=2), accepted=False)])
    found = spent(Hop(hop=2, mode="continue", training=Training(grown=1)), earlier)
    assert (found.steps, found.rollouts, found.tokens) == (12, 3072, 61440 - SPENT.tokens)
    assert (found.training_seconds, found.other_seconds) == (12.0, 60.0)
    assert found.gpu_hours == pytest.approx(0.15)


def test_a_stage_that_was_up_to_date_costs_nothing() -> None:
    write_json(workspace.TIMINGS / "base.json", {"seconds": 7.0, "ended": "2026-11-27T00:00:00Z"})
    assert spent(Hop(), Ledger([])).other_seconds == 67.0
    earlier = Ledger([hop_row(Hop(), accepted=True, when="2026-11-28T00:00:00Z")])
    assert spent(Hop(campaign=2, night=2), earlier).other_seconds == 60.0


@pytest.mark.parametrize("key", TRAIN)
def test_a_file_that_lacks_a_figure_is_named(key: str) -> None:
    write_json(workspace.TRAIN_METRICS, {name: value for name, value in TRAIN.items() if name != key})
    with pytest.raises(InputError, match=f"what the ledger needs.*{key}"):
        spent(Hop(), Ledger([]))
