"""The suites of `evaluate.suites` in params.yaml: where problems come from, how they are asked, how scored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from relex.core.choices import Scorer
from relex.core.section import Natural, Positive, Section, Template


class SplitSource(Section):
    """A held-out split of the stage `problems`."""

    kind: Literal["problems"]
    split: Literal["validation", "test", "ood"]


class FileSource(Section):
    """A .jsonl, .parquet or .csv file with a problem a row; columns by name."""

    kind: Literal["file"]
    path: str
    problem: str = "problem"
    answer: str = "answer"


class DatasetSource(Section):
    """A Hugging Face data set; the revision is a commit hash, so that the suite stays what it was."""

    kind: Literal["dataset"]
    repo: str
    revision: str
    config: str | None = None
    split: str
    problem: str = "problem"
    answer: str = "answer"


class GymSource(Section):
    """A procedural task of reasoning-gym."""

    kind: Literal["reasoning-gym"]
    task: str
    config: dict[str, Any] = Field(default_factory=dict)
    seed: Natural
    size: Positive
    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0


class ReadyMadeSource(Section):
    """A benchmark that ready_made.py knows; from the hub at `revision`, or from a local file of its columns."""

    kind: Literal["ready-made"]
    set: Literal["math", "aime-2025", "aime-2026", "hmmt-feb-2025", "amc23", "olympiad-bench"]
    revision: str | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> ReadyMadeSource:
        if (self.revision is None) == (self.path is None):
            raise ValueError("give either revision (a commit hash on the hub) or path (a local file)")
        return self


Source = Annotated[SplitSource | FileSource | DatasetSource | GymSource | ReadyMadeSource, Field(discriminator="kind")]


class SuiteParams(Section):
    """One suite. What is left out comes from the ready-made set, else from the section `evaluate`.

    template and scorer: for sources that hold bare questions; a split has its own. limit: only so many problems,
    the first by content hash. chat, system: see prompts.render; a split is asked as the section `problems` says.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    source: Source
    role: Literal["validation", "test", "ood"]
    template: Template | None = None
    chat: bool | None = None
    system: str | None = None
    scorer: Scorer | None = None
    samples: Positive | None = None
    temperature: Annotated[float, Field(ge=0.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    max_tokens: Positive | None = None
    limit: Positive | None = None

    @model_validator(mode="after")
    def _fits_source(self) -> SuiteParams:
        if self.source.kind == "problems" and (self.template is not None or self.scorer is not None):
            raise ValueError("a split of the stage problems has its own prompts and scorer: no template, no scorer")
        if self.source.kind == "reasoning-gym" and self.scorer is not None:
            raise ValueError("a reasoning-gym task has its own scorer")
        inherits = self.source.kind == "problems" and self.chat is None
        if self.system is not None and not self.chat and not inherits:
            raise ValueError("system needs chat: true, the chat template is what it goes into")
        return self


def files_of(suites: Iterable[SuiteParams]) -> list[Path]:
    """Files of this machine that the suites read."""
    sources = (suite.source for suite in suites)
    given = [source.path for source in sources if isinstance(source, FileSource | ReadyMadeSource)]
    return [Path(path) for path in given if path is not None]
