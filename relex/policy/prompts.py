"""What the model sees: the one place where a problem's bare prompt becomes the text that is tokenized, and its checks.

Training, the completions for the likelihood scan and evaluation all ask `render`, so that a model is evaluated on the
very tokens it was trained on. Problems keep bare prompts; chat and system are keys of the section `problems`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relex.core.asking import BARE, Asking
from relex.core.errors import InputError, InputErrors

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from relex.rewards.problem import Problem

_SHOWN = 3  # prompts that are too long: how many are named


def render(tokenizer: PreTrainedTokenizerBase, prompt: str, asking: Asking = BARE) -> str:
    """The text whose tokens the model gets: `tokenizer(text)["input_ids"]`, with the tokenizer's own special tokens.

    asking.chat: as the user's turn of the tokenizer's chat template, after the system text if there is one, up to
    where the assistant's turn begins; otherwise the prompt itself. A leading special token that both the template and
    the tokenizer add (Llama's begin of text) is left to the tokenizer: it stands once in the tokens. InputError when
    the tokenizer has no chat template, or cannot give the template's own tokens back from its text.
    """
    if not asking.chat:
        return prompt
    if not tokenizer.chat_template:
        raise InputError(
            "the base has no chat template",
            where="problems.chat, or a suite's chat",
            todo="set chat: false, or take a base whose tokenizer has a template",
        )
    turns = [{"role": "system", "content": asking.system}] if asking.system is not None else []
    turns.append({"role": "user", "content": prompt})
    text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
    if tokenizer(text)["input_ids"] != wanted and tokenizer.bos_token:
        text = text.removeprefix(tokenizer.bos_token)
    if tokenizer(text)["input_ids"] != wanted:
        raise InputError(
            "the tokenizer adds special tokens that the chat template does not hold",
            where=f"the tokenizer ({type(tokenizer).__name__})",
            expected="at most the begin-of-text token that the template begins with",
        )
    return text


def check_lengths(
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    max_completion_length: int,
    context: int,
    asking: Asking = BARE,
) -> int:
    """The tokens of the longest rendered prompt.

    context: positions the model has (its max_position_embeddings). InputError when a prompt has no tokens, or leaves
    less room in the context than a whole completion needs; it names the worst ones.
    """
    texts = [render(tokenizer, problem.prompt, asking) for problem in problems]
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    empty = [problem.id for problem, length in zip(problems, lengths, strict=True) if not length]
    if empty:
        raise InputError("a prompt has no tokens", where=f"problem {empty[0]}", expected="at least one")
    too_long = [
        (length, problem)
        for length, problem in zip(lengths, problems, strict=True)
        if length + max_completion_length > context
    ]
    if too_long:
        too_long.sort(key=lambda item: (-item[0], item[1].id))
        raise InputError(
            f"{len(too_long)} of {len(problems)} prompts leave no room for a completion",
            where=", ".join(f"problem {problem.id}" for _, problem in too_long[:_SHOWN]),
            expected=f"prompt and {max_completion_length} new tokens within the base's context of {context}",
            found=", ".join(f"{length} tokens ({problem.prompt[:40]!r}...)" for length, problem in too_long[:_SHOWN]),
            todo="lower train.max_completion_length, leave those problems out, or take a base with a longer context",
        )
    return max(lengths, default=0)


def check_end_token(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig) -> tuple[int, ...]:
    """The token ids that end a completion, as the generation configuration has them.

    InputErrors when there is none, when one is not in the vocabulary, or when the tokenizer's own end token, at which
    training stops a completion, is not among those at which evaluation does.
    """
    asked: Any = generation_config.eos_token_id
    ends = tuple(asked if isinstance(asked, list | tuple) else [] if asked is None else [asked])
    where, faults = "the base's tokenizer and generation_config.json", []
    if tokenizer.eos_token_id is None or not ends:
        faults.append(
            InputError(
                "the base has no end token: no completion would ever end",
                where=where,
                expected="eos_token_id in both",
                found=f"tokenizer {tokenizer.eos_token_id}, generation configuration {asked}",
                todo="add eos_token to tokenizer_config.json and eos_token_id to generation_config.json",
            )
        )
    else:
        outside = [end for end in ends if not 0 <= end < len(tokenizer)]
        if outside:
            faults.append(
                InputError(
                    "an end token is not in the vocabulary",
                    where=where,
                    expected=f"0 to {len(tokenizer) - 1}",
                    found=outside,
                )
            )
        if tokenizer.eos_token_id not in ends:
            faults.append(
                InputError(
                    "training and evaluation would end completions at different tokens",
                    where=where,
                    expected=f"the tokenizer's end token {tokenizer.eos_token_id} among those of the configuration",
                    found=list(ends),
                )
            )
    if faults:
        raise InputErrors(faults)
    return ends
