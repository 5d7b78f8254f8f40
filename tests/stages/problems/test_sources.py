"""Problems from files and data sets: dealt or split by split, disjoint, and nothing that cannot be scored."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from relex.core.errors import InputError
from relex.rewards.problem import Problem, check_disjoint
from relex.stages.problems.params import Problems
from relex.stages.problems.sources import deal

SIZES = {"train": 12, "validation": 4, "test": 4, "ood": 0}


def section(source: dict[str, Any], seed: int = 0, **sizes: int) -> Problems:
    document = {"seed": seed, "source": source, "sizes": SIZES | sizes}
    return TypeAdapter(Problems).validate_python(document, strict=False)


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"q": f"What is {i} + {i}?", "a": 2 * i} for i in range(first, last)]


def write(path: Path, table: list[dict[str, Any]]) -> str:
    """Write rows in the format of the path's suffix; the path as text."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    else:
        with open(path, "w", newline="") as handle:
            writer = csv.DictWriter(handle, list(table[0]) if table else ["q", "a"])
            writer.writeheader()
            writer.writerows(table)
    return str(path)


def file_source(**changes: Any) -> dict[str, Any]:
    return {"kind": "file", "problem": "q", "answer": "a", "scorer": "integer", **changes}


def prompts(splits: dict[str, list[Problem]]) -> dict[str, list[str]]:
    return {split: [problem.prompt for problem in problems] for split, problems in splits.items()}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_one_file_is_dealt_by_the_seed_whatever_its_kind_and_order(tmp_path: Path, kind: str) -> None:
    source = file_source(path=write(tmp_path / f"p.{kind}", rows(0, 40)), template="{question} Number only.")
    turned = file_source(path=write(tmp_path / f"r.{kind}", rows(0, 40)[::-1]), template="{question} Number only.")
    splits = deal(section(source)).splits
    check_disjoint(splits)
    assert {split: len(problems) for split, problems in splits.items()} == {k: n for k, n in SIZES.items() if n}
    assert splits == deal(section(turned)).splits
    assert splits != deal(section(source, seed=1)).splits
    problem = splits["test"][0]
    assert problem.prompt.endswith("? Number only.")
    assert problem.scorer == "integer"
    assert int(problem.prompt.split()[2]) * 2 == int(problem.answer)


def test_a_file_per_split_keeps_its_problems_and_ood_may_stand_beside_a_dealt_file(tmp_path: Path) -> None:
    places = {"train": rows(0, 20), "validation": rows(20, 30), "test": rows(30, 40), "ood": rows(90, 99)}
    paths = {split: write(tmp_path / f"{split}.jsonl", table) for split, table in places.items()}
    found = prompts(deal(section(file_source(paths=paths), ood=3)).splits)
    for split, table in places.items():
        assert set(found[split]) <= {row["q"] for row in table}
    dealt = deal(section(file_source(path=paths["train"], paths={"ood": paths["ood"]}), ood=3)).splits
    assert {problem.prompt for problem in dealt["ood"]} <= {row["q"] for row in places["ood"]}


def test_a_data_set_in_a_folder_is_loaded_split_by_split(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", rows(0, 20))
    write(folder / "test.jsonl", rows(20, 30))
    common = {"kind": "dataset", "repo": str(folder), "problem": "q", "answer": "a", "scorer": "math-verify"}
    dealt = deal(section({**common, "split": "train"}, train=10)).splits
    assert {len(problems) for problems in dealt.values()} == {10, 4}
    splits = {"train": "train", "validation": "test"}
    apart = prompts(deal(section({**common, "splits": splits}, test=0)).splits)
    assert set(apart["validation"]) <= {row["q"] for row in rows(20, 30)}
    with pytest.raises(InputError, match="data set cannot be had"):
        deal(section({**common, "split": "absent"}))


def test_repeated_rows_count_once_and_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "p.jsonl", rows(0, 20) * 2)
    deal(section(file_source(path=path)))
    assert "20 of 40 rows are repeats" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"sizes.train; expected 13|sizes.train.*expected 13; found 12"):
        deal(section(file_source(path=path), train=13))


