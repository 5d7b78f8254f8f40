"""What is asked: problem suites with their role and their sampling protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from relex.core.asking import Asking
from relex.core.digest import json_sha256
from relex.core.errors import InputError
from relex.core.workspace import PROBLEMS
from relex.proof.roles import CHOOSE, GATE
from relex.rewards.problem import Problem, load_split
from relex.stages.evaluate.suites.params import SplitSource, SuiteParams
from relex.stages.evaluate.suites.sampling import Defaults, Sampling, resolve
from relex.stages.evaluate.suites.sources import load_problems


@dataclass(frozen=True)
class Suite:
    """Problems asked under one protocol."""

    name: str
    role: str
    problems: tuple[Problem, ...]
    sampling: Sampling
    asking: Asking = Asking()  # noqa: RUF009  frozen

    @property
    def sha256(self) -> str:
        """Hash of everything that makes the rows: problems with scorer and entry, sampling, chat and system."""
        return json_sha256(self.facts(self.problems))

    def protocol(self) -> dict[str, Any]:
        """For metrics/evaluate.json."""
        facts = {"role": self.role, "problems": len(self.problems), "chat": self.asking.chat, "sha256": self.sha256}
        return facts | asdict(self.sampling)

    def facts(self, problems: tuple[Problem, ...]) -> dict[str, Any]:
        """The suite as JSON, with `problems` in place of its own."""
        facts = {
            "problems": [asdict(problem) for problem in problems],
            "sampling": asdict(self.sampling),
            "chat": self.asking.chat,
        }
        return facts if self.asking.system is None else facts | {"system": self.asking.system}


def load_suites(evaluate: Defaults, problems: Asking) -> list[Suite]:
    """The suites that params.yaml asks for, each validation suite in its two parts, in a fixed order.

    InputError for a source that cannot give its problems, and for a prompt that stands in two roles or in training.
    """
    suites = suites_of(evaluate, problems)
    trained = load_split(PROBLEMS, "train") if (PROBLEMS / "train.jsonl").is_file() else []
    check_disjoint(suites, trained)
    return suites


def suites_of(evaluate: Defaults, problems: Asking) -> list[Suite]:
    """The same, not held against each other (check_disjoint)."""
    return [suite for asked in evaluate.suites for suite in _suite(asked, evaluate, problems)]


def _suite(asked: SuiteParams, evaluate: Defaults, asking: Asking) -> list[Suite]:
    sampling = resolve(asked, evaluate)
    chat, system = asked.chat, asked.system
    if isinstance(asked.source, SplitSource):  # a split is asked as it was trained on
        chat = asking.chat if chat is None else chat
        system = asking.system if system is None and chat else system
    how = Asking(chat=bool(chat), system=system)
    problems = _by_content(load_problems(asked), asked)
    if asked.role != "validation":
        return [Suite(asked.name, asked.role, tuple(problems), sampling, how)]
    choose, gate = split_validation(problems, evaluate.gate_share)
    return [
        Suite(part_name(asked.name, CHOOSE), CHOOSE, tuple(choose), sampling, how),
        Suite(part_name(asked.name, GATE), GATE, tuple(gate), sampling, how),
    ]


def part_name(suite: str, part: str) -> str:
    """The name of a validation suite's part: choose or gate."""
    return part if suite == "validation" else f"{suite}-{part}"


def _by_content(problems: list[Problem], asked: SuiteParams) -> list[Problem]:
    """Checked, without repeats, in the order of their content hashes; only the first `limit`.

    In this order the first problems are a random part of the suite, which the proof's looks rely on.
    """
    where = f"suite {asked.name}"
    for problem in problems:
        if not problem.answer.strip():
            raise InputError("the problem has no answer", where=f"{where}, problem {problem.id}")
        if not problem.prompt.strip():
            raise InputError("the prompt is empty", where=f"{where}, problem {problem.id}")
    once = {problem.prompt: problem for problem in reversed(problems)}
    if len(once) < len(problems):
        print(f"{where}: {len(problems) - len(once)} of {len(problems)} problems are repeats and are asked once")
    order = sorted(once.values(), key=lambda problem: _order(problem, "ask"))
    if not order:
        raise InputError("the suite has no problems", where=where)
    return order[: asked.limit]


def split_validation(problems: list[Problem], gate_share: float) -> tuple[list[Problem], list[Problem]]:
    """(choose, gate): a fixed split by content, whatever the order of `problems`; each part holds one at least."""
    if len(problems) < 2:
        raise InputError("validation is too small to split", expected="at least 2 problems", found=len(problems))
    order = sorted(problems, key=lambda problem: _order(problem, "gate"))
    size = gate_size(len(order), gate_share)
    return order[size:], order[:size]


def gate_size(problems: int, gate_share: float) -> int:
    """How many of `problems` validation problems the gate gets."""
    return min(max(round(problems * gate_share), 1), problems - 1)


def _order(problem: Problem, purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{problem.id}".encode()).digest()


def check_disjoint(suites: Iterable[Suite], trained: Iterable[Problem]) -> None:
    """InputError for a prompt that stands in two roles. trained: the problems of the training."""
    roles = dict.fromkeys((problem.content for problem in trained), "train")
    for suite in suites:
        for problem in suite.problems:
            role = roles.setdefault(problem.content, suite.role)
            if role != suite.role:
                raise InputError(
                    "a prompt stands in two roles",
                    where=f"suite {suite.name}, problem {problem.id}",
                    expected="train, choosing, gate, test and ood to share no problem",
                    found=f"{role} and {suite.role}",
                )
