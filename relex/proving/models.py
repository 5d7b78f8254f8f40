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
from relex.trajectory.layouts import holds_weights, other_format, weights_folder
from relex.trajectory.numbering import step_of_folder
from relex.window.adapters import is_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VARIANT = re.compile(r"step_(\d+)-[A-Za-z0-9-]+")
_COMPARED = 50  # prompts a suite that every tokenizer is held against the base's with
Place = tuple[str, str, int | None, Path]  # name, kind, step, folder
OPTIONS = {"base": "--base", "observed": "--last", "champion": "--champion", "candidate": "--candidate"}  # by kind
_OF_STEP = {"--last": "was saved at", "--candidate": "is, or is a forecast for"}
_STEP = {
    "--last": "the step that it was trained to",
    "--candidate": "its step (of candidates that are equally good, the nearest is taken)",
}


def places(models: Models) -> list[Place]:
    """Who stands where, in a fixed order, each in the folder that holds its weights: the inner one of verl's layout.

    InputErrors names every folder that is missing, is no whole checkpoint, is given twice, or whose step is not known.
    """
    faults: list[InputError] = []
    found: list[Place] = [("base", "base", 0, weights_folder(models.base.absolute()))]
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
        found.insert(2, ("champion", "champion", None, weights_folder(models.champion.absolute())))
    for _, kind, _, folder in found:
        try:
            _check_whole(folder, OPTIONS[kind])
        except InputError as fault:
            faults.append(fault)
    faults += _twice([(place, place[-1].resolve()) for place in found], "the same folder")
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


def contestants(found: Sequence[Place]) -> list[Contestant]:
    """With their hashes: every byte of every folder is read. InputErrors names candidates that are one model, and those
    that are the base or the last trained checkpoint."""
    made = [contestant_of(name, kind, step, folder) for name, kind, step, folder in found]
    same = [(place, one.model_sha256) for place, one in zip(found, made, strict=True)]
    if faults := _twice(same, "the same weights, configuration and tokenizer"):
        raise InputErrors(faults)
    base, last = (next(one for one in made if one.kind == kind) for kind in ("base", "observed"))
    if base.model_sha256 == last.model_sha256:
        print("note: --last is the same model as --base: a candidate is held against that one model")
    return made


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
    named, folder = folder, folder.absolute()
    if step is None:
        variant = _VARIANT.fullmatch(folder.name)
        step = int(variant[1]) if variant else step_of_folder(folder)
    if not step and not folder.is_dir():
        raise InputError("the folder is missing", where=f"{option} {said}", expected="a Hugging Face checkpoint folder")
    if not step:
        raise InputError(
            f"nothing says which optimiser step it {_OF_STEP[option]}",
            where=f"{option} {said}",
            expected="a folder called step_N, checkpoint-N, global_step_N, or STEP=FOLDER, N and STEP above zero",
            todo=f"{option} STEP={named}, with {_STEP[option]} in place of STEP",
        )
    return step, weights_folder(folder)


def _check_whole(folder: Path, option: str) -> None:
    """InputError unless the folder is a whole checkpoint in safetensors; it says what to do with what there is."""
    if folder.is_dir() and is_adapter(folder):
        raise InputError(
            "an adapter, not a whole checkpoint",
            where=f"{option} {folder}",
            expected="a folder with config.json and model.safetensors",
            found="adapter_config.json",
            todo="add it to its base first: relex import RUN --base BASE --out window, then relex materialize "
            f"--trajectory window --base BASE --step N --out last/step_N, and {option} last/step_N",
        )
    if folder.is_dir() and not holds_weights(folder) and (error := other_format(folder)) is not None:
        raise error
    check_checkpoint(folder, option)


def _twice(found: Sequence[tuple[Place, Any]], what: str) -> list[InputError]:
    """For every candidate that is what another one, the base or the last trained checkpoint is already."""
    known: dict[Any, Place] = {}
    faults = []
    for place, identity in found:
        kind, folder = place[1], place[-1]
        if kind == "champion":  # a candidate may turn out to be the champion, and is then kept
            continue
        first = known.setdefault(identity, place)
        if kind == "candidate" and first is not place:
            faults.append(
                InputError(
                    "a candidate is a model that is given already",
                    where=f"{OPTIONS[kind]} {folder}",
                    found=f"{what} as {OPTIONS[first[1]]} {first[-1]}",
                    todo="leave it out: a model cannot be proven better than itself, nor raced twice",
                )
            )
    return faults


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
