"""The models of a proof, from their folders: who they are, and that they can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.core.errors import InputError, InputErrors
from relex.policy.prompts import check_lengths, render
from relex.proving.options import Models
from relex.stages.base import sound
from relex.stages.base.stage import check_checkpoint
from relex.stages.evaluate.contestants import Contestant, contestant_of
from relex.stages.evaluate.suites.suite import Suite
from relex.trajectory.numbering import step_of_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VARIANT = re.compile(r"step_(\d+)-[A-Za-z0-9-]+")
_COMPARED = 50  # prompts a suite that every tokenizer is held against the base's with
Place = tuple[str, str, int | None, Path]  # name, kind, step, folder


def places(models: Models) -> list[Place]:
    """Who stands where, in a fixed order; InputErrors names every folder that is missing, is no checkpoint, or whose
    step is not known."""
    faults: list[InputError] = []
    found: list[Place] = [("base", "base", 0, models.base.absolute())]
    asked = [("--last", models.last), *(("--candidate", one) for one in models.candidates)]
    for option, said in asked:
        try:
            step, folder = _step_and_folder(option, said)
        except InputError as fault:
            faults.append(fault)
            continue
        if option == "--last":
            found.append(("observed", "observed", step, folder))
        else:
            found.append((_name(step, folder, [name for name, *_ in found]), "candidate", step, folder))
    if models.champion is not None:
        found.insert(2, ("champion", "champion", None, models.champion.absolute()))
    for name, _, _, folder in found:
        try:
            check_checkpoint(folder, name)
        except InputError as fault:
            faults.append(fault)
    if not models.candidates:
        faults.append(InputError("no candidate", where="--candidate", expected="at least one checkpoint folder"))
    if faults:
        raise InputErrors(faults)
    return found


def check_sound(found: Iterable[Place]) -> None:
    """InputErrors names every model with a damaged file, with weights that are no numbers or no configuration's: they
    would be found out in the middle of a proof, or not at all. Every byte of the weights is read."""
    faults = []
    for *_, folder in found:
        try:
            sound.check(folder)
        except InputError as fault:
            faults.append(fault)
    if faults:
        raise InputErrors(faults)


def contestants(found: Iterable[Place]) -> list[Contestant]:
    """With their hashes: every byte of every folder is read."""
    return [contestant_of(name, kind, step, folder) for name, kind, step, folder in found]


def own_dtype(folder: Path) -> str:
    """The dtype that a checkpoint's configuration names, float32 where it names none that an engine takes."""
    text = _config(folder)
    said = str(text.get("dtype") or text.get("torch_dtype") or "float32")
    return said if said in ("float32", "bfloat16", "float16") else "float32"


def longest_prompt(found: Sequence[Place], suites: Sequence[Suite]) -> int:
    """Tokens of the longest prompt, as all of the models see it.

    InputError for a prompt without room for an answer in the base's context, and for a model whose tokenizer gives
    other tokens than the base's: its answers would be measured with another yardstick.
    """
    (_, _, _, base), *others = found
    tokenizer = _tokenizer(base)
    context = int(_config(base).get("max_position_embeddings") or 1 << 30)
    longest = max(_longest(tokenizer, suite, context) for suite in suites)
    prompts = [(problem.prompt, suite.asking) for suite in suites for problem in suite.problems[:_COMPARED]]
    expected = [tokenizer(render(tokenizer, *prompt))["input_ids"] for prompt in prompts]
    faults = []
    for name, _, _, folder in others:
        other = _tokenizer(folder)
        same = other.get_vocab() == tokenizer.get_vocab()
        if not same or [other(render(other, *prompt))["input_ids"] for prompt in prompts] != expected:
            what = "the same prompts become other tokens" if same else f"{len(other)} tokens, not the same ones"
            faults.append(
                InputError(
                    "another tokenizer than the base's",
                    where=f"{name}: {folder}",
                    expected=f"that of {base} ({len(tokenizer)} tokens)",
                    found=what,
                    todo="only models with one tokenizer and chat template can be compared",
                )
            )
    if faults:
        raise InputErrors(faults)
    return longest


def _longest(tokenizer: PreTrainedTokenizerBase, suite: Suite, context: int) -> int:
    try:
        return check_lengths(tokenizer, suite.problems, suite.sampling.max_tokens, context, suite.asking)
    except InputError as error:
        raise InputError(
            error.what,
            where=f"suite {suite.name}, {error.where}",
            expected=error.expected,
            found=error.found,
            todo="lower --max-tokens, leave those problems out, or take models with a longer context",
        ) from None


def _step_and_folder(option: str, said: str) -> tuple[int, Path]:
    """InputError where neither STEP=FOLDER nor the folder's name says a step above zero."""
    folder, step = Path(said), None
    if not folder.is_dir() and (match := re.fullmatch(r"(\d+)=(.+)", said)):
        step, folder = int(match[1]), Path(match[2])
    folder = folder.absolute()
    if step is None:
        variant = _VARIANT.fullmatch(folder.name)
        step = int(variant[1]) if variant else step_of_folder(folder)
    if not step:
        raise InputError(
            "nothing says which optimiser step it is, or is a forecast for",
            where=f"{option} {said}",
            expected="a folder called step_N, checkpoint-N, global_step_N, or STEP=FOLDER, N above zero",
            todo=f"{option} 300={said}: of candidates that are equally good, the nearest is taken",
        )
    return step, folder


def _name(step: int, folder: Path, taken: Sequence[str]) -> str:
    """step_000300, with what tells it apart: its variant in a folder's name of ours, else a number."""
    name = folder.name if _VARIANT.fullmatch(folder.name) else f"step_{step:06d}"
    again = sum(one == name or one.startswith(f"{name}-again-") for one in taken)
    return f"{name}-again-{again + 1}" if again else name


def _config(folder: Path) -> dict[str, Any]:
    """Of the language model, where a configuration holds several."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return {**config, **config.get("text_config", {})}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError("not a model's configuration", where=folder / "config.json", found=error) from None


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(
            "the tokenizer cannot be loaded", where=folder, found=" ".join(str(error).split())[:300]
        ) from None
