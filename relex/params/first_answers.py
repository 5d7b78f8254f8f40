"""What the base answers to some of the problems before anything is trained: whether there is anything to learn, and how
long answers are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from relex.core.atomic import scratch_folder
from relex.core.errors import InputError
from relex.core.sizes import FLOAT32_BYTES, show_bytes
from relex.core.topology import has_cuda
from relex.core.workspace import BASE
from relex.params.lengths import Cut, lengths
from relex.params.load import Params
from relex.rewards.problem import Problem
from relex.rewards.score import Answered, score_all
from relex.stages.base.params import EmbeddedBase, FolderBase, HubBase, PackageBase
from relex.stages.base.size import base_size
from relex.stages.base.stage import download
from relex.stages.problems.sources import deal
from relex.stages.train.params import Sampled, Train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PROBLEMS = 8
_SAMPLES = 8  # as many as a group has, at most: what a group would be is seen
_LONGEST = 128  # tokens that the base may go on for, where params.yaml does not let it write more
_SECONDS = 240.0  # of generation; what has not ended by then counts as cut off there
_SHORTEST = 8


@dataclass(frozen=True)
class Answers:
    """Of one problem: the texts, and of each, by `cuts` of FirstAnswers, whether it is right when cut there."""

    problem: Problem
    texts: tuple[str, ...]
    right: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class FirstAnswers:
    """asked: a problem each. cuts: by length, over all of them. stopped: whether time ended the longest early."""

    asked: tuple[Answers, ...]
    cuts: tuple[Cut, ...]
    stopped: bool

    def at(self, tokens: int) -> Cut:
        """Of the tried lengths the longest that is not above `tokens`; the shortest for fewer."""
        return max((cut for cut in self.cuts if cut.tokens <= tokens), key=lambda cut: cut.tokens, default=self.cuts[0])

    def teaching(self, tokens: int) -> int:
        """Of how many problems some answers are right and some wrong at that length: the groups that RLVR learns by."""
        place = self.cuts.index(self.at(tokens))
        return sum(len({verdicts[place] for verdicts in one.right}) == 2 for one in self.asked)


def first_answers(params: Params, root: Path, *, shortest: int | None = None, fetch: bool = True) -> FirstAnswers:
    """Let the base answer some problems that will be trained on, longer than params.yaml lets it.

    shortest: tokens of the first length that is tried. fetch: whether a base of the hub may be downloaded for it.
    InputError where the base is not here, is too large for this machine, or has no room for an answer.
    """
    samples = min(_SAMPLES, params.train.num_generations) if isinstance(params.train, Train) else _SAMPLES
    with _base(params, root, fetch) as folder:
        problems = deal(params.problems).splits["train"][:_PROBLEMS]
        return _ask(folder, params, problems, samples, shortest or _SHORTEST)


@contextlib.contextmanager
def _base(params: Params, root: Path, fetch: bool) -> Iterator[Path]:
    """A folder with the base that params.yaml names; one that has to be made for it goes with the body."""
    source = params.base.source
    _check_room(params, root)
    if isinstance(source, FolderBase):
        yield root / source.path
    elif isinstance(source, HubBase):
        if not fetch and base_size(params.base, root) is None:
            raise InputError(
                "not downloaded yet",
                where=f"base.source ({source.repo})",
                todo="relex doctor --ask downloads and asks it",
            )
        yield download(source)
    elif isinstance(source, PackageBase):
        from relex.stages.base.package import write_checkpoint

        with scratch_folder(root, "asked") as folder:
            write_checkpoint(source, folder)
            yield folder
    else:
        assert isinstance(source, EmbeddedBase)
        if not (root / BASE).is_dir():
            raise InputError("the base is not trained yet", where=root / BASE, todo="train it first: dvc repro base")
        yield root / BASE


def _check_room(params: Params, root: Path) -> None:
    """InputError for a base that this machine's free memory would hardly hold once."""
    found, free = base_size(params.base, root), psutil.virtual_memory().available
    if found is not None and not has_cuda() and 2 * FLOAT32_BYTES * found.parameters > free:
        raise InputError(
            "the base is too large to be asked here",
            where="memory",
            expected=f"{show_bytes(2 * FLOAT32_BYTES * found.parameters)} free",
            found=show_bytes(free),
        )


