"""The options of a forecast: one list for the section `extrapolate`, the command's flags and a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic import ValidationInfo, field_validator

from relex.core.choices import Anchor, Device, Fit, Mode, TensorKind, is_group
from relex.core.section import Positive, Section
from relex.core.sizes import parse_size
from relex.forecast.fits import FITS
from relex.forecast.weights import Forecast


def _says(possible: Callable[[Any], bool], otherwise: str) -> Callable[[Any], str | None]:
    return lambda value: None if value is None or possible(value) else otherwise


def _not_a_regex(value: str | None) -> str | None:
    try:
        re.compile(value or "")
    except (re.error, RecursionError, OverflowError) as error:
        return f"not a regular expression: {error}"
    return None


def _not_a_size(value: str) -> str | None:
    try:
        parse_size(value)
    except ValueError as error:
        return str(error)
    return None


# What is wrong with a value whatever the window, or None.
_RULES: Mapping[str, Callable[[Any], str | None]] = {
    "rank": _says(lambda value: value == "full" or value > 0, "must be a whole number above zero, or `full`"),
    "degree": _says(lambda value: value >= 1, "must be at least 1"),
    "shrink": _says(lambda value: 0.0 <= value <= 1.0, "must lie in [0, 1]"),
    "autoregressive": _says(lambda value: value >= 1, "must be at least one step"),
    "anchor_mean": _says(lambda value: value >= 1, "must be at least one step"),
    "kinds": _says(
        lambda value: (
            bool(value) and all(is_group(name) and 0.0 <= size < float("inf") for name, size in value.items())
        ),
        f"must name at least one kind ({', '.join(get_args(TensorKind))}, or one of a layer, mlp.11), each with a step "
        "size of 0 or more",
    ),
    "soup": _says(
        lambda value: len(set(value)) == len(value) > 1 and min(value) > 0, "must be two or more distinct steps"
    ),
    "norm_cap": _says(lambda value: 0.0 < value < float("inf"), "must be above zero"),
    "only": _not_a_regex,
    "memory": _not_a_size,
}


class Options(Section):
    """What is fitted, to which observed steps, and where it runs; the same for every target.

    first, last: a sub-window, in optimiser steps. only: regex of the names of the tensors that move; the others stay
    at the last observed step. anchor_mean: anchor `last` starts from the mean of so many last observed steps. kinds:
    how far tensors of a kind, or of one in one layer (mlp.11; forecast/kinds.py), go from the last observed step, in
    units of the forecast; 1 where neither is named. soup: instead of one candidate per target, one: the mean of the
    forecasts for these steps. shrink: towards the last observed checkpoint. autoregressive: refit after every so many
    predicted steps. backtested: tensors whose held-out backtest fails stay at the last observed step. damped: every
    tensor goes as far as its held-out backtest has skill, from 0 to 1, times what `kinds` says. norm_cap: a tensor's
    predicted delta at most this many times its last observed one. memory: for all buffers together.
    """

    rank: int | Literal["full"] = 1
    fit: Fit = "linear"
    degree: int = 2  # of the polynomial fit
    first: Positive | None = None
    last: Positive | None = None
    anchor: Anchor = "line"
    anchor_mean: int = 1
    only: str | None = None
    kinds: dict[str, float] | None = None
    soup: tuple[int, ...] | None = None
    shrink: float = 0.0
    autoregressive: int | None = None
    backtested: bool = False
    damped: bool = False
    norm_cap: float | None = None
    device: Device = "auto"
    memory: str = "1GiB"

    @field_validator(*_RULES)
    @classmethod
    def _possible(cls, value: Any, info: ValidationInfo) -> Any:
        fault = _RULES[str(info.field_name)](value)
        if fault:
            raise ValueError(fault)
        return value

    @classmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> Options:
        """The options among a command's flags, not yet checked: Request.check names all faults together."""
        return cls.model_construct(**{name: flags[name] for name in cls.model_fields if name in flags})

    def faults(self) -> Iterator[tuple[str, str, Any]]:
        """(option, what is wrong, its value) for every impossible value."""
        for name, rule in _RULES.items():
            value = getattr(self, name)
            if fault := rule(value):
                yield name, fault, value

    def conflicts(self) -> Iterator[tuple[str, str, Any]]:
        """(option, what is wrong, its value) for values that another option makes meaningless."""
        if self.anchor_mean > 1 and (self.anchor != "last" or FITS[self.fit].whole is not None):
            yield "anchor_mean", "only anchor `last` of a fitted line or curve starts from a mean", self.anchor_mean

    def forecast(self, mode: Mode = "extrapolate") -> Forecast:
        """What the mathematics is asked for."""
        return Forecast(
            self.rank,
            self.fit,
            self.degree,
            mode,
            self.anchor,
            self.shrink,
            self.autoregressive,
            self.anchor_mean,
        )

    @property
    def directions(self) -> int | None:
        """Along how many directions any number of targets lie at most (forecast/factored.py), as far as the options
        tell; None where they do not, as with a fit that goes on from its own predictions."""
        fit = FITS[self.fit]
        more = int(self.shrink > 0) + int(self.kinds is not None or self.damped)
        if fit.whole is not None:
            return 1 + more
        if self.rank != "full":
            return self.rank + int(self.anchor == "last") + more
        degree = self.degree if self.fit == "polynomial" else 1
        return None if self.autoregressive is not None else degree + 1 + more

    @property
    def budget(self) -> int:
        """Bytes for all buffers together."""
        return parse_size(self.memory)
