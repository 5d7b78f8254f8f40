"""The shape of metrics/diagnose.json, as far as the report shows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from relex.stages.report.facts import Facts, Number


class Straightness(Facts):
    """Explained share by rank [R], R^2 of the rank-1 coefficient, drift cosine."""

    explained_share: Annotated[list[Number], Field(min_length=1)]
    r_squared: Number
    drift: Number


class Persistence(Facts):
    """Mean cosine of updates that lie so many apart, and how straight the way was; None where there was none."""

    gaps: list[int]
    cosine: list[Number | None]
    null_cosine: Number
    straight: Number | None
    null_straight: Number | None

    @model_validator(mode="after")
    def _same_length(self) -> Persistence:
        if len(self.gaps) != len(self.cosine):
            raise ValueError("gaps and cosine must be of the same length")
        return self

    @property
    def known(self) -> list[tuple[int, float]]:
        """(gap, cosine) where two updates lay so far apart."""
        return [(gap, value) for gap, value in zip(self.gaps, self.cosine, strict=True) if value is not None]


class Backtest(Facts):
    """Fit on the first observed steps, forecast the later ones: skill [J], and the same of a random walk."""

    fitted_steps: int
    forecast_steps: list[int]
    skill: list[Number]
    null_skill: list[Number]

    @model_validator(mode="after")
    def _same_length(self) -> Backtest:
        if not len(self.forecast_steps) == len(self.skill) == len(self.null_skill):
            raise ValueError("forecast_steps, skill and null_skill must be of the same length")
        return self


class FunctionBacktest(Facts):
    """The same in next-token distributions, at the last observed step: skill = 1 - KL(forecast) / KL(stay)."""

    fitted_steps: int
    forecast_step: int
    skill: Number


class Coefficient(Facts):
    """Rank-1 coefficient of one tensor (or of all together) at the observed steps [T], its line and its forecast."""

    name: str
    observed: list[Number]
    line: list[tuple[int, Number]]
    forecast: list[tuple[int, Number]]
    r_squared: Number


class Peak(Facts):
    """The horizon at which a curve of the scan is highest, and the central 90 % of it over resampled prompts."""

    horizon: int
    low: int
    high: int


class Peaks(Facts):
    """None where no completion of that sort was scanned."""

    right: Peak | None
    expected_reward: Peak | None


class Scan(Facts):
    """The likelihood scan: curves [P] at the horizons [P], log-likelihoods in nats; None without right ones."""

    horizons: Annotated[list[int], Field(min_length=1)]
    prompts: int
    right: list[Number | None]
    expected_reward: list[Number]
    effective_samples: list[Number]
    peaks: Peaks
    judged: Number | None = None

    @model_validator(mode="after")
    def _same_length(self) -> Scan:
        curves = (self.right, self.expected_reward, self.effective_samples)
        if any(len(curve) != len(self.horizons) for curve in curves):
            raise ValueError("right, expected_reward and effective_samples must have a value per horizon")
        return self


class Ray(Facts):
    """The scan along a variant of the forecast: right [P] at the horizons [P], and where it is highest. judged: mean
    log-likelihood there, on problems that no step size was fitted on. kinds: those sizes, by group."""

    horizons: Annotated[list[int], Field(min_length=1)]
    right: list[Number | None]
    suggested: int
    judged: Number | None
    kinds: dict[str, Number] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _same_length(self) -> Ray:
        if len(self.right) != len(self.horizons):
            raise ValueError("right must have a value per horizon")
        return self


class Observed(Facts):
    """The window: steps [T] and hashes of what was observed."""

    steps: Annotated[list[int], Field(min_length=2)]
    sha256: str
    base_sha256: str


class Diagnosis(Facts):
    """metrics/diagnose.json."""

    trajectory: Observed
    rank: int
    overall: Straightness
    null: Straightness
    persistence: Persistence | None = None
    backtest: list[Backtest]
    coefficients: list[Coefficient]
    tensors: dict[str, Straightness]
    scan: Scan | None = None
    rays: dict[str, Ray] = Field(default_factory=dict)
    function_backtest: tuple[FunctionBacktest, ...] = ()
    says: str

    @model_validator(mode="after")
    def _every_step_observed(self) -> Diagnosis:
        for line in self.coefficients:
            if len(line.observed) != len(self.trajectory.steps):
                raise ValueError(
                    f"coefficients of {line.name}: {len(line.observed)} for {len(self.trajectory.steps)} steps"
                )
        return self
