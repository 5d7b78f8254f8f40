"""What MLflow's pages show of an evaluation."""

from __future__ import annotations

import math
from typing import Any

import pytest

from relex.registry.store import nights_view
from relex.registry.store.views import accuracy_table, model_metrics, note, numbers

EVALUATION: dict[str, Any] = {
    "models": {
        "base": {"kind": "base", "step": 0},
        "step_000020": {"kind": "candidate", "step": 20},
        "champion": {"kind": "champion", "step": None},
    },
    "metrics": {
        "base": {"gate": {"avg_at_2": {"value": 0.25, "low": 0.2, "high": 0.3}, "tokens": 7}},
        "step_000020": {
            "gate": {"avg_at_2": {"value": 0.5, "low": 0.4, "high": 0.6}, "tokens": 9},
            "test": {"avg_at_2": {"value": 0.75, "low": 0.7, "high": 0.8}, "tokens": 11},
        },
    },
}


def test_measurements_come_before_the_ends_of_their_intervals_and_apart_from_them() -> None:
    found = model_metrics(EVALUATION, "step_000020")
    assert list(found.items()) == [
        ("eval/test/avg_at_2", 0.75),
        ("eval/test/tokens", 11.0),
        ("eval/gate/avg_at_2", 0.5),
        ("eval/gate/tokens", 9.0),
        ("eval_interval/test/avg_at_2_low", 0.7),
        ("eval_interval/test/avg_at_2_high", 0.8),
        ("eval_interval/gate/avg_at_2_low", 0.4),
        ("eval_interval/gate/avg_at_2_high", 0.6),
    ]
    assert model_metrics(EVALUATION, "champion") == {}


def test_the_table_has_a_row_per_model_and_suite_the_reported_suites_first() -> None:
    assert accuracy_table(EVALUATION) == {
        "suite": ["test", "gate", "gate"],
        "model": ["step_000020", "base", "step_000020"],
        "step": [20, 0, 20],
        "right": [0.75, 0.25, 0.5],
        "low": [0.7, 0.2, 0.4],
        "high": [0.8, 0.3, 0.6],
        "tokens": [11, 7, 9],
    }


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("step_000020", "A forecast, optimiser step 20. Right samples: test 75.0% (70.0% to 80.0%), gate 50.0%"),
        ("base", "The base model. Right samples: gate 25.0% (20.0% to 30.0%)."),
    ],
)
def test_a_note_says_what_a_model_is_and_what_it_scored(model: str, words: str) -> None:
    assert note(EVALUATION, model).startswith(words)


def test_only_finite_numbers_become_metrics() -> None:
    value = {"a": 1, "b": {"c": 2.5, "d": "text", "e": True}, "f": math.nan, "g": math.inf, "h": None}
    assert dict(numbers("x", value)) == {"x/a": 1.0, "x/b/c": 2.5}


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("sqlite:////somewhere/mlflow.db", "http://127.0.0.1:5000"),
        ("https://user:pass@word@registry.example:8443/mlflow/", "https://registry.example:8443/mlflow"),
    ],
)
def test_the_page_of_all_nights_is_named_without_credentials(uri: str, root: str) -> None:
    assert nights_view.address(uri, "7") == f"{root}/#/experiments/7/runs?viewStateShareKey=nights"
