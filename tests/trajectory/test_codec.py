"""The stored forms of a delta: their error, their size, and that the kernels decode them as the codec does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.trajectory.codec import BLOCK, CODECS, SCALE

# Largest error of one value, relative to: the value, or for int8 the largest of its block.
BOUND = {"float32": 0.0, "bfloat16": 2.0**-8, "float16": 2.0**-11, "int8": 1 / 127}


def decoded(name: str, delta: torch.Tensor) -> torch.Tensor:
    out = torch.empty(delta.numel())
    CODECS[name].decode(CODECS[name].encode(delta), 0, delta.numel(), out)
    return out.view(delta.shape)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(CODECS)), st.integers(1, 400), st.integers(-30, 4), st.integers(0, 2**31))
def test_every_value_comes_back_within_the_bound(name, count, magnitude, seed):
    torch.manual_seed(seed)
    delta = torch.randn(count) * 10.0**magnitude
    error = (decoded(name, delta) - delta).abs()
    if name == "int8":
        padded = torch.nn.functional.pad(delta.abs(), (0, -count % BLOCK)).view(-1, BLOCK)
        scale = padded.amax(dim=1).repeat_interleave(BLOCK)[:count]
    else:
        scale = delta.abs()
    floor = 2.0**-28 * delta.abs().max() if name == "float16" else 0.0
    assert (error <= BOUND[name] * scale + floor + 1e-45).all()


def test_float16_keeps_deltas_that_plain_float16_would_lose():
    delta = torch.randn(1000) * 3e-8
    assert ((delta.half().float() - delta).norm() / delta.norm()) > 0.1
    assert ((decoded("float16", delta) - delta).norm() / delta.norm()) < 1e-3


@pytest.mark.parametrize("name", sorted(CODECS))
def test_zeros_and_empty_tensors_survive(name):
    assert torch.equal(decoded(name, torch.zeros(3, 5)), torch.zeros(3, 5))
    assert decoded(name, torch.empty(0)).numel() == 0


@pytest.mark.parametrize(
    ("name", "at_most"), [("float32", 4.0), ("bfloat16", 2.0), ("float16", 2.001), ("int8", 1.032)]
)
def test_bytes_per_value(name, at_most):
    stored = CODECS[name].encode(torch.randn(64, 100))
    assert sum(part.numel() * part.element_size() for part in stored.values()) / 6400 <= at_most


@pytest.mark.parametrize("name", sorted(CODECS))
def test_a_part_decodes_as_the_whole(name):
    delta = torch.randn(1000)
    stored, out = CODECS[name].encode(delta), torch.empty(300)
    CODECS[name].decode(stored, 450, 750, out)
    assert torch.equal(out, decoded(name, delta)[450:750])


def test_the_scale_of_float16_is_a_power_of_two():
    scale = CODECS["float16"].encode(torch.randn(500))[SCALE].float().numpy()
    assert np.frexp(scale)[0].tolist() == [0.5]
