"""Teacher-forced likelihoods and sampled completions, against a plain loop over one sequence at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from relex.core.errors import InputError
from relex.policy.completions import SCHEMA, read_completions, sample_completions, write_completions
from relex.policy.likelihood import backward, log_likelihoods, next_token_log_probabilities
from relex.rewards.problem import make_problem
from relex.stages.base.embedded import make_tokenizer
from tests.builders.windows import tiny_llama

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6, 7]]
COMPLETIONS = [[3, 4], [20, 21, 22, 23], [1], [2]]


def one_by_one(model, prompt, completion, temperature=1.0):
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *completion]])).logits[0].double() / temperature
    scores = torch.log_softmax(logits, dim=-1)
    at = len(prompt) - 1
    return [scores[at + place] for place in range(len(completion))]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("logits_bytes", [1, 5_000, 1 << 28])
def test_likelihoods_equal_those_of_single_sequences(temperature, logits_bytes):
    model = tiny_llama(initializer_range=0.5)
    found = log_likelihoods(model, PROMPTS, COMPLETIONS, temperature=temperature, logits_bytes=logits_bytes)
    for value, prompt, completion in zip(found, PROMPTS, COMPLETIONS, strict=True):
        scores = one_by_one(model, prompt, completion, temperature)
        wanted = sum(float(score[token]) for score, token in zip(scores, completion, strict=True))
        assert value == pytest.approx(wanted, abs=1e-4)


def test_pairs_that_are_alike_go_through_the_model_once():
    model = tiny_llama(initializer_range=0.5)
    once = log_likelihoods(model, PROMPTS, COMPLETIONS)
    rows: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _args, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    order = [2, 0, 0, 3, 2, 1, 0]
    found = log_likelihoods(model, [PROMPTS[at] for at in order], [COMPLETIONS[at] for at in order])
    assert found.tolist() == once[order].tolist()
    assert sum(rows) == len(PROMPTS)
    assert log_likelihoods(model, [], []).shape == (0,)


@pytest.mark.parametrize("logits_bytes", [1, 1 << 28])
def test_the_gradient_is_that_of_the_weighted_sum_however_it_is_batched(logits_bytes):
    model, shares = tiny_llama(initializer_range=0.5), np.array([0.5, 0.25, 0.0, 0.25])
    value = backward(model, PROMPTS, COMPLETIONS, shares, temperature=0.7, logits_bytes=logits_bytes)
    assert value == pytest.approx(
        float(shares @ log_likelihoods(model, PROMPTS, COMPLETIONS, temperature=0.7)), abs=1e-4
    )
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for share, prompt, completion in zip(shares, PROMPTS, COMPLETIONS, strict=True):
        scores = torch.log_softmax(model(torch.tensor([[*prompt, *completion]])).logits[0].double() / 0.7, dim=-1)
        total = total + share * sum(scores[len(prompt) - 1 + at, token] for at, token in enumerate(completion))
    total.backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=1e-4), name


def test_next_token_distributions_cover_every_position_once():
    model = tiny_llama(initializer_range=0.5)
    found = next_token_log_probabilities(model, PROMPTS, COMPLETIONS, logits_bytes=2_000)
    assert found.shape == (8, 48)
    wanted = [row for p, c in zip(PROMPTS, COMPLETIONS, strict=True) for row in one_by_one(model, p, c)]
    for row in wanted:
        assert float((found - row).abs().amax(dim=1).min()) < 1e-4


@pytest.fixture(scope="module")
def sampled() -> tuple[pa.Table, object, PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer()
    model = tiny_llama(vocab_size=len(tokenizer), initializer_range=0.4)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    problems = [make_problem(f"{digits}=", "".join(sorted(digits)), "exact") for digits in ("31", "9", "8675", "20")]
    arguments = {"samples": 5, "temperature": 0.7, "max_new_tokens": 6, "seed": 3}
    model.train()
    state = torch.random.get_rng_state()
    table = sample_completions(model, tokenizer, problems, **arguments)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert table.equals(sample_completions(model, tokenizer, problems, **arguments))
    model.eval()
    return table, model, tokenizer


def test_sampled_completions_carry_their_log_probability(sampled):
    table, model, tokenizer = sampled
    assert table.num_rows == 20
    for row in table.to_pylist():
        scores = one_by_one(model, row["prompt_tokens"], row["completion_tokens"], 0.7)
        wanted = sum(float(score[token]) for score, token in zip(scores, row["completion_tokens"], strict=True))
        assert row["log_probability"] == pytest.approx(wanted, abs=1e-4)
        assert row["completion"] == tokenizer.decode(row["completion_tokens"], skip_special_tokens=True)
        assert 1 <= len(row["completion_tokens"]) <= 6
        assert tokenizer.eos_token_id not in row["completion_tokens"][:-1]
        answer = "".join(sorted(row["prompt"].rstrip("=")))
        assert row["reward"] == float(row["completion"].strip() == answer)


def test_completions_survive_their_file(sampled, tmp_path):
    write_completions(tmp_path / "a.parquet", sampled[0])
    table, temperature = read_completions(tmp_path / "a.parquet")
    assert temperature == 0.7
    assert table.to_pylist() == sampled[0].to_pylist()
    write_completions(tmp_path / "b.parquet", sampled[0])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_file_that_holds_no_completions_is_refused(sampled, tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(InputError, match="missing"):
        read_completions(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_completions(path)
    pq.write_table(sampled[0].drop(["reward"]), path)
    with pytest.raises(InputError, match="columns are missing"):
        read_completions(path)
    pq.write_table(sampled[0].slice(0, 0), path)
    with pytest.raises(InputError, match="no completions"):
        read_completions(path)
    texts = sampled[0].set_column(SCHEMA.get_field_index("reward"), "reward", pa.array(["high"] * 20))
    pq.write_table(texts, path)
    with pytest.raises(InputError, match="another type"):
        read_completions(path)
