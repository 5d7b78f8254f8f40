"""What `relex extrapolate` is asked for, checked against the observed steps before anything is read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from relex.core.choices import Mode
from relex.core.errors import InputError, InputErrors
from relex.forecast.backtest import fitted_counts, held_out
from relex.forecast.directed import Directed
from relex.forecast.fits import FITS
from relex.forecast.kinds import group_of, kind_of
from relex.forecast.subspace import Array
from relex.forecast.weights import Forecast, directed
from relex.window.options import Options


@dataclass(frozen=True)
class Request:
    """Targets, in optimiser steps, and how they are forecast; see `relex extrapolate --help`.

    targets: one candidate each. A soup is one candidate, and has no others.
    """

    targets: tuple[int, ...]
    options: Options = Options()  # noqa: RUF009  frozen
    mode: Mode = "extrapolate"

    def __post_init__(self) -> None:
        if self.options.soup:  # its one candidate is called by the mean of the steps that it is made of
            object.__setattr__(self, "targets", (round(sum(self.options.soup) / len(self.options.soup)),))

    @property
    def horizons(self) -> tuple[int, ...]:
        """The steps that are forecast, which for a soup are not those of the candidates."""
        return self.options.soup or self.targets

    @property
    def forecast(self) -> Forecast:
        return self.options.forecast(self.mode)

    def vary(self, **changes: Any) -> Request:
        """This request with other values of some options."""
        return dataclasses.replace(self, options=self.options.model_copy(update=changes))

    def facts(self) -> dict[str, Any]:
        """For fit.json: all that decides about the weights."""
        # Of a section that holds more, the options alone.
        asked = self.options.model_dump(include=Options.model_fields.keys() - {"device", "memory"})
        return asked | {"mode": self.mode, "targets": list(self.targets)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Request:
        """The request that facts() tells of, from JSON; InputError when it is not one."""
        options = {name: value for name, value in facts.items() if name not in ("mode", "targets")}
        try:
            return cls(tuple(facts["targets"]), Options.model_validate_json(json.dumps(options)), facts["mode"])
        except (ValidationError, KeyError, TypeError) as error:
            raise InputError("not what `relex extrapolate` was asked for", found=str(error)[:300]) from None

    def _named(self, name: str) -> bool:
        return self.options.only is None or re.search(self.options.only, name) is not None

    def used_steps(self, steps: Sequence[int]) -> list[int]:
        """The observed steps inside the sub-window."""
        return [steps[row] for row in self.rows(steps)]

    def directed(self, name: str, gram: Array, steps: Sequence[int]) -> Directed:
        """w [K, T] of one tensor over the whole window, from its G [T, T]: zero outside the sub-window, and one at its
        last step where the tensor stays."""
        rows, used = self.rows(steps), self.used_steps(steps)
        size = self.size(name, gram, steps)
        if size == 0.0:
            return Directed.plain(np.eye(len(steps))[[rows[-1]] * len(self.targets)])
        found = directed(gram[np.ix_(rows, rows)], used, self.horizons, self.forecast).placed(rows, len(steps))
        found = found.from_row(np.eye(len(steps))[rows[-1]], size)
        cap = self.options.norm_cap
        if cap is not None:
            found = found.scaled(capping(found.dense, gram, rows[-1], cap))
        return found.mean() if self.options.soup else found

    def size(self, name: str, gram: Array, steps: Sequence[int]) -> float:
        """How far a tensor goes from the last observed step, in units of its forecast, from its G [T, T] over the whole
        window: what `kinds` says, as far as its backtest in the sub-window lets it; 0 where it stays."""
        sizes = self.options.kinds or {}
        size = sizes.get(group_of(name), sizes.get(kind_of(name), 1.0)) if self._named(name) else 0.0
        if size > 0 and (self.options.backtested or self.options.damped):
            rows = self.rows(steps)
            found = half_skill(gram[np.ix_(rows, rows)], self.used_steps(steps), self.forecast)
            size *= min(max(found, 0.0), 1.0) if self.options.damped else float(found > 0.0)
        return size

    def weights(self, name: str, gram: Array, steps: Sequence[int]) -> Array:
        """directed() as an array [K, T]."""
        return self.directed(name, gram, steps).dense

    def rows(self, steps: Sequence[int]) -> list[int]:
        """Rows of the observed steps inside the sub-window [first, last]."""
        first, last = self.options.first or steps[0], self.options.last or steps[-1]
        return [row for row, step in enumerate(steps) if first <= step <= last]

    def check(self, steps: Sequence[int], names: Sequence[str]) -> None:
        """InputErrors with every fault of the request, given the observed steps and the tensors."""
        said = [*self.options.faults(), *self.options.conflicts()]
        faults = [InputError(what, where=_flag(name), found=value) for name, what, value in said]
        impossible = {error.where for error in faults}
        if len(set(self.targets)) != len(self.targets) or not self.targets:
            faults.append(InputError("targets must be distinct", where="--target", found=list(self.targets)))
        only = self.options.only
        if only is not None and "--only" not in impossible and not any(self._named(name) for name in names):
            faults.append(InputError("matches no tensor", where="--only", found=only))
        there = {kind_of(name) for name in names} | {group_of(name) for name in names}
        missing = sorted((self.options.kinds or {}).keys() - there)
        if missing and "--kinds" not in impossible:
            faults.append(InputError("no tensor is of this kind", where="--kinds", found=missing))
        faults += self._check_window(steps, self.used_steps(steps))
        if faults:
            raise InputErrors(faults)

    def _check_window(self, steps: Sequence[int], used: list[int]) -> list[InputError]:
        if len(used) < 2:
            return [
                InputError(
                    "fewer than two observed steps in the sub-window",
                    where="--first/--last",
                    expected=f"a part of {steps[0]}..{steps[-1]}",
                    found=used,
                )
            ]
        faults, options = [], self.options
        fit, least = FITS[options.fit], FITS[options.fit].least(options.degree)
        if options.rank != "full" and options.rank > len(used):
            expected = f"<= {len(used)}"
            faults.append(InputError("above the window", where="--rank", expected=expected, found=options.rank))
        if options.anchor_mean > len(used):
            expected = f"<= {len(used)}"
            faults.append(
                InputError("above the window", where="--anchor-mean", expected=expected, found=options.anchor_mean)
            )
        if len(used) < least:
            expected = f"{least} for {options.fit}, degree {options.degree}"
            faults.append(
                InputError("the fit needs more steps", where="--fit, --degree", expected=expected, found=len(used))
            )
        if fit.series is not None and options.rank == "full":
            todo = f"{options.fit} is fitted to coefficients: name a rank"
            faults.append(InputError("the fit needs a rank", where="--rank", found=options.rank, todo=todo))
        if self.mode == "extrapolate":
            inside = [target for target in self.horizons if target <= used[-1]]
            if inside:
                todo = "name a later step, or --mode reconstruct or fit-reconstruct for an observed one"
                expected = f"> {used[-1]}, the window's last step"
                where = "--soup" if options.soup else "--target"
                faults.append(
                    InputError("not beyond the window", where=where, expected=expected, found=inside, todo=todo)
                )
        else:
            unseen = [target for target in self.horizons if target not in used]
            if unseen:
                faults.append(InputError(f"{self.mode} needs observed steps", where="--target", found=unseen))
        return faults


def half_skill(gram: Array, steps: Sequence[int], how: Forecast) -> float:
    """The skill of one tensor's forecast from the first half of the window at its last step: 1 is perfect, 0 no better
    than staying. 0 for a window too short to hold anything out."""
    counts = fitted_counts(len(steps), [0.5])
    return float(held_out({"": gram}, steps, counts[0], how).skill()[-1]) if counts else 0.0


def capping(found: Array, gram: Array, last: int, cap: float) -> Array:
    """Factors [K] of weights [K, T] with which no predicted delta is longer than `cap` times the last observed one."""
    longest = cap * np.sqrt(max(gram[last, last], 0.0))
    lengths = np.sqrt(np.clip(np.einsum("kt,ts,ks->k", found, gram, found), 0.0, None))
    return np.where(lengths > longest, longest / np.where(lengths > 0, lengths, 1.0), 1.0)


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")
