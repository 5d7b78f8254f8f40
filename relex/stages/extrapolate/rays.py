"""Which candidates there will be: by ray, what each is called and how it is forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.stages.extrapolate.controls import Controls
from relex.window.request import Request
from relex.window.rows import Window


@dataclass(frozen=True)
class Ray:
    """Candidates that are forecast alike, for several targets.

    name: `step`, or `step-<label>` of a variant or a control. candidates: name -> target. directed: w [K, T] of a
    tensor from its G [T, T]. signs: how much of its random direction comes to each [K], None for nothing.
    """

    name: str
    candidates: Mapping[str, int]
    directed: Callable[[str, Array], Directed]
    signs: Callable[[str, Array], Array] | None = None


def rays_of(window: Window, request: Request, variants: Mapping[str, Request], controls: Controls) -> list[Ray]:
    """The request's own, one a variant, one a kind of control."""
    steps = window.steps
    rays = []
    for label, one in {"": request, **variants}.items():
        end = f"-{label}" if label else ""

        def directed(name: str, gram: Array, one: Request = one) -> Directed:
            return one.directed(name, gram, steps)

        rays.append(Ray(f"step{end}", {f"step_{target:06d}{end}": target for target in one.targets}, directed))
    for kind in controls.kinds:
        alone = Controls((kind,), request)

        def along(name: str, gram: Array, alone: Controls = alone) -> Directed:
            return alone.directed(name, gram, steps)

        def signs(name: str, gram: Array, alone: Controls = alone) -> Array:
            return alone.signs(name, gram, steps, window.numel(name))

        rays.append(Ray(f"step-{kind}", alone.names(), along, signs if kind == "random" else None))
    return rays


def directed_of(rays: Sequence[Ray]) -> Callable[[str, Array], Directed]:
    """The weights of all candidates, in order."""
    return lambda name, gram: Directed.joined([ray.directed(name, gram) for ray in rays])


def signs_of(rays: Sequence[Ray]) -> Callable[[str, Array], Array] | None:
    """How much of a tensor's random direction comes to each candidate, in order; None where it comes to none."""
    if not any(ray.signs for ray in rays):
        return None
    return lambda name, gram: np.concatenate(
        [ray.signs(name, gram) if ray.signs else np.zeros(len(ray.candidates)) for ray in rays]
    )
