"""Generation with transformers, for machines without vLLM. Chosen by `evaluate.backend: transformers`, never silently.

Each row draws from a generator of its own, seeded as in vLLM; the draws differ between the two, the distribution does
not, and greedy completions agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from relex.core.topology import has_cuda

if TYPE_CHECKING:
    from relex.stages.evaluate.engine.backend import Finished

_ROWS = 256  # in one forward pass


class TransformersBackend:
    """A causal language model of transformers with key-value cache; rows of equal prompt length go together."""

    def __init__(self, settings: dict[str, Any]):
        self.version = f"transformers {transformers.__version__}"
        self._device = "cuda" if has_cuda() else "cpu"
        self._dtype = getattr(torch, settings["dtype"])
        self.reload(settings["model"])

    def reload(self, folder: str) -> None:
        """Load `folder` in place of the present model."""
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=self._dtype, local_files_only=True)
        self._model.to(self._device).eval()
        stop = self._model.generation_config.eos_token_id
        if stop is None:
            stop = self._model.config.eos_token_id
        self._stop = set(stop if isinstance(stop, list) else [stop])

    def form(self, folder: str, base: str, head: str | None) -> None:
        """See backend.Backend. Never asked for: its reload is a fresh load, which takes a file."""
        raise NotImplementedError("models are formed in place by vLLM only")

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], seeds: list[int], sampling: dict[str, Any]) -> Iterator[Finished]:
        """See backend.Backend."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        start = 0
        while start < len(order):
            length = len(prompts[order[start]])
            rows = [i for i in order[start : start + _ROWS] if len(prompts[i]) == length]
            start += len(rows)
            for finished in self._rows([prompts[i] for i in rows], [seeds[i] for i in rows], sampling):
                yield [(rows[j], output) for j, output in finished]

    def _rows(self, prompts: list[list[int]], seeds: list[int], sampling: dict[str, Any]) -> Iterator[Finished]:
        """Rows of one prompt length. Finished rows leave the batch."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        outputs: list[dict[str, Any]] = [{"tokens": [], "finish": "length", "logprobs": []} for _ in prompts]
        alive = list(range(len(prompts)))
        inputs = torch.tensor(prompts, device=self._device)
        cache = None
        for _ in range(sampling["max_tokens"]):
            step = self._model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = step.past_key_values
            logits = step.logits[:, -1].float().cpu()  # [rows, vocabulary]
            chosen = _choose(logits, [generators[i] for i in alive], sampling)
            found = logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
            for row, token, logprob in zip(alive, chosen.tolist(), found.tolist(), strict=True):
                outputs[row]["tokens"].append(token)
                outputs[row]["logprobs"].append(logprob)
                if token in self._stop:
                    outputs[row]["finish"] = "stop"
            keep = [j for j, row in enumerate(alive) if outputs[row]["finish"] == "length"]
            if len(keep) < len(alive):
                yield [(row, outputs[row]) for row in alive if outputs[row]["finish"] == "stop"]
                alive = [alive[j] for j in keep]
                chosen = chosen[keep]
                if not alive:
                    return
                cache.batch_select_indices(torch.tensor(keep, device=self._device))
            inputs = chosen[:, None].to(self._device)
        yield [(row, outputs[row]) for row in alive]


def _choose(logits: torch.Tensor, generators: list[torch.Generator], sampling: dict[str, Any]) -> torch.Tensor:
    """The next token per row [rows]: greedy at temperature 0, else a draw from the top_p nucleus."""
    if sampling["temperature"] == 0.0:
        return logits.argmax(-1)
    probabilities = (logits / sampling["temperature"]).softmax(-1)
    if sampling["top_p"] < 1.0:
        ordered, places = probabilities.sort(-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered > sampling["top_p"]] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(-1, places, ordered)
    # The exponential race: argmax(p / e) with e ~ Exp(1) draws from p; each row has its own generator.
    noise = torch.stack([torch.empty(logits.shape[-1]).exponential_(generator=g) for g in generators])
    return (probabilities / noise).argmax(-1)
