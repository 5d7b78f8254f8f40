"""Suites: where problems come from, how they are split, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from relex.core.errors import InputError, InputErrors
from relex.params.load import Params
from relex.rewards.problem import make_problem
from relex.stages.evaluate.suites.ready_made import READY_MADE
from relex.stages.evaluate.suites.sources import load_problems
from relex.stages.evaluate.suites.suite import Suite, load_suites, split_validation
from relex.stages.problems import stage as problems
from tests.builders import DATA
from tests.builders.contests import SMALL, write_params

SUITES = DATA / "suites"
VALIDATION = {"name": "validation", "role": "validation", "source": {"kind": "problems", "split": "validation"}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    problems.run(write_params(tmp_path, SMALL).problems)
    return tmp_path


def suites_of(params: Params) -> list[Suite]:
    return load_suites(params.evaluate, params.problems)


def with_suites(folder: Path, *suites: dict[str, Any]) -> Params:
    return write_params(folder, {**SMALL, "evaluate.suites": [VALIDATION, *suites], "evaluate.max_model_len": 32_768})


def asked(folder: Path, *suites: dict[str, Any]) -> dict[str, Suite]:
    return {suite.name: suite for suite in suites_of(with_suites(folder, *suites))}


def test_the_default_suites_are_validation_in_two_parts_test_and_ood(project: Path) -> None:
    suites = suites_of(write_params(project, SMALL))
    assert [(suite.name, suite.role, len(suite.problems)) for suite in suites] == [
        ("choose", "choose", 60),
        ("gate", "gate", 60),
        ("test", "test", 40),
        ("ood", "ood", 40),
    ]


def test_the_parts_of_validation_are_fixed_by_content() -> None:
    some = [make_problem(f"{i}=", str(i), "exact") for i in range(50)]
    choose, gate = split_validation(some, 0.3)
    again = split_validation(list(reversed(some)), 0.3)
    assert len(gate) == 15
    assert {p.id for p in choose} | {p.id for p in gate} == {p.id for p in some}
    assert ([p.id for p in choose], [p.id for p in gate]) == tuple([p.id for p in part] for part in again)
    assert [len(part) for part in split_validation(some[:2], 0.01)] == [1, 1]


def test_a_suites_hash_follows_its_content(project: Path) -> None:
    base = {suite.name: suite.sha256 for suite in suites_of(write_params(project, SMALL))}
    again = {suite.name: suite.sha256 for suite in suites_of(write_params(project, SMALL))}
    hotter = {
        suite.name: suite.sha256 for suite in suites_of(write_params(project, {**SMALL, "evaluate.temperature": 0.9}))
    }
    assert again == base
    assert all(hotter[name] != base[name] for name in base)


ROWS = {
    "math": ("How many vertical asymptotes", "2", 1),
    "aime-2025": ("Find the sum of all integer bases", "70", 8),
    "aime-2026": ("a positive integer n is even", "277", 8),
    "hmmt-feb-2025": ("Compute the sum of the positive divisors", "103", 8),
    "amc23": ("Cities A and B", "27", 8),
    "olympiad-bench": ("Let $T$ be a rational number", "-\\frac{1}{2}, 3", 8),
}


@pytest.mark.parametrize("name", sorted(READY_MADE))
def test_a_ready_made_suite_reads_a_local_file_of_its_columns(project: Path, name: str) -> None:
    source = {"kind": "ready-made", "set": name, "path": str(SUITES / f"{name}.jsonl")}
    suite = asked(project, {"name": name, "role": "ood", "source": source})[name]
    words, answer, samples = ROWS[name]
    found = [problem for problem in suite.problems if words in problem.prompt]
    assert [(problem.answer, problem.scorer) for problem in found] == [(answer, "math-verify")]
    assert found[0].prompt.endswith("put your final answer within \\boxed{}.")
    assert suite.sampling.samples == samples
    if name == "math":
        assert (suite.sampling.temperature, suite.sampling.max_tokens) == (0.0, 4096)
    else:
        assert (suite.sampling.temperature, suite.sampling.top_p) == (0.7, 0.8)


def test_the_original_math_release_takes_its_answer_from_the_solution(project: Path) -> None:
    row = {"problem": "What is $1+1$?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}
    (project / "math.jsonl").write_text(json.dumps(row) + "\n")
    source = {"kind": "ready-made", "set": "math", "path": "math.jsonl"}
    assert asked(project, {"name": "m", "role": "test", "source": source})["m"].problems[0].answer == "2"


def test_a_question_for_a_percentage_takes_the_percent_sign_as_a_unit(project: Path) -> None:
    rows = [{"problem": "What percent of 50 is 25?", "answer": "50"}, {"problem": "Halve 1.", "answer": "0.5"}]
    (project / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = asked(project, {"name": "q", "role": "test", "source": {"kind": "file", "path": "q.jsonl"}})["q"]
    assert {problem.answer: problem.entry for problem in suite.problems} == {"50": {"percent": "unit"}, "0.5": None}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_file_of_any_kind_gives_the_same_problems(project: Path, kind: str) -> None:
    rows = [{"q": "1+1?", "a": "2"}, {"q": "2+2?", "a": "4"}]
    path = project / f"q.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with open(path, "w", newline="") as handle:
            writer = csv.DictWriter(handle, ["q", "a"])
            writer.writeheader()
            writer.writerows(rows)
    source = {"kind": "file", "path": path.name, "problem": "q", "answer": "a"}
    suite = {"name": "f", "role": "ood", "source": source, "scorer": "integer", "template": "Q: {question}\nA:"}
    found = asked(project, suite)["f"].problems
    assert {(p.prompt, p.answer, p.scorer) for p in found} == {
        ("Q: 1+1?\nA:", "2", "integer"),
        ("Q: 2+2?\nA:", "4", "integer"),
    }


def test_a_reasoning_gym_suite_is_seeded(project: Path) -> None:
    source = {"kind": "reasoning-gym", "task": "chain_sum", "seed": 5, "size": 6}
    suite = {"name": "sums", "role": "ood", "source": source, "limit": 4}
    first, again = asked(project, suite)["sums"], asked(project, suite)["sums"]
    assert first == again
    assert len(first.problems) == 4
    assert first.problems[0].scorer == "reasoning-gym"


def test_a_split_is_asked_as_it_is_trained_on_unless_the_suite_says_otherwise(project: Path) -> None:
    split = {"kind": "problems", "split": "test"}
    (project / "q.jsonl").write_text(json.dumps({"problem": "1+1?", "answer": "2"}) + "\n")
    suites = [
        VALIDATION,
        {"name": "as-trained", "role": "test", "source": split},
        {"name": "bare", "role": "test", "source": split, "chat": False},
        {"name": "other", "role": "test", "source": split, "system": "Sort."},
        {"name": "file", "role": "ood", "source": {"kind": "file", "path": "q.jsonl"}},
    ]
    chat = {**SMALL, "problems.chat": True, "problems.system": "Be brief.", "evaluate.suites": suites}
    found = {suite.name: suite for suite in suites_of(write_params(project, chat))}
    asked_as = {name: (suite.asking.chat, suite.asking.system) for name, suite in found.items()}
    assert asked_as == {
        "choose": (True, "Be brief."),
        "gate": (True, "Be brief."),
        "as-trained": (True, "Be brief."),
        "bare": (False, None),
        "other": (True, "Sort."),
        "file": (False, None),
    }
    assert len({found[name].sha256 for name in ("as-trained", "bare", "other")}) == 3


def test_repeats_are_asked_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = json.dumps({"problem": "1+1?", "answer": "2"}) + "\n"
    (project / "q.jsonl").write_text(row * 3)
    suite = asked(project, {"name": "q", "role": "test", "source": {"kind": "file", "path": "q.jsonl"}})["q"]
    assert len(suite.problems) == 1
    assert "2 of 3 problems are repeats" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"problem": "1+1?"}', r"row 1: a column is missing; expected 'answer'; found problem"),
        ('{"problem": "1+1?", "answer": null}', r"row 1: the row has no answer"),
        ('{"problem": "1+1?", "answer": " "}', r"row 1: the row has no answer"),
        ('{"problem": "", "answer": "2"}', r"row 1: the row has no problem"),
        ('{"problem": 5, "answer": "2"}', r"row 1: the row has no problem"),
        ("[1, 2]", r"cannot be read"),
        ("not JSON", r"cannot be read"),
        ("", r"has no problems"),
    ],
)
def test_a_file_without_problems_or_answers_is_refused_with_its_row(project: Path, content: str, message: str) -> None:
    (project / "q.jsonl").write_text(content + "\n")
    with pytest.raises(InputError, match=message):
        asked(project, {"name": "q", "role": "test", "source": {"kind": "file", "path": "q.jsonl"}})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "file", "path": "missing.jsonl"}, "the file is missing"),
        ({"kind": "file", "path": "params.yaml"}, "unknown kind of file"),
        ({"kind": "reasoning-gym", "task": "no_such_task", "seed": 0, "size": 5}, "refuses the task"),
    ],
)
def test_a_source_that_is_not_there_is_refused(project: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(project, {"name": "q", "role": "test", "source": source})


def test_a_data_set_that_cannot_be_had_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    source = {"kind": "dataset", "repo": "nobody/nothing", "revision": "0" * 40, "split": "test"}
    params = with_suites(project, {"name": "q", "role": "test", "source": source})
    with pytest.raises(InputError, match="the data set cannot be had"):
        load_problems(params.evaluate.suites[1])


def test_a_prompt_in_two_roles_is_refused(project: Path) -> None:
    for split, role in (("train", "test"), ("validation", "ood"), ("ood", "test")):
        lines = (project / f"problems/{split}.jsonl").read_text().splitlines()
        problem = json.loads(lines[0])
        row = {"problem": problem["prompt"], "answer": problem["answer"]}
        (project / "leak.jsonl").write_text(json.dumps(row) + "\n")
        ood = {"name": "ood", "role": "ood", "source": {"kind": "problems", "split": "ood"}}
        with pytest.raises(InputError, match="stands in two roles"):
            asked(project, ood, {"name": "leak", "role": role, "source": {"kind": "file", "path": "leak.jsonl"}})


FILE = {"kind": "file", "path": "q.jsonl"}


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ({"source": {"kind": "problems", "split": "tset"}}, "split"),
        ({"source": {"kind": "nowhere"}}, "kind"),
        ({"source": FILE, "template": "Answer this:"}, "the template drops the problem"),
        ({"source": FILE, "role": "training"}, "role"),
        ({"source": FILE, "temperature": 0.0, "samples": 2}, "temperature 0 is greedy"),
        ({"source": FILE, "max_tokens": 40_000}, "must be below max_model_len"),
        ({"source": FILE, "name": "validation"}, "distinct names"),
        ({"source": FILE, "bogus": 1}, "unknown key"),
        ({"source": {"kind": "ready-made", "set": "math"}}, "either revision"),
        ({"source": FILE, "system": "Be brief."}, "system needs chat: true"),
        ({"source": {"kind": "problems", "split": "test"}, "scorer": "integer"}, "its own prompts and scorer"),
    ],
)
def test_an_impossible_suite_is_refused_when_params_are_read(
    project: Path, suite: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputErrors, match=message):
        with_suites(project, {"name": "q", "role": "test", **suite})


def test_without_a_validation_suite_nothing_can_be_proven(project: Path) -> None:
    suites = [{"name": "t", "role": "test", "source": {"kind": "problems", "split": "test"}}]
    with pytest.raises(InputErrors, match="none has the role validation"):
        write_params(project, {**SMALL, "evaluate.suites": suites})
