"""A horizon withheld: real models, their rows on disk, and what the others' answers say of one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows.study.mixture import from_mixture
from flows.study.withheld import withheld
from relex.core.workspace import EVALUATION, PARAMS
from relex.policy.likelihood import log_likelihoods
from relex.stages.evaluate.schema import OUTPUT
from tests.builders import ROOT
from tests.builders.asked import untrained

STEPS = {12: "observed", 50: "step_000050", 100: "step_000100"}
# By model: completion and score of two samples of two problems.
ANSWERS = {
    "observed": [("123", 1.0), ("321", 0.0), ("456", 1.0), ("456", 1.0)],
    "step_000050": [("123", 1.0), ("123", 1.0), ("456", 1.0), ("654", 0.0)],
    "step_000100": [("321", 0.0), ("321", 0.0), ("654", 0.0), ("456", 1.0)],
}


@pytest.fixture
def hop(tmp_path: Path) -> Path:
    """A hop's folder: three models, the middle one unlike the others, which are alike."""
    places = {"observed": tmp_path / "observed"}
    places |= {name: tmp_path / "candidates" / name for name in STEPS.values() if name != "observed"}
    for name, place in places.items():
        untrained(place, seed=int(name == "step_000050"))
    shutil.copytree(places["observed"], tmp_path / "base")
    shutil.copy(ROOT / "params.yaml", tmp_path / PARAMS)
    rows = tmp_path / EVALUATION / "rows"
    rows.mkdir(parents=True)
    for name, answers in ANSWERS.items():
        pq.write_table(
            pa.Table.from_pylist([row(at, *answer) for at, answer in enumerate(answers)], OUTPUT),
            rows / f"{name}.parquet",
        )
    return tmp_path


def row(at: int, completion: str, score: float) -> dict:
    prompt = ("231=", "564=")[at // 2]
    found = {"suite": "test", "problem": prompt, "sample": at % 2, "prompt": prompt, "completion": completion}
    return {**found, "tokens": len(completion) + 1, "finish_reason": "stop", "score": score}


def test_the_middle_horizon_is_told_from_the_answers_of_the_others(hop: Path) -> None:
    (found,) = withheld(hop, STEPS)
    assert (found["step"], found["asked"]) == (50, 0.75)
    others = [*ANSWERS["observed"], *ANSWERS["step_000100"]]
    tokenizer = AutoTokenizer.from_pretrained(hop / "base")
    prompts = [tokenizer(text)["input_ids"] for text in ("231=", "231=", "564=", "564=") * 2]
    completions = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text, _ in others]
    near, middle = (
        log_likelihoods(AutoModelForCausalLM.from_pretrained(hop / place), prompts, completions)
        for place in ("observed", "candidates/step_000050")
    )
    right, problems = np.array([score for _, score in others]), np.array([0, 0, 1, 1] * 2)
    expected = from_mixture(np.stack([near, near]), middle, right, problems)  # the outer two are one model
    for way in ("all_others", "neighbours"):
        assert found[way]["off"] == pytest.approx(expected.right.mean() - 0.75, abs=1e-6)
        assert found[way]["effective"] == pytest.approx(expected.effective, abs=1e-6)
    assert expected.effective < 0.99
    share = np.log(50 / 12) / np.log(100 / 12)
    assert found["line"]["off"] == pytest.approx((1 - share) * 0.75 + share * 0.25 - 0.75)


def test_what_was_found_is_kept(hop: Path) -> None:
    found = withheld(hop, STEPS)
    shutil.rmtree(hop / "candidates")
    assert withheld(hop, STEPS) == found
