"""Verifiable problems and their splits on disk: train, validation, test, ood; disjoint by content, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relex.core.errors import InputError

SPLITS = ("train", "validation", "test", "ood")


@dataclass(frozen=True)
class Problem:
    """One verifiable problem.

    id: content hash of prompt and answer. prompt: bare text, which policy/prompts.py renders. answer: the reference.
    scorer: a name that rewards.score knows. entry: what that scorer needs besides, JSON-like, or None.
    """

    id: str
    prompt: str
    answer: str
    scorer: str
    entry: dict[str, Any] | None = None

    @property
    def content(self) -> str:
        """What two problems share when they are the same one: the prompt, however its white space is written."""
        return " ".join(self.prompt.split())


def make_problem(prompt: str, answer: str, scorer: str, entry: dict[str, Any] | None = None) -> Problem:
    """A Problem with its content hash as id."""
    identity = hashlib.sha256(json.dumps([prompt, answer]).encode()).hexdigest()[:16]
    return Problem(identity, prompt, answer, scorer, entry)


def load_split(folder: Path, split: str) -> list[Problem]:
    """Read one split; InputError names the file and line that is not a problem."""
    path = Path(folder) / f"{split}.jsonl"
    if split not in SPLITS:
        raise InputError("unknown split", where=folder, expected=", ".join(SPLITS), found=split)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError("the split's file is missing", where=path, todo="run `relex problems`") from None
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        try:
            problems.append(Problem(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InputError(
                "not a problem", where=f"{path}:{number}", found=error, todo="run `relex problems`"
            ) from error
        if (before := seen.setdefault(problems[-1].id, number)) != number:
            raise InputError(
                "an id is there twice",
                where=f"{path}:{number}",
                found=f"{problems[-1].id!r}, as in line {before}",
                todo="run `relex problems`",
            )
    if not problems:
        raise InputError("the split is empty", where=path, expected="at least one problem")
    return problems


def check_disjoint(splits: Mapping[str, Sequence[Problem]]) -> None:
    """InputError when a prompt stands in two splits, or twice in one."""
    seen: dict[str, str] = {}
    for split, problems in splits.items():
        for problem in problems:
            if problem.content in seen:
                raise InputError(
                    "a prompt stands twice",
                    where=f"splits {seen[problem.content]} and {split}",
                    expected="splits that are disjoint by content",
                    found=repr(problem.prompt[:80]),
                )
            seen[problem.content] = split