def test_prompts_above_the_longest_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = [{"q": "Once upon a time " * 9, "a": 1}, {"q": "There was an integer " * 9, "a": 2}]
    path = write(tmp_path / "p.jsonl", [*rows(0, 20), *long])
    splits = deal(section(file_source(path=path, longest=100))).splits
    assert max(len(problem.prompt) for problems in splits.values() for problem in problems) <= 100
    assert "2 of 22 prompts are longer" in capsys.readouterr().out


def test_a_row_in_two_splits_is_refused_with_both_places(tmp_path: Path) -> None:
    paths = {
        "train": write(tmp_path / "train.jsonl", rows(0, 20)),
        "validation": write(tmp_path / "validation.jsonl", [*rows(30, 40), {"q": "What  is 7 + 7?", "a": 14}]),
    }
    said = r"train.jsonl, row 8 \(train\) and .*validation.jsonl, row 11 \(validation\): a problem stands in two splits"
    with pytest.raises(InputError, match=said):
        deal(section(file_source(paths=paths), test=0))


def test_one_problem_with_two_answers_is_refused_with_both_places(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [*rows(0, 30), {"q": "What is 7 + 7?", "a": 15}])
    with pytest.raises(InputError, match=r"row 8 and .*row 31: the same problem has two answers; found '14' and '15'"):
        deal(section(file_source(path=path)))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"p.{kind}", rows(0, 3))
    with pytest.raises(InputError, match=r"row 1: a column is missing; expected 'problem'; found q, a"):
        deal(section(file_source(path=path, problem="problem")))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_an_empty_file_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match=rf"p.{kind}: no rows"):
        deal(section(file_source(path=write(tmp_path / f"p.{kind}", []))))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"q": "1+1?", "a": 2}\nnot JSON\n', "line 2 is not JSON"),
        ('{"q": "1+1?", "a": 2}\n\n[1]\n', "line 3 is not a JSON object"),
        ('{"q": "1+1?", "a": null}\n', "row 1: the row has no answer"),
        ('{"q": "1+1?", "a": 2}\n{"q": " ", "a": 2}\n', "row 2: the row has no problem"),
        ('{"q": ["1+1?"], "a": 2}\n', "row 1: the row has no problem"),
    ],
)
def test_a_row_that_is_no_problem_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(InputError, match=said):
        deal(section(file_source(path=str(tmp_path / "p.jsonl"))))


@pytest.mark.parametrize(
    ("scorer", "answer", "said"),
    [
        ("integer", "one half", "the answer is not an integer; found 'one half'"),
        ("integer", "1/2", "the answer is not an integer; found '1/2'"),
        ("math-verify", "\\frac{1}{", "math-verify cannot read the answer.*frac"),
        ("math-verify", "{", "math-verify cannot read the answer"),
    ],
)
def test_an_answer_that_the_scorer_cannot_read_is_named_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scorer: str, answer: str, said: str
) -> None:
    path = write(tmp_path / "p.jsonl", [*rows(0, 20)[:7], {"q": "Hard?", "a": answer}, *rows(7, 20)])
    source = file_source(path=path, scorer=scorer)
    with pytest.raises(InputError, match=rf"p.jsonl, row 8: {said}.*unusable: skip"):
        deal(section(source))
    splits = deal(section(source | {"unusable": "skip"})).splits
    assert all(problem.prompt != "Hard?" for problems in splits.values() for problem in problems)
    assert "row 8: left out" in capsys.readouterr().out


def test_an_answer_that_would_take_for_ever_is_refused_in_bounded_time(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"q": "Deep?", "a": "(" * 12_000}])
    with pytest.raises(InputError, match=r"row 1: math-verify does not finish reading the answer"):
        deal(section(file_source(path=path, scorer="math-verify")))
