"""How a problem becomes the text that a model sees, and what is refused before training starts."""

from __future__ import annotations

import re

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from relex.core.asking import Asking
from relex.core.errors import InputError
from relex.policy.prompts import check_end_token, check_lengths, render
from relex.rewards.problem import make_problem
from relex.stages.base.embedded import make_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
WORDS = ("<bos>", "<eos>", "<unk>", "<user>", "<system>", "<assistant>", "1", "+", "2", "Be", "brief", ".")


def words_tokenizer(*, begins: bool, ends: bool = False, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """A tokenizer of words; begins / ends: adds the begin / end token to whatever it encodes, as Llama's does."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single = " ".join(["<bos>"] * begins + ["$A"] + ["<eos>"] * ends)
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<bos>", 0), ("<eos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<eos>"
    )
    tokenizer.chat_template = template
    return tokenizer


def words(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]))


def test_without_chat_the_prompt_is_left_as_it_is() -> None:
    assert render(words_tokenizer(begins=True), " 1 + 2\n") == " 1 + 2\n"


@pytest.mark.parametrize("begins", [True, False])
def test_a_chat_prompt_has_its_begin_token_once_whoever_adds_it(begins: bool) -> None:
    tokenizer = words_tokenizer(begins=begins)
    text = render(tokenizer, "1 + 2", Asking(chat=True))
    assert words(tokenizer, text) == "<bos> <user> 1 + 2 <assistant>"
    direct = tokenizer.apply_chat_template([{"role": "user", "content": "1 + 2"}], add_generation_prompt=True)
    assert tokenizer(text)["input_ids"] == list(direct["input_ids"])


def test_a_system_prompt_stands_before_the_user() -> None:
    tokenizer = words_tokenizer(begins=True)
    text = render(tokenizer, "1 + 2", Asking(chat=True, system="Be brief ."))
    assert words(tokenizer, text) == "<bos> <system> Be brief . <user> 1 + 2 <assistant>"


def test_a_base_without_a_chat_template_is_refused() -> None:
    with pytest.raises(InputError, match="no chat template.*chat: false"):
        render(words_tokenizer(begins=True, template=None), "1", Asking(chat=True))


def test_a_tokenizer_that_ends_every_text_cannot_render_a_chat() -> None:
    with pytest.raises(InputError, match="adds special tokens that the chat template does not hold"):
        render(words_tokenizer(begins=True, ends=True), "1", Asking(chat=True))


def test_the_longest_prompt_is_counted_as_rendered() -> None:
    tokenizer = words_tokenizer(begins=True)
    problems = [make_problem("1 + 2", "3", "integer"), make_problem("1 + 2 + 1 .", "4", "integer")]
    assert check_lengths(tokenizer, problems, 4, 64) == 7
    assert check_lengths(tokenizer, problems, 4, 64, Asking(chat=True)) == 9
    assert check_lengths(tokenizer, problems, 55, 64, Asking(chat=True)) == 9


def test_a_prompt_that_leaves_no_room_for_a_completion_is_named_with_its_length() -> None:
    tokenizer = make_tokenizer()
    problems = [make_problem("123=", "123", "exact"), make_problem("1" * 60 + "=", "1", "exact")]
    said = rf"problem {problems[1].id}: 1 of 2 prompts leave no room.*12 new tokens.*context of 64.*61 tokens"
    with pytest.raises(InputError, match=said):
        check_lengths(tokenizer, problems, 12, 64)


def test_a_prompt_without_tokens_is_refused() -> None:
    problem = make_problem(" ", "1", "exact")
    with pytest.raises(InputError, match=rf"problem {problem.id}: a prompt has no tokens"):
        check_lengths(words_tokenizer(begins=False), [problem], 1, 64)


def test_the_end_tokens_are_those_of_the_generation_configuration() -> None:
    assert check_end_token(words_tokenizer(begins=True), GenerationConfig(eos_token_id=1)) == (1,)
    assert check_end_token(words_tokenizer(begins=True), GenerationConfig(eos_token_id=[1, 11])) == (1, 11)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (None, "the base has no end token"),
        ([], "the base has no end token"),
        (99, "an end token is not in the vocabulary; expected 0 to 11; found [99]"),
        (5, "the tokenizer's end token 1 among those of the configuration; found [5]"),
    ],
)
def test_a_base_that_cannot_end_a_completion_is_refused(ends: int | list[int] | None, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        check_end_token(words_tokenizer(begins=True), GenerationConfig(eos_token_id=ends))


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = words_tokenizer(begins=True)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="found tokenizer None, generation configuration 1"):
        check_end_token(tokenizer, GenerationConfig(eos_token_id=1))
