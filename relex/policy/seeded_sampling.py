"""Sampling whose randomness is addressed, not consumed: noise from (seed, step, position), a row per completion.

A sampled token is argmax(logits / T + Gumbel noise) (the Gumbel-max trick). With the noise a function of where it is
used, rollouts do not depend on the state of a global generator, on how many processes share the batch, or on whether
the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from relex.core.errors import StageFailed
from relex.core.seeding import seed_of


@dataclass(frozen=True)
class Place:
    """Which rows of the whole batch this process generates: [first, first + its rows) of `rows`; in which step."""

    step: int
    first: int
    rows: int


class SeededSampling(LogitsProcessor):
    """Leaves one token per row: temperature, top_k, top_p, then the sampled one. Others get -inf."""

    def __init__(self, seed: int, *, temperature: float, top_k: int, top_p: float, place: Callable[[int], Place]):
        """place: from the number of rows generated here to where they stand in the whole batch."""
        self._seed, self._temperature, self._place = seed, temperature, place
        self._filters = [
            *([TopKLogitsWarper(top_k)] if top_k else []),
            *([TopPLogitsWarper(top_p)] if top_p < 1.0 else []),
        ]
        self._position = 0

    def begin(self) -> None:
        """A new generation begins: its first token is position 0."""
        self._position = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores [rows, vocabulary], any floating dtype -> float32, one finite value a row. StageFailed for NaN."""
        place = self._place(len(scores))
        if torch.isnan(scores).any():
            raise StageFailed(
                "the model's logits are not numbers: training diverged; the window so far is kept in trajectory/; "
                "lower train.learning_rate"
            )
        wanted = scores.float() / self._temperature
        for warper in self._filters:
            wanted = warper(input_ids, wanted)
        generator = torch.Generator(scores.device)
        generator.manual_seed(seed_of("rollouts", self._seed, place.step, self._position))
        self._position += 1
        noise = torch.empty(place.rows, scores.shape[1], device=scores.device).exponential_(generator=generator)
        noise = noise[place.first : place.first + len(scores)]
        chosen = (wanted - noise.log()).argmax(dim=1, keepdim=True)
        return torch.full_like(wanted, -torch.inf).scatter_(1, chosen, 0.0)
