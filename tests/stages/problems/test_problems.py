"""Problems: seeded, verifiable, in splits that are disjoint by content; from every kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from relex.core.errors import InputError
from relex.params.load import load
from relex.rewards.problem import SPLITS, check_disjoint, load_split, make_problem
from relex.rewards.score import score
from relex.stages.problems.params import Problems
from relex.stages.problems.sources import deal
from relex.stages.problems.stage import run
from tests.params.test_load import COMMITTED

SORT = {"kind": "sort-digits", "lengths": [5, 6], "ood_lengths": [8]}
ADD = {"kind": "addition", "numbers": [1, 20], "ood_numbers": [21, 60], "template": "Compute {question}."}
GYM = {
    "kind": "reasoning-gym",
    "task": "chain_sum",
    "config": {"min_terms": 2, "max_terms": 3},
    "ood_config": {"min_terms": 6, "max_terms": 6},
    "template": "{question} Answer:",
}
SIZES = {"train": 50, "validation": 20, "test": 20, "ood": 10}


def section(source: dict[str, Any], *, seed: int = 0, **changes: Any) -> Problems:
    document = {"seed": seed, "source": source, "sizes": SIZES, **changes}
    return TypeAdapter(Problems).validate_python(document, strict=False)


def test_the_stage_writes_every_split_at_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = load(COMMITTED)
    run(params.problems)
    for split in SPLITS:
        assert len(load_split(tmp_path / "problems", split)) == getattr(params.problems.sizes, split)


@pytest.mark.parametrize("source", [SORT, ADD, GYM], ids=lambda source: source["kind"])
def test_the_same_seed_gives_the_same_problems_and_another_seed_others(source: dict[str, Any]) -> None:
    assert deal(section(source, seed=1)).splits == deal(section(source, seed=1)).splits
    assert deal(section(source, seed=1)).splits != deal(section(source, seed=2)).splits


@pytest.mark.parametrize("source", [SORT, ADD, GYM], ids=lambda source: source["kind"])
def test_splits_are_disjoint_and_of_their_sizes(source: dict[str, Any]) -> None:
    splits = deal(section(source)).splits
    check_disjoint(splits)
    assert {split: len(problems) for split, problems in splits.items()} == SIZES


@pytest.mark.parametrize(
    "source", [SORT, ADD, GYM, GYM | {"scorer": "integer"}, GYM | {"scorer": "math-verify"}], ids=str
)
def test_the_reference_answer_scores_one_and_another_zero(source: dict[str, Any]) -> None:
    for problem in deal(section(source)).splits["ood"]:
        assert score(problem.scorer, problem.answer, problem.answer, problem.entry).value == 1
        assert score(problem.scorer, "99999999", problem.answer, problem.entry).value == 0
        assert problem.scorer == source.get(
            "scorer", {"sort-digits": "exact", "addition": "integer"}.get(source["kind"], "reasoning-gym")
        )


def test_ood_sequences_are_longer() -> None:
    splits = deal(section(SORT)).splits
    longest = max(len(p.answer) for split in ("train", "validation", "test") for p in splits[split])
    assert min(len(p.answer) for p in splits["ood"]) > longest


def test_sums_are_what_they_say_and_ood_ones_are_of_larger_numbers() -> None:
    splits = deal(section(ADD)).splits
    for split, problems in splits.items():
        for problem in problems:
            a, b = (int(part) for part in problem.prompt.removeprefix("Compute ").rstrip(".").split(" + "))
            assert problem.answer == str(a + b)
            assert all((21 <= n <= 60) if split == "ood" else (1 <= n <= 20) for n in (a, b))


def test_a_scorer_in_place_of_the_tasks_own_accepts_an_answer_in_words() -> None:
    problem = deal(section(GYM | {"scorer": "integer"})).splits["test"][0]
    own = deal(section(GYM)).splits["test"][0]
    said = f"The sum is {problem.answer}."
    assert score("integer", said, problem.answer).value == 1
    assert score("reasoning-gym", said, own.answer, own.entry).value == 0


def test_a_scorer_that_cannot_read_a_tasks_answers_is_refused_with_the_item() -> None:
    source = GYM | {"task": "letter_counting", "config": {}, "ood_config": {}, "scorer": "integer"}
    deal(section(source))  # counts are integers
    source |= {"task": "caesar_cipher"}
    with pytest.raises(InputError, match=r"caesar_cipher\), item 1: the answer is not an integer"):
        deal(section(source))


def test_a_prompt_in_two_splits_is_refused_by_name_however_its_white_space_is_written() -> None:
    splits = {"train": [make_problem("1 + 1 =", "2", "exact")], "test": [make_problem("1  + 1 =\n", "2", "exact")]}
    with pytest.raises(InputError, match=r"train and test.*1  \+ 1 ="):
        check_disjoint(splits)


@pytest.mark.parametrize(
    "source",
    [SORT | {"lengths": [2], "ood_lengths": [3]}, ADD | {"numbers": [1, 8]}],
    ids=lambda source: source["kind"],
)
def test_a_source_that_runs_dry_is_refused_with_the_numbers(source: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"problems\.sizes\.train.*expected 50"):
        deal(section(source, sizes=SIZES | {"validation": 40}))


@pytest.mark.parametrize("change", [{"task": "no_such_task"}, {"config": {"min_terms": -3}}, {"config": {"oops": 1}}])
def test_a_task_that_reasoning_gym_refuses_is_bad_input(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="reasoning-gym refuses"):
        deal(section({**GYM, "ood_config": {}, **change}))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"source": ADD | {"ood_numbers": [20, 60]}}, "ood_numbers must lie above numbers"),
        ({"source": ADD | {"numbers": [20, 1]}}, r"\[smallest, largest\]"),
        ({"source": ADD | {"template": "Compute it."}}, "the template drops the problem"),
        ({"source": GYM | {"scorer": "exact"}}, "scorer"),
        ({"system": "Be brief."}, "system needs chat: true"),
        ({"sizes": SIZES | {"validation": 1}}, "validation"),
        ({"source": {"kind": "file", "path": "a.csv", "paths": {"test": "b.csv"}}}, "either path"),
        ({"source": {"kind": "file", "paths": {"train": "a.csv"}}}, "at least train and validation"),
        ({"source": {"kind": "file", "path": "a.csv"}}, "sizes.ood must be 0"),
        (
            {"source": {"kind": "file", "path": "a.csv", "paths": {"ood": "b.csv"}}, "sizes": SIZES | {"ood": 0}},
            "is 0, but",
        ),
        ({"source": {"kind": "dataset", "repo": "a/b", "split": "train"}}, "needs a revision"),
        ({"source": {"kind": "dataset", "repo": "./b", "split": "train", "revision": "0" * 40}}, "a folder has none"),
    ],
)
def test_an_impossible_section_is_refused_when_params_are_read(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        section(**{"source": SORT, **document})


@pytest.mark.parametrize("text", ["", "{", '{"prompt": "1="}\n', "[1]\n"])
def test_a_broken_split_is_named(tmp_path, text):
    (tmp_path / "test.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"test\.jsonl"):
        load_split(tmp_path, "test")
