"""params.yaml as frozen, validated models: checked once, at load, with all errors reported together.

Every section is one stage. Cross-section rules stand in `_cross_checks`; what depends on the machine (a missing
base folder, disk, write access) is in preflight.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from relex import sampling
from relex.errors import InputError, InputErrors
from relex.problem_params import Problems
from relex.section import Natural, Positive, PositiveFloat, Section, Share
from relex.suite_params import SuiteParams
from relex.train_params import Train


class Pretraining(Section):
    """How the embedded base is made: a corpus that mixes a right and a wrong procedure (ascending, descending)."""

    steps: Positive
    batch: Positive
    learning_rate: PositiveFloat
    warmup_steps: Natural
    weight_decay: Annotated[float, Field(ge=0.0)]
    lengths: tuple[Annotated[int, Field(ge=2, le=10)], Annotated[int, Field(ge=2, le=10)]]
    wrong_share_low: Share  # probability of the wrong procedure at first digit 0
    wrong_share_high: Share  # and at first digit 9; linear between
    token_noise: Share
    anneal: bool = True  # linear decay of the learning rate to 0; False keeps it constant

    @model_validator(mode="after")
    def _ordered(self) -> Pretraining:
        if self.lengths[0] > self.lengths[1]:
            raise ValueError("lengths must be [shortest, longest]")
        if self.warmup_steps >= self.steps:
            raise ValueError("warmup_steps must be below steps")
        return self


class EmbeddedBase(Section):
    """A tiny Qwen3 decoder that this stage pretrains on the sort-digits corpus."""

    kind: Literal["embedded"]
    seed: Natural
    hidden_size: Positive
    intermediate_size: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    head_dim: Positive
    initializer_range: PositiveFloat
    rope_theta: PositiveFloat
    pretraining: Pretraining

    @model_validator(mode="after")
    def _heads_group(self) -> EmbeddedBase:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class FolderBase(Section):
    """A Hugging Face checkpoint folder on this machine."""

    kind: Literal["folder"]
    path: str


class PackageBase(Section):
    """A model that an installed Python package carries as one GGUF file; written as a float32 checkpoint folder."""

    kind: Literal["package"]
    package: str
    version: str


class HubBase(Section):
    """A Hugging Face hub repository at a revision (a commit hash makes the night reproducible)."""

    kind: Literal["hub"]
    repo: str
    revision: str


class Base(Section):
    """Stage base: theta_0, the model RLVR starts from."""

    source: Annotated[EmbeddedBase | FolderBase | PackageBase | HubBase, Field(discriminator="kind")]


class Diagnose(Section):
    """Stage diagnose: how far the forecast can be trusted."""

    rank: Positive
    backtest: tuple[Share, ...]  # shares of the window to fit on; the later observed steps are forecast
    scan_horizons: Natural  # likelihood scan: how many horizons, 0 turns it off
    scan_reach: PositiveFloat  # its farthest horizon, as a multiple of the window's last step
    variants: tuple[Literal["backtested", "norm-cap"], ...] = ()  # per-tensor choices that the scan judges as well


AUTO_TARGETS = 5  # how many targets `auto` places at most


class Variant(Section):
    """More candidates for the same targets: what is named here differs from the section, the rest is as it says."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]  # candidates/step_<target>-<name>
    rank: Positive | Literal["full"] | None = None
    fit: Literal["linear", "polynomial", "sinusoid", "two-point"] | None = None
    degree: Annotated[int, Field(ge=1, le=5)] | None = None
    first: Positive | None = None
    last: Positive | None = None
    anchor: Literal["line", "last"] | None = None
    only: str | None = None
    shrink: Share | None = None


class Extrapolate(Section):
    """Stage extrapolate: from the window to candidate checkpoints. The flags of `relex extrapolate` are the same."""

    targets: tuple[Positive, ...] | Literal["auto"]  # auto: around the horizon that diagnose's scan suggests
    rank: Positive | Literal["full"]
    fit: Literal["linear", "polynomial", "sinusoid", "two-point"]
    degree: Annotated[int, Field(ge=1, le=5)] = 2  # of the polynomial fit
    first: Positive | None = None  # sub-window
    last: Positive | None = None
    anchor: Literal["line", "last"]
    only: str | None = None
    shrink: Share = 0.0
    autoregressive: Positive | None = None  # refit after every so many predicted steps
    backtested: bool = False  # tensors whose held-out backtest fails stay at the last observed step
    norm_cap: PositiveFloat | None = None  # a tensor's predicted delta at most this many times its last observed one
    variants: tuple[Variant, ...] = ()
    device: Literal["cpu", "cuda", "auto"]
    memory: str

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | str) -> tuple[int, ...] | str:
        if not value or (value != "auto" and len(set(value)) != len(value)):
            raise ValueError(f"targets must be at least one, and distinct: {list(value)}")
        return value

    @property
    def target_count(self) -> int:
        """How many candidates there will be, at most."""
        return (AUTO_TARGETS if self.targets == "auto" else len(self.targets)) * (1 + len(self.variants))

    @field_validator("variants")
    @classmethod
    def _distinct_names(cls, value: tuple[Variant, ...]) -> tuple[Variant, ...]:
        if len({variant.name for variant in value}) != len(value):
            raise ValueError(f"variants must have distinct names: {[variant.name for variant in value]}")
        return value

    @field_validator("memory")
    @classmethod
    def _a_size(cls, value: str) -> str:
        parse_size(value)
        return value


