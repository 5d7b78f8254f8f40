"""Which look at its validation problems a hop's is: fresh ones are dealt where the source has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from relex.core import workspace
from relex.core.atomic import read_json
from relex.params.load import load
from relex.stages.evaluate.stage import look_of
from relex.stages.evaluate.suites.params import FileSource
from relex.stages.problems import stage as problems
from relex.stages.problems.sources import deal
from tests.builders import ROOT

PARAMS = load(ROOT / "params.yaml")
ADDITION = load(ROOT / "infra/profiles/smollm2-135m.yaml")


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_slice_of_a_generator_is_fresh_and_everything_else_stays() -> None:
    dealt = [deal(PARAMS.problems, number) for number in range(4)]
    seen = [problem.content for one in dealt for problem in one.splits["validation"]]
    assert len(set(seen)) == len(seen) == 4 * PARAMS.problems.sizes.validation
    assert [one.looks for one in dealt] == [1, 1, 1, 1]
    for split in ("train", "test", "ood"):
        assert all(one.splits[split] == dealt[0].splits[split] for one in dealt)
        assert not set(seen) & {problem.content for problem in dealt[0].splits[split]}
    assert all(one.first == dealt[0].splits["validation"] for one in dealt)


def test_where_the_source_ends_the_slices_come_again_and_the_look_counts_them() -> None:
    # 400 sums, all dealt: each hop is asked the same 200, or four slices of 50 by turns.
    dealt = [deal(ADDITION.problems, number) for number in range(3)]
    assert [one.looks for one in dealt] == [1, 2, 3]
    assert dealt[0].splits == dealt[1].splits == dealt[2].splits
    sizes = ADDITION.problems.sizes.model_copy(update={"validation": 50})
    fewer = ADDITION.problems.model_copy(update={"sizes": sizes})
    assert [deal(fewer, number).looks for number in range(5)] == [1, 1, 1, 1, 2]


def test_the_stage_writes_its_slice_and_keeps_the_base_from_changing_with_it() -> None:
    problems.run(PARAMS.problems)
    first = {path.name: path.read_bytes() for path in workspace.PROBLEMS.iterdir()}
    problems.run(PARAMS.problems, 3)
    second = {path.name: path.read_bytes() for path in workspace.PROBLEMS.iterdir()}
    assert {name for name in first if first[name] != second[name]} == {"validation.jsonl", workspace.SLICE.name}
    assert look_of(PARAMS.evaluate) == 1
    assert len(read_json(workspace.HELD_OUT)) == 400 + 500 + 300


def test_problems_of_another_source_are_the_same_at_every_hop() -> None:
    problems.run(PARAMS.problems, 3)
    source = FileSource(kind="file", path="mine.jsonl")
    chosen, *others = PARAMS.evaluate.suites
    suites = (chosen.model_copy(update={"source": source}), *others)
    assert look_of(PARAMS.evaluate.model_copy(update={"suites": suites})) == 4
