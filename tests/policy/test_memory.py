"""Caches counted from a configuration against those that a model makes, and batches that fit into what there is."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM, Qwen3Config

from relex.policy.completions import sample_completions
from relex.policy.memory import cache_bytes, room_beside, rows_at_once
from relex.rewards.problem import make_problem
from relex.stages.base.embedded import make_tokenizer
from tests.builders.windows import tiny_llama

QWEN3_8B = Qwen3Config(num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128)


def test_a_cache_is_as_large_as_counted():
    model = tiny_llama()
    cache = model(torch.zeros(3, 7, dtype=torch.long), use_cache=True).past_key_values
    held = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert held == 3 * 7 * cache_bytes(model.config, 4)


def test_completions_of_8b_are_sampled_in_parts_that_fit_beside_the_weights():
    each = cache_bytes(QWEN3_8B, 4)
    assert each == 294_912
    room = int(80 * 2**30 * 0.8) - 4 * 8_190_735_360
    rows = rows_at_once(each, 300 + 3072, room)
    assert 10 < rows < 200
    assert rows * each * (300 + 3072) < room
    assert rows_at_once(each, 300 + 3072, 0) == 1


def test_room_does_not_follow_what_other_programs_hold():
    assert room_beside(tiny_llama()) == room_beside(tiny_llama(hidden_size=32)) > 0


def test_a_batch_that_does_not_fit_is_sampled_in_parts_with_the_same_draws(monkeypatch):
    tokenizer = make_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer), initializer_range=0.4)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    problems = [make_problem(f"{digits}=", "".join(sorted(digits)), "exact") for digits in ("31", "9", "8675", "20")]
    most, generate = [], LlamaForCausalLM.generate

    def watched(self, *args, input_ids, **more):
        most.append(len(input_ids))
        return generate(self, *args, input_ids=input_ids, **more)

    monkeypatch.setattr(LlamaForCausalLM, "generate", watched)

    def sampled(room):
        most.clear()
        return sample_completions(
            model, tokenizer, problems, samples=5, temperature=0.7, max_new_tokens=6, seed=3, room=room
        )

    whole = sampled(None)
    assert most == [20]
    parts = sampled(4 * 11 * cache_bytes(model.config, 4))
    assert max(most) <= 4
    assert sum(most) == 20
    names = [name for name in whole.column_names if name != "log_probability"]
    assert parts.select(names).equals(whole.select(names))
    assert parts.column("log_probability").to_pylist() == pytest.approx(whole.column("log_probability").to_pylist())