def _ask(folder: Path, params: Params, problems: Sequence[Problem], samples: int, shortest: int) -> FirstAnswers:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from relex.policy.completions import until_end
    from relex.policy.prompts import check_end_token, render

    asked = f"{len(problems)} problems, {samples} times each"
    print(f"the base answers {asked}, for {_SECONDS:.0f} s at most ...", flush=True)
    device, dtype = ("cuda", torch.bfloat16) if has_cuda() else ("cpu", torch.float32)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    stops = check_end_token(tokenizer, model.generation_config)
    encoded = tokenizer([render(tokenizer, problem.prompt, params.problems) for problem in problems])["input_ids"]
    longest = max(_LONGEST, params.train.max_completion_length)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None:
        longest = min(longest, limit - max(map(len, encoded)))
    if longest < shortest:
        raise InputError(
            "no room for an answer",
            where="the longest prompt that was asked",
            expected=f"{shortest} tokens left of the model's {limit}",
            found=longest,
            todo="shorten the template, or leave long prompts out (problems.source.longest)",
        )
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stops[0]
    rows = [one for one in encoded for _ in range(samples)]
    tokens = [until_end(one, stops) for one in _generate(model, rows, pad, longest, params.train)]
    reached = max(map(len, tokens))
    tried = lengths(min(shortest, reached), reached)
    right = _scored(tokenizer, [problem for problem in problems for _ in range(samples)], tokens, tried)
    ended = [len(one) if one[-1] in stops else reached + 1 for one in tokens]
    cuts = tuple(
        Cut(
            length,
            sum(row[at] for row in right) / len(right),
            sum(end > length for end in ended) / len(ended),
        )
        for at, length in enumerate(tried)
    )
    texts = [tokenizer.decode(one, skip_special_tokens=True) for one in tokens]
    answers = []
    for number, problem in enumerate(problems):
        part = slice(number * samples, (number + 1) * samples)
        answers.append(Answers(problem, tuple(texts[part]), tuple(right[part])))
    return FirstAnswers(tuple(answers), cuts, stopped=reached < longest and any(end > reached for end in ended))


def _generate(model: PreTrainedModel, prompts: Sequence[list[int]], pad: int, longest: int, drawn: Sampled) -> Any:
    """A completion of every prompt, in tokens, all of the same length: what follows an end is padding."""
    import torch
    from tqdm import tqdm
    from transformers import StoppingCriteria, StoppingCriteriaList

    width = max(map(len, prompts))
    bar = tqdm(total=longest, desc="the base's answers", unit="token", mininterval=2.0, delay=2.0)

    class _Shown(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
            bar.update(1)
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    devices = [model.device] if model.device.type == "cuda" else []
    with bar, torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(drawn.seed)
        return model.generate(
            input_ids=torch.tensor([[pad] * (width - len(one)) + one for one in prompts], device=model.device),
            attention_mask=torch.tensor(
                [[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=model.device
            ),
            do_sample=True,
            temperature=drawn.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=longest,
            max_time=_SECONDS,
            stopping_criteria=StoppingCriteriaList([_Shown()]),
            pad_token_id=pad,
        )[:, width:].tolist()


def _scored(
    tokenizer: PreTrainedTokenizerBase, asked: Sequence[Problem], tokens: Sequence[list[int]], tried: Sequence[int]
) -> list[tuple[bool, ...]]:
    """By completion and tried length whether it is right when cut there; each text is scored once."""
    places = sorted({(row, min(length, len(one))) for row, one in enumerate(tokens) for length in tried})
    texts = [tokenizer.decode(tokens[row][:length], skip_special_tokens=True) for row, length in places]
    scores = score_all(
        [
            Answered(asked[row].scorer, text, asked[row].answer, asked[row].entry)
            for (row, _), text in zip(places, texts, strict=True)
        ]
    )
    right = {place: score.value == 1.0 for place, score in zip(places, scores, strict=True)}
    return [tuple(right[row, min(length, len(one))] for length in tried) for row, one in enumerate(tokens)]
