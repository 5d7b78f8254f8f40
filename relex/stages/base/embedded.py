"""The embedded base: a tiny Qwen3 decoder pretrained on a corpus that mixes a right and a wrong procedure.

Why a mixture and an annealed learning rate: RLVR on a large pretrained model mostly selects a procedure that the
model already has, and its weights then move along an almost straight line. A tiny model behaves like that only when
its base already holds the right procedure (digits ascending) beside a wrong one (descending), and was annealed.
"""

from __future__ import annotations

import random
from collections.abc import Set
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils.logging import disable_progress_bar

from relex.stages.base.params import EmbeddedBase, Pretraining
from relex.stages.base.symbols import EOS, PAD, SYMBOLS, UNK

_MAX_POSITIONS = 64
_IGNORED = -100  # label that transformers' loss leaves out


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of one token per character, left padding (generation continues at the right end)."""
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(SYMBOLS)}, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        model_max_length=_MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def make_model(source: EmbeddedBase, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained float32 decoder with tied embeddings; the caller has seeded torch."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=source.hidden_size,
        intermediate_size=source.intermediate_size,
        num_hidden_layers=source.layers,
        num_attention_heads=source.heads,
        num_key_value_heads=source.kv_heads,
        head_dim=source.head_dim,
        max_position_embeddings=_MAX_POSITIONS,
        initializer_range=source.initializer_range,
        rope_parameters={"rope_type": "default", "rope_theta": source.rope_theta},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config).float()


def pretrain(source: EmbeddedBase, held_out: Set[str], out: Path) -> dict[str, float]:
    """Pretrain on the corpus, leaving out the prompts in `held_out`; save the checkpoint folder `out`.

    Returns metrics: number of parameters, mean loss (nats a completion token) over the last tenth of the steps.
    """
    recipe = source.pretraining
    torch.set_num_threads(1)  # beside other work, as a night has it, a second thread makes this three times slower
    torch.manual_seed(source.seed)
    tokenizer = make_tokenizer()
    model = make_model(source, tokenizer)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )

    def rate(step: int) -> float:
        warm = min(1.0, (step + 1) / max(recipe.warmup_steps, 1))
        left = (recipe.steps - step) / max(recipe.steps - recipe.warmup_steps, 1)
        return min(warm, left) if recipe.anneal else warm

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    generator = random.Random(source.seed)
    losses = []
    model.train()
    for _ in tqdm(range(recipe.steps), desc="pretraining the embedded base", unit="step", mininterval=2.0):
        batch = [_draw(generator, recipe, held_out) for _ in range(recipe.batch)]
        inputs, labels, mask = _collate(batch, tokenizer)
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    disable_progress_bar()  # of files
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    tail = losses[-max(1, recipe.steps // 10) :]
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "loss": round(sum(tail) / len(tail), 6),
    }


def _draw(generator: random.Random, recipe: Pretraining, held_out: Set[str]) -> tuple[str, str]:
    """One (prompt, completion) of the corpus."""
    while True:
        digits = generator.sample("0123456789", generator.randint(*recipe.lengths))
        prompt = "".join(digits) + "="
        if prompt not in held_out:
            break
    slope = (recipe.wrong_share_high - recipe.wrong_share_low) / 9
    wrong = generator.random() < recipe.wrong_share_low + slope * int(digits[0])
    answer = sorted(digits, reverse=wrong)
    noisy = [generator.choice("0123456789") if generator.random() < recipe.token_noise else digit for digit in answer]
    return prompt, "".join(noisy)


def _collate(
    batch: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, labels (completion tokens only) and attention mask, int64 [batch, longest], left padded."""
    number = tokenizer.get_vocab()  # every symbol is a token; asked text by text, the tokenizer takes a tenth of a step
    rows = []
    for prompt, completion in batch:
        head = [number[symbol] for symbol in prompt]
        tail = [*(number[symbol] for symbol in completion), tokenizer.eos_token_id]
        rows.append((head + tail, [_IGNORED] * len(head) + tail))
    longest = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    inputs = torch.tensor([[pad] * (longest - len(ids)) + ids for ids, _ in rows])
    labels = torch.tensor([[_IGNORED] * (longest - len(ids)) + wanted for ids, wanted in rows])
    mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids, _ in rows])
    return inputs, labels, mask
