"""What an engine process needs of a generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

Finished = list[tuple[int, dict[str, Any]]]  # (which prompt, its completion) of those that finished together


class Backend(Protocol):
    """What the process needs of a generator."""

    version: str

    def generate(self, prompts: list[list[int]], seeds: list[int], sampling: dict[str, Any]) -> Iterator[Finished]:
        """Per prompt (token ids) {"tokens": completion's token ids, "finish": "stop" or "length"}, as they finish.

        sampling: temperature, top_p, max_tokens; with logprobs true, "logprobs" holds each token's log-probability.
        """
        ...

    def reload(self, folder: str) -> None:
        """Put the weights of another checkpoint of the same architecture in place."""
        ...

    def form(self, folder: str, base: str, head: str | None) -> None:
        """Put the weights in place that a recipe in `folder` makes of `base` (checkpoints/formed.py), of the same
        architecture. head: a tied output head that this model holds apart, and the checkpoint leaves out."""
        ...
