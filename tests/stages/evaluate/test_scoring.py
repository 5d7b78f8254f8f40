"""Scores beside the generation: each row its own, whatever chunk it came to stand in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from relex.core.errors import InputError
from relex.rewards.problem import make_problem
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.row_store import Asked, RowStore
from relex.stages.evaluate.scoring import CHUNK, Scoring
from relex.stages.evaluate.suites.sampling import Sampling
from relex.stages.evaluate.suites.suite import Suite

MODEL = Contestant("m", "candidate", 1, Path("m"), "1" * 64, "2" * 64)


def suite(scorer: str, answers: list[str]) -> Suite:
    problems = tuple(make_problem(f"question {number}", answer, scorer) for number, answer in enumerate(answers))
    return Suite("choose", "choose", problems, Sampling(1, 1.0, 1.0, 100, 0))


def answer(asked: Asked, text: str) -> tuple[Asked, dict[str, Any]]:
    return asked, {"prompt": asked[0].prompt, "text": text, "tokens": 1, "finish": "stop", "seconds": 0.0}


def scored(folder: Path, asked: Suite, texts: list[str], step: int) -> list[tuple[float, bool]]:
    store = RowStore(folder, {})
    work = Scoring(store)
    places = store.asked(asked, len(texts), 1)
    for start in range(0, len(texts), step):
        work.add(MODEL, asked, [answer(places[at], texts[at]) for at in range(start, min(start + step, len(texts)))])
    work.finish()
    work.close()
    assert work.seconds > 0
    table = store.rows(MODEL, asked, len(texts), 1)
    return list(zip(table.column("score").to_pylist(), table.column("timed_out").to_pylist(), strict=True))


def test_scores_do_not_depend_on_the_chunk(tmp_path: Path) -> None:
    texts = [f"\\boxed{{{number % 5}}}" for number in range(2 * CHUNK + 5)]
    texts[3] = texts[40] = "\\boxed{9^{9^{9^{9}}}}"
    asked = suite("math-verify", ["3"] * len(texts))
    together = scored(tmp_path / "together", asked, texts, len(texts))
    apart = scored(tmp_path / "apart", asked, texts, 1)
    assert together == apart
    assert [one[1] for one in together] == [at in (3, 40) for at in range(len(texts))]
    assert [one[0] for one in together] == [float(text == "\\boxed{3}") for text in texts]


def test_rows_without_a_parser_are_saved_at_once_and_others_by_the_chunk(tmp_path: Path) -> None:
    for scorer, left in (("exact", 0), ("math-verify", CHUNK - 1)):
        asked = suite(scorer, ["3"] * (2 * CHUNK - 1))
        store = RowStore(tmp_path, {})
        work = Scoring(store)
        for place in store.asked(asked, len(asked.problems), 1):
            work.add(MODEL, asked, [answer(place, "3")])
        deadline = time.monotonic() + 60
        while len(store.missing(MODEL, asked, len(asked.problems), 1)) > left and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(store.missing(MODEL, asked, len(asked.problems), 1)) == left
        work.finish()
        assert store.missing(MODEL, asked, len(asked.problems), 1) == []
        work.close()


def test_a_reference_that_cannot_be_scored_is_told(tmp_path: Path) -> None:
    asked = suite("integer", ["three"])
    work = Scoring(RowStore(tmp_path, {}))
    with pytest.raises(InputError, match="not an integer"):
        work.add(MODEL, asked, [answer((asked.problems[0], 0), "3")])
        work.finish()
    work.close()
