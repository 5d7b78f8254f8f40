"""The portfolio's page: pairs of nights, held against each other problem by problem."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.study.answers import answers, keep_answers
from flows.study.campaign_tables import Campaign
from flows.study.cases import PLAIN
from flows.study.portfolio import Night, Pair, first_night, page
from relex.ledger.lines import Right


def night(shares: list[float], rows: int, steps: int = 36) -> Night:
    value = sum(shares) / len(shares)
    right = dict.fromkeys(("test", "ood"), Right(value=value, low=value - 0.02, high=value + 0.02))
    return Night(steps, 3, right, rows, 100.0, {f"p{number}": share for number, share in enumerate(shares)})


def test_better_worse_and_neither_are_counted_by_the_interval_over_problems() -> None:
    pairs = [
        Pair("seed 0", night([1.0] * 40, 300), night([0.5] * 40, 200)),  # every problem alike: no width
        Pair("seed 1", night([0.5, 1.0] * 20, 300), night([1.0, 0.5] * 20, 200)),
        Pair("seed 0 bent", night([0.25] * 40, 200), night([0.5] * 40, 200, steps=24)),
    ]
    text = page(pairs, "the command")
    assert "    the command" in text
    assert "| seed 0 | 36 | 0.500 [0.480, 0.520] | 1.000 [0.980, 1.020] | +0.500 [+0.500, +0.500] | better |" in text
    assert "| not told apart |" in text
    assert (
        "| seed 0 bent | 24, 36 | 0.500 [0.480, 0.520] | 0.250 [0.230, 0.270] | -0.250 [-0.250, -0.250] | worse |"
        in text
    )
    assert "| 200, 300 (1.50 times) | 100, 100 |" in text
    assert "better in 1 of 3 and significantly worse in 1; their proofs took 1.33 times the rows in all" in text


def test_a_night_is_the_campaigns_first_and_its_proof_without_the_report() -> None:
    right = {"value": 0.9, "low": 0.88, "high": 0.92}
    total = {"steps": 36, "rows": {"race": 500, "gate": 100, "report": 9000}, "seconds": {"base": 40.0, "train": 9.0}}
    row = {"kind": "night", "night": 1, "hops": 3, "total": total, "right": {"test": right, "ood": right}}
    found = first_night(Campaign(0, [{"kind": "hop"}, row], (), 0), {"p0": 1.0})
    assert (found.steps, found.hops, found.rows, found.seconds, found.right["test"].value) == (36, 3, 600, 9.0, 0.9)


@pytest.mark.parametrize(
    ("decision", "models", "kept"),
    [
        ({"promote": True, "winner": "step_000090"}, ["base", "champion", "step_000090"], "step_000090"),
        ({"promote": False, "winner": None}, ["base", "champion", "observed"], "champion"),
        ({"promote": False, "winner": None}, ["base", "observed"], "base"),
    ],
)
def test_the_answers_kept_are_those_of_the_model_that_the_night_ended_with(
    tmp_path: Path, decision: dict, models: list[str], kept: str
) -> None:
    campaign = tmp_path / "campaign-0"
    (campaign / "metrics").mkdir(parents=True)
    (campaign / "evaluation/rows").mkdir(parents=True)
    keep_answers(campaign, 1)
    assert not (tmp_path / "campaign-0-answers").exists()  # nothing is decided yet
    (campaign / "metrics/decision.json").write_text(json.dumps(decision))
    for number, model in enumerate(models):
        table = [{"suite": "test", "problem": "p", "score": float(number)}]
        pq.write_table(pa.Table.from_pylist(table), campaign / f"evaluation/rows/{model}.parquet")
    keep_answers(campaign, 1)
    assert answers(campaign, 1) == {"p": models.index(kept)}
    (campaign / f"evaluation/rows/{kept}.parquet").unlink()
    keep_answers(campaign, 1)  # once: by then the rows are the next night's
    assert answers(campaign, 1) == {"p": models.index(kept)}


def test_the_plain_line_is_a_ray_without_variants() -> None:
    assert PLAIN == {"extrapolate.rays": "named", "extrapolate.variants": []}
