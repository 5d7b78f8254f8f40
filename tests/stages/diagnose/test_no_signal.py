"""A real training in which every group's rewards are equal: it ends cleanly, and the hop is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from relex.core.atomic import read_json
from relex.params.load import load
from relex.stages.base import stage as base
from relex.stages.decide import stage as decide
from relex.stages.diagnose import stage as diagnose
from relex.stages.evaluate import stage as evaluate
from relex.stages.extrapolate import stage as extrapolate
from relex.stages.problems import stage as problems
from relex.stages.train import stage as train
from tests.builders.project import ROOT, SMALL, Project

REASON = "no signal: reward was 0.00 in every one of 6 steps"


@pytest.mark.real
def test_a_hop_without_any_signal_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    answers_cut_off = {"train.max_completion_length": 1, "evaluate.backend": "transformers"}
    proof = {"evaluate.proof": {"first": 10, "race_samples": 2, "samples": 2}}
    Project(tmp_path).change({**SMALL, **answers_cut_off, **proof})
    monkeypatch.chdir(tmp_path)
    params = load(tmp_path / "params.yaml")
    problems.run(params.problems)
    base.run(params.base)
    train.run(params.train, params.problems)
    metrics = read_json(tmp_path / "metrics/train.json")
    assert metrics["no_signal"].startswith(REASON)
    assert "cut off at 1 tokens: raise train.max_completion_length" in metrics["no_signal"]
    diagnose.run(params.diagnose, params.extrapolate)
    assert read_json(tmp_path / "metrics/diagnose.json")["says"] == metrics["no_signal"]
    extrapolate.run(params.extrapolate)
    evaluate.run(params.evaluate, params.problems, params.decide)
    decide.run(params.decide)
    decision = read_json(tmp_path / "metrics/decision.json")
    assert not decision["promote"]
    assert decision["sentence"] == f"Promote nothing: {metrics['no_signal']}."  # what ledger and page say
    said = capfd.readouterr()
    assert "frozen weights" not in said.err
    assert "TURNS" not in said.out
