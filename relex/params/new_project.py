"""`relex new`: a checkout of its own for somebody's task and base, with a params.yaml that their first rows propose."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

import relex
from relex.core.atomic import new_file, read_json
from relex.core.errors import InputError, InputErrors
from relex.core.topology import topology
from relex.core.workspace import PARAMS, PROFILES
from relex.params import doctor
from relex.params.own_task import Proposal, propose
from relex.params.profiles import kept_elsewhere
from relex.rewards.score import score
from relex.stages.base.package import gguf_file
from relex.stages.base.params import PackageBase
from relex.stages.base.stage import check_checkpoint
from relex.stages.problems.rows import gym, read_dataset, read_table

_FRAME = PROFILES / "smollm2-135m.yaml"  # whatever the task does not change: a short window, and how it is proven
_GYM = {"train": 2000, "validation": 400, "test": 400, "ood": 0}
_TRIED = 50  # problems of a generator that lengths are taken from
_DATASET = re.compile(r"hub:(?P<repo>[^@:]+)@(?P<revision>[^:]+)(?::(?P<split>.+))?")
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)")
_PACKAGE = re.compile(r"(?P<package>[\w.-]+)==(?P<version>[\w.]+)")


@dataclass(frozen=True)
class Task:
    """The section problems.source, what the rows proposed, and prompt and answer of the first problem."""

    source: dict[str, Any]
    sizes: dict[str, int]
    completion: int
    longest: int  # characters of the longest prompt
    prompt: str
    answer: str
    scorer: str
    entry: dict[str, Any] | None = None


def new(
    folder: Path,
    task: str,
    base: str,
    *,
    problem: str | None = None,
    answer: str | None = None,
    name: str | None = None,
) -> tuple[str, list[InputError]]:
    """Make `folder` a checkout whose params.yaml is for this task and base; what to check, and what doctor misses.

    task: a .jsonl, .parquet or .csv file, hub:OWNER/NAME@REVISION[:SPLIT], or gym:NAME. base: a checkpoint folder,
    OWNER/NAME@REVISION of the hub, or PACKAGE==VERSION. InputError for either that will not do; then nothing is made.
    """
    told = _task(task, problem, answer)
    source = _base(base)
    verdict = score(told.scorer, told.answer, told.answer, told.entry)
    _checkout(folder)
    document = _document(folder, told, source, name or _slug(task))
    with new_file(folder / PARAMS) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        _yaml().dump(document, handle)
    page, faults = _examined(folder)
    return _page(folder, told, verdict.value == 1.0, page), faults


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


def _has_template(source: Mapping[str, Any]) -> bool:
    """Whether the base is asked through a chat template; what is not here yet is taken to have one."""
    if source["kind"] != "folder":
        return True
    folder = Path(source["path"])
    settings = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (
        settings.is_file() and bool(read_json(settings).get("chat_template"))
    )


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


def _document(folder: Path, task: Task, base: dict[str, Any], model: str) -> Any:
    """The frame with what this task and base change; its comments stay."""
    document = _yaml().load((folder / _FRAME).read_text(encoding="utf-8"))
    document.yaml_set_start_comment(
        f"Made by `relex new` for {task.source['kind']} problems. What a key means: relex/."
    )
    problems = document["problems"]
    problems["source"] = task.source
    problems["sizes"] = _inline(task.sizes)
    problems["chat"] = _has_template(base)
    document["base"]["source"] = base
    train, evaluate = document["train"], document["evaluate"]
    train["max_completion_length"] = evaluate["max_tokens"] = task.completion
    train["completions"]["prompts"] = max(2, min(20, task.sizes["train"] // 8))
    evaluate["max_model_len"] = _rounded(2 * task.longest + 256 + task.completion)
    evaluate["suites"] = [
        _inline({"name": name, "role": name, "source": _inline({"kind": "problems", "split": name})})
        for name in ("validation", "test", "ood")
        if task.sizes[name]
    ]
    if topology().gpus:
        evaluate["dtype"] = "bfloat16"
    document["registry"]["model"] = model
    return document


def _inline(facts: Mapping[str, Any]) -> CommentedMap:
    found = CommentedMap(facts)
    found.fa.set_flow_style()
    return found


def _yaml() -> YAML:
    """That writes null as the sections have it."""
    yaml = YAML()
    yaml.width = 200
    null = "tag:yaml.org,2002:null"
    yaml.representer.add_representer(type(None), lambda writer, _: writer.represent_scalar(null, "null"))
    return yaml


def _rounded(tokens: int) -> int:
    return -(-tokens // 64) * 64


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

1. What the model is asked, and what counts as right (problems.source, problems.chat):
{prompt}
   answer {answer!r}; the scorer {scorer} {verdict}
2. Sizes and lengths: {sizes}; answers of at most {completion} tokens
   (train.max_completion_length, evaluate.max_tokens).
3. Whether there is anything to learn: the share of groups without signal ("Signal and lengths while training" in
   report.html, after the first hop) must be well below 100 %. A base that is never right, or always, gives RLVR
   nothing to go by: take an easier or a harder task.

{examined}

Then: cd {folder} && git commit --all --message 'my task' && make nightly"""


def _page(folder: Path, task: Task, readable: bool, examined: str) -> str:
    return _CHECK.format(
        params=folder / PARAMS,
        prompt="\n".join(f"     | {line}" for line in task.prompt.splitlines()),
        answer=task.answer,
        scorer=task.scorer,
        verdict="reads it as right" if readable else "does NOT: problems.source.scorer names another",
        sizes=", ".join(f"{name} {count}" for name, count in task.sizes.items() if count),
        completion=task.completion,
        examined=examined,
        folder=folder,
    )
