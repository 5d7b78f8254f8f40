"""The cache of rows: what it keeps and what it lets go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relex.stages.evaluate import rows
from tests.builders.leftovers import leave_behind


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, Path]:
    """Four files of 100 bytes, the oldest first, in two models' folders."""
    files = {}
    for age, name in enumerate(("a/1.parquet", "b/1.part", "a/2.parquet", "b/2.parquet")):
        path = tmp_path / "rows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1_000_000 + age, 1_000_000 + age))
        files[name] = path
    return files


def left(cache: dict[str, Path]) -> list[str]:
    return [name for name, path in cache.items() if path.exists()]


def test_a_cache_within_its_bound_is_left_alone(cache: dict[str, Path], tmp_path: Path) -> None:
    assert rows.prune(tmp_path / "rows", [], limit=400) == 0
    assert left(cache) == list(cache)


def test_what_was_used_longest_ago_goes_first_and_no_more_than_needed(cache: dict[str, Path], tmp_path: Path) -> None:
    assert rows.prune(tmp_path / "rows", [], limit=399) == 100
    assert left(cache) == ["b/1.part", "a/2.parquet", "b/2.parquet"]
    assert rows.prune(tmp_path / "rows", [], limit=150) == 200
    assert left(cache) == ["b/2.parquet"]
    assert not (tmp_path / "rows" / "a").exists()


def test_what_this_evaluation_used_stays_whatever_the_bound_and_is_young_again(
    cache: dict[str, Path], tmp_path: Path
) -> None:
    assert rows.prune(tmp_path / "rows", [cache["a/1.parquet"]], limit=0) == 300
    assert left(cache) == ["a/1.parquet"]
    assert cache["a/1.parquet"].stat().st_mtime > 1_000_100


def test_what_killed_writers_left_goes(cache: dict[str, Path], tmp_path: Path) -> None:
    leave_behind(tmp_path / "rows/a", "3.parquet")
    (tmp_path / "rows/a/2.part").write_bytes(bytes(100))  # of a batch that is whole
    assert rows.prune(tmp_path / "rows", [], limit=400) == 0
    assert sorted(path.name for path in (tmp_path / "rows/a").iterdir()) == ["1.parquet", "2.parquet"]


def test_an_empty_cache_is_no_matter(tmp_path: Path) -> None:
    assert rows.prune(tmp_path / "nowhere", []) == 0
