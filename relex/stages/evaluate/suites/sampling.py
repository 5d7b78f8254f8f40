"""How completions are drawn, per suite."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

from relex.stages.evaluate.suites.params import ReadyMadeSource, SuiteParams
from relex.stages.evaluate.suites.ready_made import READY_MADE


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. temperature 0 is greedy. seed: every row's own seed derives from it."""

    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int

    def request(self) -> dict[str, Any]:
        """What an engine process needs to know."""
        return {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens, "logprobs": False}

    def row_seed(self, problem: str, sample: int) -> int:
        """A seed that depends on problem and sample alone, so rows depend on neither order nor batch."""
        text = f"{self.seed}\0{problem}\0{sample}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


class Defaults(Protocol):
    """What suites take from the section `evaluate`, which holds them."""

    @property
    def suites(self) -> tuple[SuiteParams, ...]: ...
    @property
    def gate_share(self) -> float: ...
    @property
    def samples(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def seed(self) -> int: ...


def resolve(suite: SuiteParams, defaults: Defaults) -> Sampling:
    """The suite's sampling: its own values, else its ready-made set's, else those of `defaults` (section evaluate).

    Greedy completions are all the same: there is one, unless the suite itself asks for more, which is a fault.
    """
    made = READY_MADE[suite.source.set] if isinstance(suite.source, ReadyMadeSource) else defaults

    def value(name: str) -> Any:
        own = getattr(suite, name)
        return getattr(made, name) if own is None else own

    temperature = value("temperature")
    samples = 1 if temperature == 0.0 and suite.samples is None else value("samples")
    return Sampling(samples, temperature, value("top_p"), value("max_tokens"), defaults.seed)


def faults(suite: SuiteParams, sampling: Sampling, max_model_len: int) -> list[str]:
    """What is impossible about it, one clause each."""
    found = []
    if sampling.max_tokens >= max_model_len:
        found.append(
            f"suite {suite.name}: max_tokens ({sampling.max_tokens}) must be below max_model_len ({max_model_len})"
        )
    if sampling.temperature == 0.0 and sampling.samples > 1:
        found.append(f"suite {suite.name}: temperature 0 is greedy: samples must be 1, not {sampling.samples}")
    return found
