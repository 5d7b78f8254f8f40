"""What `relex extrapolate` is asked for, checked against the observed steps before anything is read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from relex.backtest import fitted_counts, held_out
from relex.directed import Directed
from relex.errors import InputError, InputErrors
from relex.forecast import Forecast, Rank, directed
from relex.params import Extrapolate, Variant, parse_size
from relex.subspace import Array


@dataclass(frozen=True)
class Request:
    """The flags of `relex extrapolate`; see its --help. targets, first and last are optimiser steps."""

    targets: tuple[int, ...]
    rank: Rank = 1
    fit: Literal["linear", "polynomial", "sinusoid", "two-point"] = "linear"
    degree: int = 2
    mode: Literal["extrapolate", "reconstruct", "fit-reconstruct"] = "extrapolate"
    first: int | None = None
    last: int | None = None
    anchor: Literal["line", "last"] = "line"
    only: str | None = None
    shrink: float = 0.0
    autoregressive: int | None = None
    backtested: bool = False
    norm_cap: float | None = None
    device: str = "auto"
    memory: str = "1GiB"

    @classmethod
    def of(cls, section: Extrapolate, targets: tuple[int, ...] = ()) -> Request:
        """The request that a section of params.yaml makes, with these targets where it says `auto`."""
        return cls(
            targets=targets if section.targets == "auto" else section.targets,
            rank=section.rank,
            fit=section.fit,
            degree=section.degree,
            first=section.first,
            last=section.last,
            anchor=section.anchor,
            only=section.only,
            shrink=section.shrink,
            autoregressive=section.autoregressive,
            backtested=section.backtested,
            norm_cap=section.norm_cap,
            device=section.device,
            memory=section.memory,
        )

    def vary(self, variant: Variant) -> Request:
        """This request with what a variant of params.yaml names changed."""
        changes = {name: value for name, value in variant.model_dump(exclude={"name"}).items() if value is not None}
        return dataclasses.replace(self, **changes)

    @property
    def forecast(self) -> Forecast:
        return Forecast(self.rank, self.fit, self.degree, self.mode, self.anchor, self.shrink, self.autoregressive)

    @property
    def budget(self) -> int:
        """Bytes for all buffers together."""
        try:
            return parse_size(self.memory)
        except ValueError as error:
            raise InputError(str(error), where="--memory") from None

    def moves(self, name: str) -> bool:
        """Whether a tensor is forecast; the others stay at the last observed step."""
        return self.only is None or re.search(self.only, name) is not None

    def used_steps(self, steps: Sequence[int]) -> list[int]:
        """The observed steps inside the sub-window."""
        return [steps[row] for row in self.rows(steps)]

    def directed(self, name: str, gram: Array, steps: Sequence[int]) -> Directed:
        """w [K, T] of one tensor over the whole window, from its G [T, T]: zero outside the sub-window, and one at its
        last step where the tensor stays."""
        rows, used = self.rows(steps), self.used_steps(steps)
        part = gram[np.ix_(rows, rows)]
        if not self.moves(name) or (self.backtested and not passes(part, used, self.forecast)):
            return Directed.plain(np.eye(len(steps))[[rows[-1]] * len(self.targets)])
        found = directed(part, used, self.targets, self.forecast).placed(rows, len(steps))
        return found if self.norm_cap is None else found.scaled(capping(found.dense, gram, rows[-1], self.norm_cap))

    def weights(self, name: str, gram: Array, steps: Sequence[int]) -> Array:
        """directed() as an array [K, T]."""
        return self.directed(name, gram, steps).dense

    def rows(self, steps: Sequence[int]) -> list[int]:
        """Rows of the observed steps inside the sub-window [first, last]."""
        first, last = self.first or steps[0], self.last or steps[-1]
        return [row for row, step in enumerate(steps) if first <= step <= last]

    def check(self, steps: Sequence[int], names: Sequence[str]) -> None:
        """InputErrors with every fault of the request, given the observed steps and the tensors."""
        faults = self._check_window(steps, self.used_steps(steps))
        if len(set(self.targets)) != len(self.targets) or not self.targets:
            faults.append(InputError("targets must be distinct", where="--target", found=list(self.targets)))
        if self.autoregressive is not None and self.autoregressive < 1:
            faults.append(InputError("must be at least one step", where="--autoregressive", found=self.autoregressive))
        if self.norm_cap is not None and not self.norm_cap > 0:
            faults.append(InputError("must be above zero", where="--norm-cap", found=self.norm_cap))
        if not 0.0 <= self.shrink <= 1.0:
            faults.append(InputError("must lie in [0, 1]", where="--shrink", found=self.shrink))
        if self.only is not None:
            try:
                if not any(self.moves(name) for name in names):
                    faults.append(InputError("matches no tensor", where="--only", found=self.only))
            except re.error as error:
                faults.append(InputError(f"not a regular expression: {error}", where="--only", found=self.only))
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
        faults = []
        if self.rank != "full" and self.rank > len(used):
            faults.append(InputError("above the window", where="--rank", expected=f"<= {len(used)}", found=self.rank))
        if self.fit == "polynomial" and self.degree >= len(used):
            faults.append(InputError("the fit needs more steps", where="--degree", expected=f"< {len(used)}"))
        if self.fit == "sinusoid" and (self.rank == "full" or len(used) < 4):
            faults.append(InputError("a sinusoid needs a rank, and four steps", where="--fit", found=self.rank))
        if self.mode == "extrapolate":
            inside = [target for target in self.targets if target <= used[-1]]
            if inside:
                todo = "name a later step, or --mode reconstruct or fit-reconstruct for an observed one"
                expected = f"> {used[-1]}, the window's last step"
                faults.append(
                    InputError("not beyond the window", where="--target", expected=expected, found=inside, todo=todo)
                )
        else:
            unseen = [target for target in self.targets if target not in used]
            if unseen:
                faults.append(InputError(f"{self.mode} needs observed steps", where="--target", found=unseen))
        return faults


def passes(gram: Array, steps: Sequence[int], how: Forecast) -> bool:
    """Whether one tensor's forecast from the first half of the window beats staying, at the window's last step."""
    counts = fitted_counts(len(steps), [0.5])
    return bool(counts) and float(held_out({"": gram}, steps, counts[0], how).skill()[-1]) > 0.0


def capping(found: Array, gram: Array, last: int, cap: float) -> Array:
    """Factors [K] of weights [K, T] with which no predicted delta is longer than `cap` times the last observed one."""
    longest = cap * np.sqrt(max(gram[last, last], 0.0))
    lengths = np.sqrt(np.clip(np.einsum("kt,ts,ks->k", found, gram, found), 0.0, None))
    return np.where(lengths > longest, longest / np.where(lengths > 0, lengths, 1.0), 1.0)
