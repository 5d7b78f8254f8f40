"""What a proof of checkpoint folders is asked for: the command's options, and the sections that they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from relex.core.asking import Asking
from relex.core.choices import Scorer
from relex.core.errors import InputError, InputErrors
from relex.core.section import Section
from relex.proof.rules import Rules
from relex.stages.evaluate.params import Evaluate

_Section = TypeVar("_Section", bound=Section)
Backend = Literal["vllm", "transformers"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Models:
    """Checkpoint folders, each but base and champion as FOLDER, whose name says its step, or as STEP=FOLDER."""

    base: Path
    last: str
    candidates: tuple[str, ...]
    champion: Path | None = None


@dataclass(frozen=True)
class Files:
    """Tables of problems (.jsonl, .parquet, .csv). suite: to choose and to prove on. ood: where nothing may be lost.
    test: only reported. train: what the models were trained on, so that none of it stands in the others.

    problem, answer: their columns.
    """

    suite: Path
    ood: Path | None = None
    test: Path | None = None
    train: Path | None = None
    problem: str = "problem"
    answer: str = "answer"

    @property
    def tables(self) -> dict[str, Path]:
        """Those that are given, by their options."""
        named = {"--suite": self.suite, "--ood": self.ood, "--test": self.test, "--train": self.train}
        return {option: path for option, path in named.items() if path is not None}


@dataclass(frozen=True)
class Options:
    """How the models are asked, and what must be proven: keys of the sections `evaluate` and `decide`.

    rows: most rows of the proof and its report, None for no limit. engines: None for one a GPU, or one on a CPU.
    """

    scorer: Scorer = "math-verify"
    template: str = "{question}"
    chat: bool = False
    system: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    samples: int = 4
    seed: int = 0
    backend: Backend = "vllm"
    dtype: Dtype = "auto"
    engines: int | None = None
    tensor_parallel: int = 1
    first: int = 50
    race_samples: int = 4
    proof_samples: int = 16
    gate_share: float = 0.5
    rows: int | None = None
    alpha: float = 0.05
    min_gain: float = 0.01
    max_ood_loss: float = 0.02
    ood_alpha: float = 0.1
    max_truncated: float = 0.05

    @property
    def asking(self) -> Asking:
        """How every suite is asked."""
        return Asking(chat=self.chat, system=self.system)

    @property
    def rules(self) -> Rules:
        """The section `decide`; InputErrors names the options that are impossible."""
        names = ("alpha", "min_gain", "max_ood_loss", "ood_alpha", "max_truncated")
        return _section(Rules, {name: getattr(self, name) for name in names})

    def evaluate(self, files: Files, dtype: str, engines: int) -> Evaluate:
        """The section `evaluate`, its max_model_len not known yet; InputErrors names the options that are impossible.

        dtype, engines: what `auto` and None mean here.
        """
        if self.system is not None and not self.chat:
            raise InputError("it goes into the chat template", where="--system", todo="add --chat, or leave it out")
        proof = {"first": self.first, "race_samples": self.race_samples, "samples": self.proof_samples}
        facts: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("seed", "samples", "temperature", "top_p", "max_tokens")},
            "pass_k": tuple(sorted({1, self.samples})),
            "dtype": dtype,
            "max_model_len": self.max_tokens + 1,
            "suites": self._suites(files),
            "confidence": 0.95,
            "resamples": 2000,
            "backend": self.backend,
            "reload": True,
            "engines": engines,
            "tensor_parallel": self.tensor_parallel,
            "gate_share": self.gate_share,
            "proof": proof,
            "budget": {"rows": self.rows, "share": None, "minutes": None},
            "report": "winner",
        }
        return _section(Evaluate, facts)

    def _suites(self, files: Files) -> tuple[dict[str, Any], ...]:
        roles = {"validation": files.suite, "test": files.test, "ood": files.ood}
        how = {"template": self.template, "chat": self.chat, "system": self.system, "scorer": self.scorer}
        return tuple(
            {
                "name": role,
                "role": role,
                "source": {"kind": "file", "path": str(path), "problem": files.problem, "answer": files.answer},
                **how,
            }
            for role, path in roles.items()
            if path is not None
        )


def _section(kind: type[_Section], facts: dict[str, Any]) -> _Section:
    try:
        return kind.model_validate(facts)
    except ValidationError as error:
        raise InputErrors([_fault(fault) for fault in error.errors(include_url=False)]) from None


def _fault(fault: Any) -> InputError:
    """In the command's words: the option for a key of a section."""
    names = [part for part in fault["loc"] if isinstance(part, str) and part in Options.__dataclass_fields__]
    shown = not isinstance(fault["input"], dict | list)
    return InputError(
        fault["msg"].removeprefix("Value error, "),
        where=f"--{names[-1].replace('_', '-')}" if names else "the options",
        found=repr(fault["input"])[:200] if shown else "",
    )
