"""`relex new`: a checkout of its own for somebody's task and base, with a params.yaml that their first rows propose."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import relex
from relex.core import hop as hops
from relex.core.errors import InputError, InputErrors
from relex.core.workspace import DVC_LOCK, HISTORY, HOP, LEDGER, LEDGER_TABLE, METRICS, PARAMS
from relex.params import answers_page, doctor, own_document
from relex.params.first_answers import FirstAnswers, first_answers
from relex.params.lengths import fits, proposed
from relex.params.load import load
from relex.params.own_document import Task
from relex.params.own_task import Proposal, propose
from relex.params.profiles import kept_elsewhere
from relex.rewards.score import score
from relex.stages.base.package import gguf_file
from relex.stages.base.params import PackageBase
from relex.stages.base.stage import check_checkpoint
from relex.stages.problems.rows import gym, read_dataset, read_table

_GYM = {"train": 2000, "validation": 400, "test": 400, "ood": 0}
_NIGHTS = (DVC_LOCK, LEDGER, LEDGER_TABLE, HISTORY)
_SHORTEST = 64  # tokens: where the search for the length of an answer begins, at most
_TRIED = 50  # problems of a generator that lengths are taken from
_DATASET = re.compile(r"hub:(?P<repo>[^@:]+)@(?P<revision>[^:]+)(?::(?P<split>.+))?")
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)")
_PACKAGE = re.compile(r"(?P<package>[\w.-]+)==(?P<version>[\w.]+)")


def new(
    folder: Path,
    task: str,
    base: str,
    *,
    problem: str | None = None,
    answer: str | None = None,
    name: str | None = None,
    ask: bool = True,
) -> tuple[str, list[InputError]]:
    """Make `folder` a checkout whose params.yaml is for this task and base; what to check, and what doctor misses.

    task: a .jsonl, .parquet or .csv file, hub:OWNER/NAME@REVISION[:SPLIT], or gym:NAME. base: a checkpoint folder,
    OWNER/NAME@REVISION of the hub, or PACKAGE==VERSION. InputError for either that will not do; then nothing is made.
    ask: let the base answer some problems where it is here, and take the length of an answer from what it writes.
    """
    told = _task(task, problem, answer)
    source = _base(base)
    verdict = score(told.scorer, told.answer, told.answer, told.entry)
    _checkout(folder)
    document = own_document.of(folder, told, source, name or _slug(task))
    own_document.write(document, folder / PARAMS)
    answers = _answers(folder, document, told) if ask else ["base       not asked, as --quick says"]
    page, faults = _examined(folder)
    return _page(folder, told, verdict.value == 1.0, document, [page, *answers]), faults


def _answers(folder: Path, document: Any, task: Task) -> list[str]:
    """What the base answers, for people; the document's length of an answer becomes one that most answers keep."""
    try:
        params = load(folder / PARAMS)
        found = first_answers(params, folder, shortest=min(_SHORTEST, task.completion // 2), fetch=False)
    except InputErrors as errors:
        return [f"base       not asked: {errors.errors[0]}"]
    except InputError as error:
        return [f"base       not asked: {error}"]
    own_document.set_completion(document, task, _completion(found, task, params.decide.max_truncated))
    own_document.write(document, folder / PARAMS)
    return answers_page.page(found, document["evaluate"]["max_tokens"], params.decide.max_truncated)


def _completion(found: FirstAnswers, task: Task, max_truncated: float) -> int:
    """As the answers propose it; where none of the lengths would do, at least what the rows proposed."""
    cut = proposed(found.cuts, max_truncated)
    return cut.tokens if fits(cut, found.cuts[-1], max_truncated) else max(cut.tokens, task.completion)


def _task(task: str, problem: str | None, answer: str | None) -> Task:
    if task.startswith("gym:"):
        named = task.removeprefix("gym:")
        made = gym(named, {}, seed=0, size=_TRIED, template="{question}", threshold=1.0, scorer=None, where=task)
        found = [item.problem for item in made]
        one, answers, longest = found[0], max(len(p.answer) for p in found), max(len(p.prompt) for p in found)
        source = {"kind": "reasoning-gym", "task": named, "config": {}, "ood_config": {}}
        return Task(source, dict(_GYM), 64 + answers, longest, one.prompt, one.answer, one.scorer, one.entry)
    if task.startswith("hub:"):
        match = _DATASET.fullmatch(task)
        if match is None:
            expected = "hub:OWNER/NAME@REVISION or hub:OWNER/NAME@REVISION:SPLIT, the revision a commit hash"
            raise InputError("not a data set", where="--task", expected=expected, found=task)
        split = match["split"] or "train"
        rows = read_dataset(match["repo"], None, split, match["revision"], "--task")
        place = {"kind": "dataset", "repo": match["repo"], "revision": match["revision"], "split": split}
    else:
        rows = read_table(Path(task), "--task")
        place = {"kind": "file", "path": str(Path(task).absolute())}
    return _of_table(place, propose(rows, task, problem=problem, answer=answer))


def _of_table(place: Mapping[str, Any], found: Proposal) -> Task:
    named = {"problem": found.problem, "answer": found.answer, "template": found.template, "scorer": found.scorer}
    question, reference = found.first
    prompt = found.template.replace("{question}", question)
    return Task({**place, **named}, found.sizes, found.completion, found.longest, prompt, reference, found.scorer)


def _base(base: str) -> dict[str, Any]:
    if Path(base).is_dir():
        check_checkpoint(Path(base))
        return {"kind": "folder", "path": str(Path(base).absolute())}
    if match := _HUB.fullmatch(base):
        return {"kind": "hub", "repo": match["repo"], "revision": match["revision"]}
    if match := _PACKAGE.fullmatch(base):
        source = {"kind": "package", "package": match["package"], "version": match["version"]}
        gguf_file(PackageBase.model_validate(source))
        return source
    expected = "a checkpoint folder, OWNER/NAME@REVISION of the hub, or PACKAGE==VERSION"
    raise InputError("no such base", where="--base", expected=expected, found=base)


def _checkout(folder: Path) -> None:
    """A clone of the checkout that this code stands in; one that is there already, if its params.yaml can go."""
    if (folder / "dvc.yaml").is_file() and (folder / PARAMS).is_file():
        if not kept_elsewhere(folder):
            raise InputError(
                "params.yaml holds changes that would be lost",
                where=(folder / PARAMS).resolve(),
                expected="what Git's last commit or a profile holds",
                todo="commit or copy it first",
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        expected = "a name that is not taken, or a checkout of this project"
        raise InputError("something else lies there", where=folder, expected=expected)
    here = Path(relex.__file__).resolve().parents[1]
    command = ["git", "clone", "--quiet", str(here), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        todo = "relex must stand in a checkout under Git: clone the project, and run relex from it"
        raise InputError("cannot be cloned", where=here, found=done.stderr.strip()[:300], todo=todo)
    _without_nights(folder)


def _without_nights(folder: Path) -> None:
    """A clone without what the nights of the cloned checkout left under version control: they were of another task."""
    shutil.rmtree(folder / METRICS, ignore_errors=True)
    for name in _NIGHTS:
        (folder / name).unlink(missing_ok=True)
    hops.write(hops.Hop(), folder / HOP)


def _slug(task: str) -> str:
    stem = Path(task.partition("@")[0].rpartition(":")[2]).stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "own-task"


def _examined(folder: Path) -> tuple[str, list[InputError]]:
    try:
        return doctor.examine(folder / PARAMS, folder, timed=False)
    except InputErrors as errors:
        return "", list(errors.errors)


_CHECK = """\
{params} is written. Check three things before the first night:

1. What the model is asked, and what counts as right (problems.source: columns, scorer, and template, in which
   {{question}} stands for the column; problems.chat):
{prompt}
   answer {answer!r}; the scorer {scorer} {verdict}
2. Sizes and lengths: {sizes}; answers of at most {completion} tokens
   (train.max_completion_length, evaluate.max_tokens).
3. Whether there is anything to learn: the base's own answers below, and after the first hop the share of groups
   without signal ("Signal and lengths while training" in report.html), must leave some answers right and some wrong.
   A base that is never right, or always, gives RLVR nothing to go by: take an easier or a harder task.

{examined}

Then: cd {folder} && git commit --all --message 'my task' && make nightly"""


def _page(folder: Path, task: Task, readable: bool, document: Any, examined: list[str]) -> str:
    return _CHECK.format(
        params=folder / PARAMS,
        prompt="\n".join(f"     | {line}" for line in task.prompt.splitlines()),
        answer=task.answer,
        scorer=task.scorer,
        verdict="reads it as right" if readable else "does NOT: problems.source.scorer names another",
        sizes=", ".join(f"{name} {count}" for name, count in task.sizes.items() if count),
        completion=document["evaluate"]["max_tokens"],
        examined="\n".join(line for line in examined if line),
        folder=folder,
    )
