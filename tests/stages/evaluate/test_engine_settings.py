"""Which engine gets which GPUs, and what identifies an engine in the rows' keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import DeepseekV3Config, LlamaConfig, Qwen3Config

from relex.core.errors import InputError
from relex.core.topology import Gpu, Topology
from relex.params.load import load
from relex.stages.evaluate.engine.settings import assign_gpus, engine_environments, engine_facts, engine_settings
from relex.stages.evaluate.engine.vllm_options import options
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


FOUR = tuple(Gpu("H100", 80 << 30, name) for name in ("5", "3", "7", "1"))


def test_engines_are_pinned_to_the_gpus_that_this_process_may_use() -> None:
    found = engine_environments(2, 3, found=Topology(FOUR, "cuda"))
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in found] == ["5,3", "7,1"]


@pytest.mark.parametrize("machine", [Topology((), "cpu"), Topology(FOUR, "cpu")], ids=["no-gpu", "cpu-build"])
def test_engines_on_a_cpu_share_its_cores_and_so_do_those_built_for_it_beside_gpus(
    monkeypatch: pytest.MonkeyPatch, machine: Topology
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(9)))
    for engines, threads in ((4, "2"), (20, "1")):
        found = engine_environments(1, engines, found=machine)
        assert [variables["OMP_NUM_THREADS"] for variables in found] == [threads] * engines
        assert all("CUDA_VISIBLE_DEVICES" not in variables for variables in found)


def test_transformers_uses_the_gpus_whatever_vllm_was_built_for() -> None:
    found = engine_environments(1, 8, backend="transformers", found=Topology(FOUR, "cpu"))
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in found] == ["5", "3", "7", "1"]


def test_on_a_gpu_prompts_are_prefilled_in_chunks_and_the_memory_that_others_hold_is_left_to_them() -> None:
    settings = engine_settings(EVALUATE)
    on_cpu = options(settings, None)
    assert on_cpu["enable_chunked_prefill"] is False
    assert "gpu_memory_utilization" not in on_cpu
    alone = options(settings, (79 << 30, 80 << 30))
    assert "enable_chunked_prefill" not in alone  # vLLM's own default is on
    assert "max_num_batched_tokens" not in alone
    assert alone["gpu_memory_utilization"] == 0.9
    assert options(settings, (40 << 30, 80 << 30))["gpu_memory_utilization"] == 0.48


@given(st.sampled_from(["float32", "bfloat16"]), st.integers(1, 40), st.integers(1, 32), st.integers(1, 256), st.data())
def test_on_a_cpu_the_cache_holds_every_sequence_at_its_longest_and_is_no_larger_than_it_may_be(
    dtype: str, layers: int, heads: int, size: int, data: st.DataObject
) -> None:
    longest, most = data.draw(st.integers(1, 32_768)), data.draw(st.integers(1, 64))
    settings = {"dtype": dtype, "max_model_len": longest, "tensor_parallel": 1, "cpu_kv_cache_gib": most}
    config = Qwen3Config(num_hidden_layers=layers, num_key_value_heads=heads, head_dim=size)
    found = options(settings, None, config)
    token = 2 * layers * heads * size * {"float32": 4, "bfloat16": 2}[dtype]
    assert found["kv_cache_memory_bytes"] >= min(most << 30, found["max_num_seqs"] * longest * token)
    assert found["kv_cache_memory_bytes"] <= most << 30
    if longest % 256 == 0:
        assert found["kv_cache_memory_bytes"] == min(most << 30, found["max_num_seqs"] * longest * token)


def test_a_model_whose_layers_keep_something_else_has_the_cache_that_it_may_have() -> None:
    settings = engine_settings(EVALUATE) | {"cpu_kv_cache_gib": 3}
    assert options(settings, None, DeepseekV3Config())["kv_cache_memory_bytes"] == 3 << 30
    small = LlamaConfig(hidden_size=64, num_attention_heads=4, num_hidden_layers=1)  # without head_dim
    del small.head_dim
    assert options(settings, None, small)["kv_cache_memory_bytes"] < 3 << 30


def test_batch_invariant_kernels_are_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    usual = engine_facts(EVALUATE)
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    assert engine_facts(EVALUATE) == usual | {"batch_invariant": True}


def test_engines_that_shall_be_reproducible_get_batch_invariant_kernels_and_keys_of_their_own() -> None:
    on_gpus = engine_environments(1, 4, reproducible=True, found=Topology(FOUR, "cuda"))
    assert [variables["VLLM_BATCH_INVARIANT"] for variables in on_gpus] == ["1"] * 4
    for usual in (
        engine_environments(1, 4, found=Topology(FOUR, "cuda")),
        engine_environments(1, 4, reproducible=True, found=Topology((), "cpu")),  # that build has none
        engine_environments(1, 4, backend="transformers", reproducible=True, found=Topology(FOUR, "cuda")),
    ):
        assert all("VLLM_BATCH_INVARIANT" not in variables for variables in usual)
    assert "reproducible" not in engine_facts(EVALUATE)
    wanted = EVALUATE.model_copy(update={"reproducible": True})
    assert engine_facts(wanted) == engine_facts(EVALUATE) | {"reproducible": True}
