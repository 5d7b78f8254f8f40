"""Teacher-forced log-likelihood of given completions under a model, and its gradient. No generation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

# Logits are the large buffer: batch x completion length x vocabulary in float32.
LOGITS_BYTES = 256 << 20
_SMALL = 20_000_000  # parameters
# Tokens of one batch, prompts included: on a processor small batches stay in its caches.
_TOKENS = {"cpu": 2048, "cuda": 16384}
GRADIENT_TOKENS = 2048  # the same where a pass back follows, for which every layer's activations are kept


def log_likelihoods(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    logits_bytes: int = LOGITS_BYTES,
) -> NDArray[np.float64]:
    """Sum over a completion's tokens of log p(token | prompt, earlier tokens), one per pair, [N] float64, in nats.

    prompts, completions: token ids, N of each, none empty. temperature divides the logits, as when sampling. Pairs
    that are alike, of which a model that is nearly sure samples many, go through the model once. Those of like length
    go together, padded on the left; the logits of one batch stay under `logits_bytes`.
    """
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    pairs = ((tuple(prompt), tuple(completion)) for prompt, completion in zip(prompts, completions, strict=True))
    distinct = [known.setdefault(pair, len(known)) for pair in pairs]
    found = np.zeros(len(known))
    once = [prompt for prompt, _ in known], [completion for _, completion in known]
    for batch, scores, ids, wanted in _passes(model, *once, temperature, logits_bytes):
        each = scores.gather(2, ids[:, :, None]).squeeze(2).cpu()
        found[batch] = torch.where(wanted, each, 0.0).double().sum(dim=1).numpy()
    return found[distinct]


def next_token_log_probabilities(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    logits_bytes: int = LOGITS_BYTES,
) -> torch.Tensor:
    """Log-probabilities [positions, vocabulary] float32 of the next token at every position of the completions; the
    positions come in one fixed order. Arguments as for log_likelihoods."""
    passes = _passes(model, prompts, completions, temperature, logits_bytes)
    return torch.cat([scores.cpu()[wanted] for _, scores, _, wanted in passes])


def backward(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    shares: NDArray[np.float64],
    *,
    temperature: float = 1.0,
    logits_bytes: int = LOGITS_BYTES,
) -> float:
    """sum_n shares[n] l_n of the log-likelihoods l_n [N] in nats, and its gradient, added up batch by batch in the
    parameters that require one. Arguments as for log_likelihoods."""
    total = 0.0
    for batch, scores, ids, wanted in _passes(model, prompts, completions, temperature, logits_bytes, gradients=True):
        each = scores.gather(2, ids[:, :, None]).squeeze(2)
        sums = torch.where(wanted.to(each.device), each, 0.0).sum(dim=1)
        value = (sums * torch.tensor(shares[batch], dtype=sums.dtype, device=sums.device)).sum()
        value.backward()
        total += float(value.detach())
    return total


def _passes(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    temperature: float,
    logits_bytes: int,
    *,
    gradients: bool = False,
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches: rows, log-probabilities [B, L, vocabulary], completion ids [B, L], which positions count [B, L]."""
    device = next(model.parameters()).device
    with _threads_for(model):
        yield from _batch_passes(model, prompts, completions, temperature, logits_bytes, device, gradients)


@contextlib.contextmanager
def _threads_for(model: PreTrainedModel) -> Iterator[None]:
    """One thread within an operation for a small model on the processor: there more of them only wait for each
    other, up to ten times longer than the work takes when the machine is busy."""
    before = torch.get_num_threads()
    small = model.device.type == "cpu" and model.num_parameters() < _SMALL
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batch_passes(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    temperature: float,
    logits_bytes: int,
    device: torch.device,
    gradients: bool,
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]]:
    positions = logits_bytes // (4 * model.config.get_text_config().vocab_size)
    most = GRADIENT_TOKENS if gradients else _TOKENS.get(device.type, 4096)
    for batch in _batches(prompts, completions, positions, most):
        keep = max(len(completions[row]) for row in batch)
        width = max(len(prompts[row]) + len(completions[row]) for row in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        wanted = torch.zeros(len(batch), keep, dtype=torch.bool)
        for at, row in enumerate(batch):
            tokens = [*prompts[row], *completions[row]]
            ids[at, width - len(tokens) :] = torch.tensor(tokens)
            mask[at, width - len(tokens) :] = 1
            wanted[at, keep - len(completions[row]) :] = True
        ids = ids.to(device)
        with torch.set_grad_enabled(gradients):
            logits = model(
                input_ids=ids,
                attention_mask=mask.to(device),
                position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0).to(device),
                logits_to_keep=keep + 1,
                use_cache=False,
            ).logits[:, :-1]
            yield batch, torch.log_softmax(logits.float() / temperature, dim=-1), ids[:, -keep:], wanted


def _batches(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], positions: int, tokens: int
) -> Iterator[list[int]]:
    """Rows in batches of like length, at least one each; padded, the completions of a batch have at most `positions`
    tokens together, and prompts and completions at most `tokens`."""
    order = sorted(range(len(completions)), key=lambda row: (len(completions[row]), len(prompts[row]), row))
    batch: list[int] = []
    longest = 0
    for row in order:
        longest = max(longest, len(prompts[row]))
        many = len(batch) + 1
        if batch and (
            many * (len(completions[row]) + 1) > positions or many * (longest + len(completions[row])) > tokens
        ):
            yield batch
            batch, longest = [], len(prompts[row])
        batch.append(row)
    if batch:
        yield batch