class Halving(Section):
    """Successive halving on the choosing problems, when there are more than `above` candidates; `keep` are left."""

    above: Positive
    keep: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Halving:
        if self.keep > self.above:
            raise ValueError(f"keep ({self.keep}) must not be above `above` ({self.above})")
        return self


class Evaluate(Section):
    """Stage evaluate: one protocol for every model. samples to max_tokens hold for suites that do not set their own."""

    seed: Natural
    samples: Positive  # k of avg@k
    pass_k: tuple[Positive, ...] = Field(min_length=1)
    temperature: Annotated[float, Field(ge=0.0)]
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    max_tokens: Positive
    dtype: Literal["float32", "bfloat16", "float16"]
    max_model_len: Positive
    suites: tuple[SuiteParams, ...] = Field(min_length=1)
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    resamples: Annotated[int, Field(ge=100)]  # bootstrap samples of the metrics' intervals
    backend: Literal["vllm", "transformers"]
    reload: bool  # several checkpoints through one engine, where a fresh engine proves it exact
    engines: Positive  # engine processes at a time: one per GPU, or on a CPU one per core or so
    tensor_parallel: Positive = 1  # GPUs that one engine spreads a model over
    cpu_kv_cache_gib: Positive = 1  # key-value cache of one engine on a CPU; a GPU's is what its memory leaves
    problems_per_batch: Positive  # generated together; a kill loses only the completions under way
    gate_share: Annotated[float, Field(gt=0.0, lt=1.0)]  # share of validation kept for the gate
    halving: Halving

    @model_validator(mode="after")
    def _possible(self) -> Evaluate:
        errors = []
        if max(self.pass_k) > self.samples:
            errors.append(f"pass_k ({max(self.pass_k)}) must not exceed samples ({self.samples})")
        for suite in self.suites:
            errors.extend(sampling.faults(suite, sampling.resolve(suite, self), self.max_model_len))
        names = [suite.name for suite in self.suites]
        if len(set(names)) < len(names):
            errors.append(f"suites must have distinct names: {', '.join(names)}")
        if not any(suite.role == "validation" for suite in self.suites):
            errors.append("suites: none has the role validation, so nothing can be chosen or proven")
        if errors:
            raise ValueError("; ".join(errors))
        return self


class Decide(Section):
    """Stage decide: choose on one fixed part of validation, gate on the other."""

    alpha: Annotated[float, Field(gt=0.0, lt=0.5)]
    min_gain: Share  # avg@k gain over the last observed checkpoint and the champion
    max_ood_loss: Share
    max_truncated: Share
    finalists: Positive  # how many of the best candidates on the choosing part may meet the gate
    resamples: Annotated[int, Field(ge=100)]


class Registry(Section):
    """The MLflow registry: a database (sqlite:///mlflow.db) or a server (http://...).

    mode: `copy` uploads the weights; `reference` registers their DVC path and hash, and `relex fetch` resolves it.
    """

    tracking_uri: str
    experiment: str
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w .-]*$")]
    mode: Literal["copy", "reference"] = "copy"


class Params(Section):
    """All of params.yaml."""

    problems: Problems
    base: Base
    train: Train
    diagnose: Diagnose
    extrapolate: Extrapolate
    evaluate: Evaluate
    decide: Decide
    registry: Registry


# Values of the `kind` keys: what tells the variants of a source apart.
_KINDS = frozenset(
    {
        *("sort-digits", "addition", "reasoning-gym", "file", "dataset"),
        *("embedded", "folder", "package", "hub"),
        *("problems", "ready-made"),
    }
)

