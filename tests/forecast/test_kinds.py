"""Tensors by what they are for, as checkpoints of several families call them."""

from __future__ import annotations

import pytest

from relex.forecast.kinds import group_of, kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.3.self_attn.o_proj.bias", "attention"),
        ("transformer.h.0.attn.c_attn.weight", "attention"),
        ("gpt_neox.layers.0.attention.query_key_value.weight", "attention"),
        ("model.layers.0.linear_attn.in_proj.weight", "attention"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "attention"),
        ("model.layers.0.mlp.down_proj.weight", "mlp"),
        ("model.layers.0.block_sparse_moe.experts.1.w2.weight", "mlp"),
        ("model.layers.0.mlp.gate.weight", "mlp"),
        ("model.decoder.layers.0.fc1.weight", "mlp"),
        ("model.layers.0.feed_forward.w1.weight", "mlp"),
        ("model.layers.0.self_attn.q_norm.weight", "norms"),
        ("model.layers.0.post_attention_layernorm.weight", "norms"),
        ("model.norm.weight", "norms"),
        ("transformer.h.0.ln_1.weight", "norms"),
        ("transformer.ln_f.bias", "norms"),
        ("model.decoder.layers.0.self_attn_layer_norm.weight", "norms"),
        ("model.embed_tokens.weight", "embeddings"),
        ("transformer.wte.weight", "embeddings"),
        ("transformer.wpe.weight", "embeddings"),
        ("lm_head.weight", "embeddings"),
        ("classifier.weight", "other"),
        ("model.layers.0.mixer.A_log", "other"),
    ],
)
def test_a_name_tells_the_kind(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("model.layers.11.mlp.down_proj.weight", "mlp.11"),
        ("transformer.h.0.ln_1.weight", "norms.0"),
        ("model.layers.3.block_sparse_moe.experts.1.w2.weight", "mlp.3"),
        ("model.norm.weight", "norms"),
        ("lm_head.weight", "embeddings"),
    ],
)
def test_a_name_tells_the_layer_where_there_is_one(name, group):
    assert group_of(name) == group
