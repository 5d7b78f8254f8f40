"""From rows of a file, a Hugging Face data set or reasoning-gym to problems, each with the place it came from."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relex.core.errors import InputError
from relex.rewards.problem import Problem, make_problem

Row = Mapping[str, Any]
Adapter = Callable[[Row], tuple[Any, str]]  # a row's (question, answer)

TABLES = (".jsonl", ".parquet", ".csv")  # what read_table reads
_NEWLINE = "\n"
_LONGEST = 1 << 22  # characters of a line: no problem is so long, and memory is not endless


@dataclass(frozen=True)
class Found:
    """A problem and where it stands, for messages: `train.jsonl, row 3`."""

    problem: Problem
    where: str


def read_table(path: Path, where: str = "") -> list[dict[str, Any]]:
    """Rows of a .jsonl, .parquet or .csv file; InputError when it is missing or not what its name says.

    where: what asks for the file, for messages.
    """
    place = f"{where}: {path}" if where else str(path)
    try:
        if path.suffix == ".jsonl":
            return list(_json_lines(path))
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path).to_pylist()
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as handle:
                return list(csv.DictReader(handle))
    except FileNotFoundError:
        raise InputError("the file is missing", where=place, todo="put it there, or correct the path") from None
    except (ValueError, OSError, csv.Error) as error:
        raise InputError("the file cannot be read", where=place, found=error) from error
    raise InputError("unknown kind of file", where=place, expected=".jsonl, .parquet or .csv")


def check_columns(path: Path, wanted: Mapping[str, str], where: str) -> None:
    """InputError when the file lacks a column, by a look at its first row.

    wanted: each column by what names it, a key of params.yaml or an option. where: what asks for the file.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            there = list(pq.read_schema(path).names)
        except (ValueError, OSError) as error:
            raise InputError("the file cannot be read", where=f"{where}: {path}", found=error) from error
    elif path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8", errors="replace") as handle:
            there = next(csv.reader(handle), [])
    else:
        try:
            there = list(next(_json_lines(path), {}))
        except (ValueError, OSError) as error:
            raise InputError("the file cannot be read", where=f"{where}: {path}", found=error) from error
    for key, column in wanted.items():
        if there and column not in there:
            raise InputError(
                "a column is missing",
                where=f"{where}: {path}",
                expected=repr(column),
                found=", ".join(map(str, there))[:300],
                todo=f"name the column with {key}",
            )


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8", newline=_NEWLINE) as handle:
        lines = enumerate(iter(lambda: handle.readline(_LONGEST + 1), ""), 1)
        yield from _rows(lines)


def _rows(lines: Iterable[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    for number, line in lines:
        if len(line) > _LONGEST:
            raise ValueError(f"line {number} is longer than {_LONGEST} characters")
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        yield row


def read_dataset(repo: str, config: str | None, split: str, revision: str | None, where: str) -> list[dict[str, Any]]:
    """Rows of a data set: a folder, or of the hub at a revision, from the Hugging Face cache or the network.

    No code of its repository runs.
    """
    import datasets

    try:
        return datasets.load_dataset(repo, config, split=split, revision=revision).to_list()
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        at = f" at {revision}" if revision else ""
        raise InputError(
            "the data set cannot be had",
            where=f"{where}: {repo}{at}, split {split}",
            found=" ".join(str(error).split())[:300],
            todo="check id, revision and split, or give a local file",
        ) from error


def columns(question: str, answer: str) -> Adapter:
    """The adapter of a table whose columns have these names."""
    return lambda row: (row[question], answer_text(row[answer]))


def adapted(rows: Iterable[Row], adapt: Adapter, template: str, scorer: str, where: str) -> list[Found]:
    """Problems of rows; InputError names the first row that lacks a column, a question or an answer."""
    found = []
    for number, row in enumerate(rows, 1):
        place = f"{where}, row {number}"
        try:
            question, answer = adapt(row)
        except KeyError as error:
            raise InputError(
                "a column is missing", where=place, expected=error, found=", ".join(map(str, row))
            ) from None
        if not isinstance(question, str) or not question.strip():
            raise InputError("the row has no problem", where=place, found=repr(question)[:80])
        if not answer.strip():
            raise InputError("the row has no answer", where=place, todo="every problem needs a reference answer")
        entry = percent_entry(question) if scorer == "math-verify" else None
        prompt = template.replace("{question}", question)
        found.append(Found(make_problem(prompt, answer.strip(), scorer, entry), place))
    return found


def gym(
    task: str,
    config: Mapping[str, Any],
    *,
    seed: int,
    size: int,
    template: str,
    threshold: float,
    scorer: str | None,
    where: str,
) -> Iterator[Found]:
    """`size` items of a reasoning-gym task, judged by its own scorer at `threshold`, or by `scorer`."""
    import reasoning_gym

    from relex.rewards.reasoning import REFUSED

    if task in REFUSED:
        raise InputError(f"this reasoning-gym task is refused: {REFUSED[task]}", where=f"{where} ({task})")
    try:
        dataset = reasoning_gym.create_dataset(task, seed=seed, size=size, **config)
    except (ValueError, TypeError, AssertionError) as error:
        raise InputError(
            "reasoning-gym refuses the task or its configuration",
            where=f"{where} ({task})",
            found=" ".join(str(error).split()),
        ) from error
    for number, item in enumerate(dataset, 1):
        prompt = template.replace("{question}", item["question"])
        answer = "(any that passes)" if item["answer"] is None else str(item["answer"])
        if scorer is None:
            extra = {"task": task, "threshold": threshold, "item": item}
            problem = make_problem(prompt, answer, "reasoning-gym", json.loads(json.dumps(extra, default=str)))
        else:
            entry = percent_entry(item["question"]) if scorer == "math-verify" else None
            problem = make_problem(prompt, answer, scorer, entry)
        yield Found(problem, f"{where} ({task}), item {number}")


def answer_text(value: Any) -> str:
    """An answer as text; whole numbers without a fraction part, several answers separated by commas; None is empty."""
    if isinstance(value, list | tuple):
        return ", ".join(answer_text(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def percent_entry(question: str) -> dict[str, str] | None:
    """Where a question asks for a percentage, a percent sign in the answer is a unit, not part of the value."""
    return {"percent": "unit"} if re.search(r"percent|\\%|\d\s*%", question, re.IGNORECASE) else None
