"""Which engine gets which GPUs, and what identifies an engine in the rows' keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.core.errors import InputError
from relex.params.load import load
from relex.stages.evaluate.engine.settings import assign_gpus, engine_environments, engine_facts
from tests.builders import ROOT

EVALUATE = load(ROOT / "params.yaml").evaluate


@given(st.integers(1, 16), st.integers(1, 8), st.integers(1, 20))
def test_every_engine_has_gpus_of_its_own_and_as_many_engines_as_they_reach_for(
    count: int, tensor_parallel: int, engines: int
) -> None:
    gpus = [f"GPU-{number}" for number in range(count)]
    if tensor_parallel > count:
        with pytest.raises(InputError, match="not enough GPUs for one engine"):
            assign_gpus(gpus, tensor_parallel, engines)
        return
    shares = assign_gpus(gpus, tensor_parallel, engines)
    dealt = [gpu for share in shares for gpu in share]
    assert len(set(dealt)) == len(dealt)
    assert set(dealt) <= set(gpus)
    assert {len(share) for share in shares} == {tensor_parallel}
    assert len(shares) == min(engines, count // tensor_parallel)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0,1", "2,3"]),
        ("5, 3,7,1", ["5,3", "7,1"]),
        ("GPU-a,GPU-b,GPU-c", ["GPU-a,GPU-b"]),
    ],
)
def test_engines_are_pinned_to_the_gpus_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # this test runs where there are none
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in engine_environments(2, 3)] == expected


def test_engines_on_a_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(9)))
    assert [variables["OMP_NUM_THREADS"] for variables in engine_environments(1, 4)] == ["2"] * 4
    assert [variables["OMP_NUM_THREADS"] for variables in engine_environments(1, 20)] == ["1"] * 20


def test_batch_invariant_kernels_are_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    usual = engine_facts(EVALUATE)
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    assert engine_facts(EVALUATE) == usual | {"batch_invariant": True}
