"""The params.yaml that `relex new` writes: a frame, with what somebody's task and base change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from relex.core.atomic import new_file, read_json
from relex.core.topology import topology
from relex.core.workspace import PROFILES

_FRAME = PROFILES / "smollm2-135m.yaml"  # whatever the task does not change: a short window, and how it is proven


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


def of(folder: Path, task: Task, base: dict[str, Any], model: str) -> Any:
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
    set_completion(document, task, task.completion)
    train["completions"]["prompts"] = max(2, min(20, task.sizes["train"] // 8))
    evaluate["suites"] = [
        _inline({"name": name, "role": name, "source": _inline({"kind": "problems", "split": name})})
        for name in ("validation", "test", "ood")
        if task.sizes[name]
    ]
    if topology().gpus:
        evaluate["dtype"] = "bfloat16"
    comment = "largest share of answers that reach evaluate.max_tokens without an end"
    document["decide"].yaml_add_eol_comment(comment, "max_truncated")
    document["nights"]["budget"]["hops"] = 1  # a first night to look at, as short as one can be
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


def set_completion(document: Any, task: Task, tokens: int) -> None:
    """Answers of at most `tokens`, in training and in the proof, and a context for the longest prompt and them."""
    train, evaluate = document["train"], document["evaluate"]
    train["max_completion_length"] = evaluate["max_tokens"] = tokens
    evaluate["max_model_len"] = _rounded(2 * task.longest + 256 + tokens)


def write(document: Any, path: Path) -> None:
    """All of it or nothing."""
    with new_file(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        _yaml().dump(document, handle)


def _has_template(source: Mapping[str, Any]) -> bool:
    """Whether the base is asked through a chat template; what is not here yet is taken to have one."""
    if source["kind"] != "folder":
        return True
    folder = Path(source["path"])
    settings = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (
        settings.is_file() and bool(read_json(settings).get("chat_template"))
    )
