"""The section `problems` of params.yaml: where verifiable problems come from, and how a model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from relex.core.asking import Asking
from relex.core.choices import Scorer
from relex.core.section import Natural, Positive, Section, Share, Template

Digits = Annotated[int, Field(ge=2, le=10)]
Splits = Literal["train", "validation", "test", "ood"]


class SortDigits(Section):
    """Distinct digits in, the same digits ascending out: `48201=` -> `01248`."""

    kind: Literal["sort-digits"]
    lengths: tuple[Digits, ...] = Field(min_length=1)
    ood_lengths: tuple[Digits, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ood_is_harder(self) -> SortDigits:
        if min(self.ood_lengths) <= max(self.lengths):
            raise ValueError("every length in ood_lengths must be above every length in lengths")
        return self


class Addition(Section):
    """`a + b`, both whole numbers from smallest to largest, each sum at most once; scored as an integer."""

    kind: Literal["addition"]
    numbers: tuple[Natural, Natural]
    ood_numbers: tuple[Natural, Natural]
    template: Template

    @model_validator(mode="after")
    def _ood_is_harder(self) -> Addition:
        if self.numbers[0] > self.numbers[1] or self.ood_numbers[0] > self.ood_numbers[1]:
            raise ValueError("numbers and ood_numbers must be [smallest, largest]")
        if self.ood_numbers[0] <= self.numbers[1]:
            raise ValueError("ood_numbers must lie above numbers")
        return self


class ReasoningGym(Section):
    """A procedural task of the package reasoning-gym, by name; ood_config is the harder variant.

    scorer: in place of the task's own, which passes a completion at `threshold`.
    """

    kind: Literal["reasoning-gym"]
    task: str
    config: dict[str, Any] = Field(default_factory=dict)
    ood_config: dict[str, Any]
    template: Template = "{question}"
    threshold: Share = 1.0
    scorer: Literal["integer", "math-verify"] | None = None


class _Table(Section):
    """Rows with a question and an answer, in columns by name.

    longest: prompts of more characters are left out, and counted. unusable: what to do with a row whose answer its
    scorer cannot read; `skip` names it and leaves it out.
    """

    problem: str = "problem"
    answer: str = "answer"
    template: Template = "{question}"
    scorer: Scorer = "math-verify"
    longest: Positive | None = None
    unusable: Literal["refuse", "skip"] = "refuse"


class FileProblems(_Table):
    """Files (.jsonl, .parquet, .csv): one, dealt to train, validation and test by the seed, or one per split."""

    kind: Literal["file"]
    path: str | None = None
    paths: dict[Splits, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_layout(self) -> FileProblems:
        _check_layout(self.path, self.paths, "path", "paths")
        return self


class DatasetProblems(_Table):
    """A Hugging Face data set at a revision (a commit hash), or a folder of this machine that begins with . or /.

    split: one of its splits, dealt to train, validation and test by the seed; or splits: one per split.
    """

    kind: Literal["dataset"]
    repo: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    splits: dict[Splits, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_layout(self) -> DatasetProblems:
        _check_layout(self.split, self.splits, "split", "splits")
        if self.repo.startswith((".", "/")) == (self.revision is not None):
            raise ValueError("a data set of the hub needs a revision (a commit hash), and a folder has none")
        return self


def _check_layout(one: str | None, several: dict[Splits, str], name: str, names: str) -> None:
    """Either `one`, beside which only ood may have a place of its own, or several: train and validation at least."""
    if one is not None and set(several) - {"ood"}:
        raise ValueError(
            f"give either {name}, which is dealt to the splits, or {names}; beside {name} only {names}.ood"
        )
    if one is None and not {"train", "validation"} <= set(several):
        raise ValueError(f"give {name}, which is dealt to the splits, or {names} with at least train and validation")


class Sizes(Section):
    """How many problems each split holds; 0 where a split is not wanted."""

    train: Positive
    validation: Annotated[int, Field(ge=2)]
    test: Natural
    ood: Natural


class Problems(Asking):
    """Stage problems: verifiable problems in splits that are disjoint by content.

    chat and system, of Asking: how the base is asked in training, and in suites that are splits; problems hold bare
    prompts.
    """

    seed: Natural
    source: Annotated[
        SortDigits | Addition | ReasoningGym | FileProblems | DatasetProblems, Field(discriminator="kind")
    ]
    sizes: Sizes

    @model_validator(mode="after")
    def _possible(self) -> Problems:
        errors = []
        if self.system is not None and not self.chat:
            errors.append("system needs chat: true, the chat template is what it goes into")
        if isinstance(self.source, FileProblems | DatasetProblems):
            dealt = self.source.path if isinstance(self.source, FileProblems) else self.source.split
            places = self.source.paths if isinstance(self.source, FileProblems) else self.source.splits
            for split in ("test", "ood"):
                wanted = getattr(self.sizes, split) > 0
                if wanted and split not in places and (split == "ood" or dealt is None):
                    errors.append(f"sizes.{split} must be 0: the source has no {split} problems")
                if split in places and not wanted:
                    errors.append(f"sizes.{split} is 0, but the source names {split} problems")
        if errors:
            raise ValueError("; ".join(errors))
        return self


def files_of(source: Section) -> list[Path]:
    """Files and folders of this machine that the source reads."""
    if isinstance(source, FileProblems):
        return [Path(path) for path in (source.path, *source.paths.values()) if path is not None]
    if isinstance(source, DatasetProblems) and source.revision is None:
        return [Path(source.repo)]
    return []
