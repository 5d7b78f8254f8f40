"""The cache of rows: how they are found again, what it keeps and what it lets go."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from relex.core.asking import Asking
from relex.core.errors import StageFailed
from relex.stages.evaluate.answering import forfeited
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.row_store import RowStore, prune
from relex.stages.evaluate.suites.suite import Suite
from tests.builders import asked
from tests.builders.leftovers import leave_behind

MODEL = Contestant("m", "candidate", 1, Path("m"), "1" * 64, "2" * 64)
ENGINE = {"backend": "vllm", "dtype": "float32"}


def save(store: RowStore, suite: Suite, problems: int, samples: int) -> None:
    """Some rows, in another order than they are asked for."""
    store.save(MODEL, suite, list(reversed(forfeited(store.asked(suite, problems, samples)))))


def places(store: RowStore, suite: Suite, problems: int, samples: int) -> list[tuple[str, int]]:
    table = store.rows(MODEL, suite, problems, samples)
    return [(row["problem"], row["sample"]) for row in table.to_pylist()]


def test_rows_are_found_whatever_the_suites_size_order_and_samples(tmp_path: Path) -> None:
    suite = asked.suite("choose", 10, samples=4)
    store = RowStore(tmp_path, ENGINE)
    assert len(store.missing(MODEL, suite, 10, 4)) == 40
    save(store, suite, 10, 2)
    ids = [problem.id for problem in suite.problems]
    assert places(store, suite, 10, 2) == [(name, sample) for name in ids for sample in range(2)]
    assert places(store, suite, 3, 1) == [(name, 0) for name in ids[:3]]
    assert [(problem.id, sample) for problem, sample in store.missing(MODEL, suite, 2, 3)] == [(ids[0], 2), (ids[1], 2)]
    other = dataclasses.replace(
        asked.suite("gate", 12, samples=16), name="gate", role="gate", problems=(*reversed(suite.problems[4:]),)
    )
    again = RowStore(tmp_path, ENGINE)
    assert again.missing(MODEL, other, 6, 2) == []
    assert places(again, other, 6, 1) == [(problem.id, 0) for problem in other.problems]


def test_whatever_could_change_a_row_makes_another_one(tmp_path: Path) -> None:
    suite = asked.suite("choose", 4)
    store = RowStore(tmp_path, ENGINE)
    save(store, suite, 4, 1)
    hotter = asked.suite("choose", 4, temperature=0.5)
    chat = dataclasses.replace(suite, asking=Asking(chat=True))
    scorer = asked.suite("choose", 4, scorer="integer")
    for changed in (hotter, chat, scorer, asked.suite("choose", 4, seed=1), asked.suite("choose", 4, max_tokens=13)):
        assert len(store.missing(MODEL, changed, 4, 1)) == 4
    assert len(RowStore(tmp_path, ENGINE | {"dtype": "bfloat16"}).missing(MODEL, suite, 4, 1)) == 4
    assert len(store.missing(dataclasses.replace(MODEL, weights_sha256="3" * 64), suite, 4, 1)) == 4
    assert store.missing(dataclasses.replace(MODEL, name="another name"), suite, 4, 1) == []


def test_rows_that_are_missing_or_that_no_suite_has_are_a_failure(tmp_path: Path) -> None:
    suite = asked.suite("choose", 4)
    store = RowStore(tmp_path, ENGINE)
    save(store, suite, 3, 1)
    with pytest.raises(StageFailed, match="1 of 4 rows of m on suite choose are not there"):
        store.rows(MODEL, suite, 4, 1)
    with pytest.raises(StageFailed, match="which has 4"):
        store.rows(MODEL, suite, 5, 1)


def test_rows_that_this_evaluation_asked_for_are_never_pruned(tmp_path: Path) -> None:
    suite = asked.suite("choose", 4)
    for dtype in ("float32", "bfloat16"):
        save(RowStore(tmp_path, {"dtype": dtype}), suite, 4, 1)
    store = RowStore(tmp_path, {"dtype": "float32"})
    store.rows(MODEL, suite, 4, 1)
    assert store.prune(limit=0) > 0
    assert len(list(tmp_path.rglob("*.rows"))) == 1
    assert RowStore(tmp_path, {"dtype": "float32"}).missing(MODEL, suite, 4, 1) == []


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, Path]:
    """Four files of 100 bytes, the oldest first, in two models' folders; one of an earlier release."""
    files = {}
    for age, name in enumerate(("a/1.rows", "b/1.parquet", "a/2.rows", "b/2.rows")):
        path = tmp_path / "rows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 + age, 1_000_000 + age))
        files[name] = path
    return files


def left(cache: dict[str, Path]) -> list[str]:
    return [name for name, path in cache.items() if path.exists()]


def test_a_cache_within_its_bound_is_left_alone(cache: dict[str, Path], tmp_path: Path) -> None:
    assert prune(tmp_path / "rows", [], limit=400) == 0
    assert left(cache) == list(cache)


def test_what_was_used_longest_ago_goes_first_and_no_more_than_needed(cache: dict[str, Path], tmp_path: Path) -> None:
    assert prune(tmp_path / "rows", [], limit=399) == 100
    assert left(cache) == ["b/1.parquet", "a/2.rows", "b/2.rows"]
    assert prune(tmp_path / "rows", [], limit=150) == 200
    assert left(cache) == ["b/2.rows"]
    assert not (tmp_path / "rows" / "a").exists()


def test_what_this_evaluation_used_stays_whatever_the_bound_and_is_young_again(
    cache: dict[str, Path], tmp_path: Path
) -> None:
    assert prune(tmp_path / "rows", [cache["a/1.rows"]], limit=0) == 300
    assert left(cache) == ["a/1.rows"]
    assert cache["a/1.rows"].stat().st_mtime > 1_000_100


def test_what_killed_writers_left_goes(cache: dict[str, Path], tmp_path: Path) -> None:
    leave_behind(tmp_path / "rows/a", "3.rows")
    assert prune(tmp_path / "rows", [], limit=400) == 0
    assert sorted(path.name for path in (tmp_path / "rows/a").iterdir()) == ["1.rows", "2.rows"]


def test_an_empty_cache_is_no_matter(tmp_path: Path) -> None:
    assert prune(tmp_path / "nowhere", [], limit=0) == 0
