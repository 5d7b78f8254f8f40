"""What a night says at its end of models that the proof and its report asked by need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.summary import accuracy_table, proof_line
from relex.core.atomic import read_json
from tests.builders.report_nights import write_night

DASH = "\N{EN DASH}"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    accuracy = {"base": 0.30, "observed": 0.36, "step_000020": 0.55, "step_000040": 0.80}
    folder: Path = write_night(tmp_path_factory.mktemp("night") / "night", accuracy)
    return read_json(folder / "metrics/evaluate.json")


def test_every_model_has_its_line_with_a_dash_where_it_was_not_asked(evaluation: dict[str, Any]) -> None:
    _, *lines = accuracy_table(evaluation)
    by_model = {line.split()[0]: line for line in lines}
    assert by_model.keys() == evaluation["models"].keys()
    for suite in ("test", "ood"):
        cell = evaluation["metrics"]["step_000040"][suite]["avg_at_4"]
        assert f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" in by_model["step_000040"]
    assert by_model["step_000020"].split()[1:] == [DASH, DASH]


def test_what_the_proof_took_is_said_by_part_and_beside_the_rollouts(evaluation: dict[str, Any]) -> None:
    rows = {part: spent["rows"] for part, spent in evaluation["proof"]["spent"].items()}
    line = proof_line(evaluation, 2560)
    assert line.startswith(f"{sum(rows.values()):,} rows (")
    assert all(f"{part} {count:,}" in line for part, count in rows.items())
    assert line.endswith(f"{sum(rows.values()) / 2560:.2f} times the rollouts")
