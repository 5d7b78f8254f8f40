"""Sampling by addressed noise: the right distribution, and the same tokens whatever the batch is split into."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from relex.policy.seeded_sampling import Place, SeededSampling


def sampler(seed: int = 0, *, step: int = 1, first: int = 0, rows: int, **changes) -> SeededSampling:
    settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **changes}
    return SeededSampling(seed, place=lambda _: Place(step, first, rows), **settings)


def tokens(sampling: SeededSampling, scores: torch.Tensor) -> torch.Tensor:
    left = sampling(torch.zeros(len(scores), 1, dtype=torch.long), scores)
    assert torch.equal(torch.isfinite(left).sum(dim=1), torch.ones(len(scores), dtype=torch.long))
    return left.argmax(dim=1)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_tokens_follow_the_softmax(temperature):
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, 0.5])
    drawn = tokens(sampler(rows=20_000, temperature=temperature), logits.repeat(20_000, 1))
    expected = torch.softmax(logits.double() / temperature, 0).numpy() * 20_000
    assert chisquare(np.bincount(drawn, minlength=5), expected).pvalue > 1e-4


def test_positions_rows_steps_and_seeds_are_independent():
    scores = torch.zeros(64, 50)
    sampling = sampler(rows=64)
    first, second = tokens(sampling, scores), tokens(sampling, scores)
    others = [tokens(sampler(rows=64, step=2), scores), tokens(sampler(1, rows=64), scores)]
    for other in (second, *others):
        assert (first == other).float().mean() < 0.15
    assert len(set(first.tolist())) > 20


def test_a_share_of_the_batch_gets_the_tokens_of_the_whole():
    scores = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    whole = tokens(sampler(rows=12), scores)
    parts = [tokens(sampler(rows=12, first=first), scores[first : first + 4]) for first in (0, 4, 8)]
    assert torch.equal(whole, torch.cat(parts))


def test_begin_repeats_and_filters_hold():
    scores = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    sampling = sampler(rows=50)
    first = tokens(sampling, scores)
    sampling.begin()
    assert torch.equal(first, tokens(sampling, scores))
    best = scores.topk(3, dim=1).indices
    assert (tokens(sampler(rows=50, top_k=3), scores)[:, None] == best).any(dim=1).all()
    assert torch.equal(tokens(sampler(rows=50, top_p=1e-6), scores), scores.argmax(dim=1))
