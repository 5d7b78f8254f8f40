"""The base asked before any training: what is counted, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relex.core.errors import InputError
from relex.params import first_answers as asking
from relex.params.answers_page import page
from relex.params.first_answers import Answers, FirstAnswers, first_answers
from relex.params.lengths import Cut
from relex.params.load import Params, load
from relex.rewards.problem import make_problem
from relex.rewards.score import score
from tests.builders.nights import make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    make_project(folder)
    rows = [{"problem": f"{a}{b}=", "answer": str(b)} for a in range(10) for b in range(10)]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def params_of(folder: Path) -> Params:
    params = load(folder / "params.yaml")
    file = {"kind": "file", "path": str(folder / "mine.jsonl"), "scorer": "integer"}
    raw = params.model_dump(mode="json")
    raw["problems"] |= {"source": file, "sizes": {"train": 60, "validation": 20, "test": 20, "ood": 0}}
    raw["base"]["source"] = {"kind": "folder", "path": str(folder / "base")}
    return Params.model_validate_json(json.dumps(raw))


@pytest.mark.real
def test_a_model_s_answers_are_counted_by_length_as_the_scorer_reads_them(project: Path) -> None:
    params = params_of(project)
    found = first_answers(params, project, shortest=2)
    assert len(found.asked) == 8
    assert all(len(one.texts) == len(one.right) == 8 for one in found.asked)
    assert found.cuts[0].tokens == 2
    assert not found.stopped
    shares = [cut.cut_off for cut in found.cuts]
    assert shares == sorted(shares, reverse=True)
    # At the longest an answer is the whole text: what the scorer says of it was counted.
    last = [
        (score("integer", text, one.problem.answer).value == 1.0, right[-1])
        for one in found.asked
        for text, right in zip(one.texts, one.right, strict=True)
    ]
    assert all(said == counted for said, counted in last)
    assert found.cuts[-1].right == sum(counted for _, counted in last) / len(last)
    assert sum(counted for _, counted in last) > 0  # a random model of 15 tokens hits some digit
    again = first_answers(params, project, shortest=2)
    assert again == found
    lines = "\n".join(page(found, 8, 0.9))
    assert "asked 8 of the problems that train, 64 answers" in lines
    assert "right:" in lines


@pytest.mark.real
def test_a_base_that_takes_too_long_is_stopped_and_said_to_be(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_SECONDS", 0.0)
    found = first_answers(params_of(project), project)
    assert found.stopped
    assert found.cuts[-1].tokens == 1
    assert any("stopped for its time" in line for line in page(found, 8, 0.5))


def test_a_hub_base_that_is_not_here_is_not_downloaded_unasked(project: Path) -> None:
    params = params_of(project)
    raw = params.model_dump(mode="json")
    raw["base"]["source"] = {"kind": "hub", "repo": "owner/no-such-model", "revision": "0" * 40}
    with pytest.raises(InputError, match="not downloaded yet"):
        first_answers(Params.model_validate_json(json.dumps(raw)), project, fetch=False)


def answers(*right: tuple[bool, ...], cut_off: float = 0.0) -> FirstAnswers:
    """Answers of two texts a problem, tried at 8 and at 16 tokens."""
    problem = make_problem("1 + 1", "2", "integer")
    asked = tuple(Answers(problem, ("2", "3"), (one, one[::-1])) for one in right)
    cuts = tuple(Cut(tokens, sum(one[0] + one[1] for one in right) / (2 * len(right)), cut_off) for tokens in (8, 16))
    return FirstAnswers(asked, cuts, stopped=False)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (answers((False, False)), "never right: RLVR has nothing to go by"),
        (answers((True, True)), "always right: there is nothing to learn"),
        (answers((True, True), (False, False)), "in no group were some answers right and some wrong"),
        (answers((True, False), cut_off=0.61), "61% of the answers are cut off at 8 tokens.*decide.max_truncated"),
    ],
)
def test_what_would_spoil_a_night_is_said_before_it(found: FirstAnswers, said: str) -> None:
    import re

    lines = page(found, 12, 0.5)
    assert [line for line in lines if line.startswith("CHECK") and re.search(said, line)]


def test_sound_answers_need_no_check() -> None:
    lines = page(answers((True, False)), 12, 0.5)
    assert not [line for line in lines if line.startswith("CHECK")]
    assert any("in 1 of 1 groups at 8 tokens" in line for line in lines)
