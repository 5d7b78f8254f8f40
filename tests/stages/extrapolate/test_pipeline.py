"""Works in flight: what is begun before what is waited for, and that nothing stays behind after an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relex.stages.extrapolate.pipeline import Pipeline


def work(name: str, done: list[str], stages: int = 2) -> Iterator[None]:
    try:
        for stage in range(stages):
            done.append(f"{name}{stage}")
            yield
        done.append(f"{name} done")
    finally:
        done.append(f"{name} closed")


def test_a_new_work_begins_before_the_older_ones_go_on():
    done = list[str]()
    with Pipeline() as pipeline:
        for name in "abc":
            pipeline.start(work(name, done))
            done.append("|")
    begun = [line.split() for line in " ".join(done).replace(" done", "-done").replace(" closed", "-closed").split("|")]
    assert begun[0] == ["a0"]
    assert begun[1] == ["b0", "a1"]
    assert begun[2] == ["c0", "b1", "a-done", "a-closed"]
    assert begun[3] == ["c1", "b-done", "b-closed", "c-done", "c-closed"]


def test_more_threads_have_more_works_begun():
    done = list[str]()
    with Pipeline(ahead=3) as pipeline:
        for name in "abcd":
            pipeline.start(work(name, done))
        assert done == ["a0", "b0", "c0", "d0", "a1"]


def test_a_work_without_stages_ends_at_once():
    done = list[str]()
    with Pipeline() as pipeline:
        pipeline.start(work("a", done, stages=0))
        assert not pipeline.flying


def test_an_error_closes_all_works():
    done = list[str]()

    def failing() -> Iterator[None]:
        yield
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), Pipeline() as pipeline:
        pipeline.start(work("a", done, stages=5))
        pipeline.start(failing())
        pipeline.start(work("b", done))
    assert done[-2:] == ["b closed", "a closed"]
