"""The study's other ways, and its control: a base fine-tuned on a hop's right completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.study.campaign_tables import Campaign
from flows.study.fine_tuned import fine_tune
from flows.study.sides import Side, lines
from relex.checkpoints.digest import weights_sha256
from relex.ledger.lines import Right
from relex.policy.completions import read_completions
from relex.policy.likelihood import log_likelihoods
from relex.stages.diagnose.fitting import right_of
from relex.stages.diagnose.moving_model import load_model
from tests.flows.study.test_campaign import campaign
from tests.stages.diagnose.test_diagnose import sorting  # noqa: F401  a fixture


def test_fine_tuning_makes_the_right_completions_likelier_and_the_same_bytes_again(
    sorting: tuple[Path, Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    _, base, completions = sorting
    table, _ = read_completions(completions)
    right = right_of(table, table.column("problem_id").to_pylist())
    for name in ("one", "other"):
        assert fine_tune(base, completions, tmp_path / name) == len(right.completions)
    before, after = (
        right.shares @ log_likelihoods(load_model(folder), right.prompts, right.completions)
        for folder in (base, tmp_path / "one")
    )
    assert after > before + 0.02
    assert weights_sha256(tmp_path / "one") == weights_sha256(tmp_path / "other") != weights_sha256(base)
    assert (tmp_path / "one" / "tokenizer.json").is_file()  # an engine can load it


def test_every_way_has_its_line_and_the_control_claims_no_seconds() -> None:
    test, ood = Right(value=0.906, low=0.89, high=0.92), Right(value=0.885, low=0.87, high=0.9)
    found = lines(
        [Side("as params.yaml has it", 3, 36, test, ood, 161.4), Side("a control", None, 12, test, ood, None)]
    )
    assert "| as params.yaml has it | 3 | 36 | 0.906 [0.890, 0.920] | 0.885 [0.870, 0.900] | 161 |" in found
    assert "| a control | - | 12 | 0.906 [0.890, 0.920] | 0.885 [0.870, 0.900] | - |" in found


def test_the_ways_run_on_the_campaigns_seed_for_one_night_without_another_true_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.study import sides as study_sides

    asked: list[tuple[int, dict[str, Any]]] = []

    def run(seed: int, options: Any) -> Campaign:
        asked.append((seed, dict(options)))
        return done(seed)

    def done(seed: int) -> Campaign:
        found = campaign(seed)
        for row in found.rows:
            row["hops"] = 2
            row["right"]["ood"] = row["right"]["test"]
        return found

    whole = Right(value=1.0, low=1.0, high=1.0)
    control = Side("control", None, 12, whole, whole, None)
    monkeypatch.setattr(study_sides, "_fine_tuned", lambda seed: control)
    options = {"sides": True, "nights": 3, "true_steps": 900, "mode": None, "window": None, "every": 90}
    found = study_sides.sides(done(5), options, run)
    assert [seed for seed, _ in asked] == [5, 5, 5]
    assert all((one["nights"], one["true_steps"]) == (1, 0) for _, one in asked)
    assert [(one["mode"], one["window"]) for _, one in asked] == [("reground", None), ("continue", None), (None, 45)]
    assert len(found) == 5
    assert found[0].steps == 24