_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of a size such as `256MiB` or `1.5GiB`; ValueError for anything else."""
    number = text.rstrip("BiKMGT").strip()
    unit = text[len(text.rstrip("BiKMGT")) :]
    try:
        size = int(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size: write a number and one of B, KiB, MiB, GiB, TiB") from None
    if size <= 0:
        raise ValueError(f"{text!r} must be above zero")
    return size


def load(path: Path) -> Params:
    """Read and check a params.yaml; InputErrors names every fault at once."""
    sections, errors = check(path)
    if errors:
        raise InputErrors(errors)
    return Params(**sections)


def check(path: Path) -> tuple[dict[str, Any], list[InputError]]:
    """The sections that are sound, and every fault: unknown, missing and ill-typed keys, impossible values."""
    try:
        raw = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, [InputError("the file is missing", where=path, todo="run in the project's root")]
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        return {}, [InputError("not readable as YAML", where=path, found=" ".join(str(error).split()))]
    if not isinstance(raw, dict):
        return {}, [InputError("not a mapping of sections", where=path, found=type(raw).__name__)]
    errors = [
        InputError("unknown section", where=f"{path}: {name}", expected=", ".join(Params.model_fields))
        for name in raw
        if name not in Params.model_fields
    ]
    sections: dict[str, Any] = {}
    for name, field in Params.model_fields.items():
        if name not in raw:
            errors.append(InputError("the section is missing", where=f"{path}: {name}"))
            continue
        section, faults = _read(field.annotation, raw[name])
        errors.extend(_explain(path, name, faults))
        if section is not None:
            sections[name] = section
    errors.extend(InputError(fault, where=f"{path}: {where}") for where, fault in _cross_checks(sections))
    return sections, errors


def _read(annotation: Any, raw: Any) -> tuple[Section | None, list[Any]]:
    """One section and its faults. Unknown keys alone do not hide the section from the cross-checks."""
    try:
        # JSON mode: strict about types, yet a YAML list is a tuple. YAML dates become strings and are refused.
        return TypeAdapter(annotation).validate_json(json.dumps(raw, default=str)), []
    except ValidationError as error:
        faults: list[Any] = error.errors(include_url=False)
    if any(fault["type"] != "extra_forbidden" for fault in faults):
        return None, faults
    known = json.loads(json.dumps(raw, default=str))
    for fault in faults:
        *parents, key = (part for part in fault["loc"] if part not in _KINDS)
        inner = known
        for parent in parents:
            inner = inner[parent]
        del inner[key]
    section, more = _read(annotation, known)
    return section, faults + more


def _explain(path: Path, section: str, faults: list[Any]) -> list[InputError]:
    explained = []
    for fault in faults:
        # The discriminator's value stands in pydantic's path, not in the file's.
        where = ".".join([section, *(str(part) for part in fault["loc"] if part not in _KINDS)])
        what = {"extra_forbidden": "unknown key", "missing": "the key is missing"}.get(
            fault["type"], fault["msg"].removeprefix("Value error, ")
        )
        shown = fault["type"] != "missing" and not isinstance(fault["input"], dict | list)
        explained.append(InputError(what, where=f"{path}: {where}", found=repr(fault["input"]) if shown else ""))
    return explained


def _cross_checks(sections: dict[str, Any]) -> list[tuple[str, str]]:
    """Rules between sections, for the sections that are themselves sound."""
    faults: list[tuple[str, str]] = []
    problems, base, train = sections.get("problems"), sections.get("base"), sections.get("train")
    extrapolate, diagnose, evaluate = (sections.get(name) for name in ("extrapolate", "diagnose", "evaluate"))
    if base and problems and base.source.kind == "embedded" and problems.source.kind != "sort-digits":
        faults.append(("base.source", "the embedded base only knows the sort-digits problems"))
    if train and extrapolate:
        steps = [
            step
            for step in train.window.steps
            if (extrapolate.first or 0) <= step <= (extrapolate.last or train.window.last)
        ]
        if len(steps) < 2:
            faults.append(("extrapolate.first", "the sub-window holds fewer than two observed steps"))
        targets = () if extrapolate.targets == "auto" else extrapolate.targets
        inside = [target for target in targets if target <= train.window.last]
        if inside:
            faults.append(
                ("extrapolate.targets", f"inside the window, which ends at step {train.window.last}: {inside}")
            )
        if isinstance(extrapolate.rank, int) and extrapolate.rank > max(len(steps), 1):
            faults.append(("extrapolate.rank", f"{extrapolate.rank} is above the {len(steps)} observed steps"))
    if extrapolate and diagnose and extrapolate.targets == "auto" and not diagnose.scan_horizons:
        faults.append(("extrapolate.targets", "auto follows the likelihood scan, but diagnose.scan_horizons is 0"))
    if train and diagnose and diagnose.rank > len(train.window.steps):
        faults.append(("diagnose.rank", f"{diagnose.rank} is above the {len(train.window.steps)} observed steps"))
    if train and problems and train.prompts_per_step > problems.sizes.train:
        faults.append(
            (
                "train.prompts_per_step",
                f"{train.prompts_per_step} is above problems.sizes.train ({problems.sizes.train})",
            )
        )
    if evaluate and problems:
        for suite in evaluate.suites:
            if suite.source.kind == "problems" and not getattr(problems.sizes, suite.source.split):
                said = f"problems.sizes.{suite.source.split} is 0: the split is not there"
                faults.append((f"evaluate.suites ({suite.name})", said))
    if train and evaluate and train.max_completion_length > evaluate.max_model_len:
        faults.append(("evaluate.max_model_len", "shorter than train.max_completion_length"))
    return faults
