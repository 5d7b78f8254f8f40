"""Where `extrapolate.targets: auto` places its targets: around the horizon that the likelihood scan suggests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relex.core import atomic
from relex.core.errors import InputError
from relex.stages.extrapolate.params import OTHER_RAYS

GRID = (0.5, 0.75, 1.0, 1.5, 2.0)  # of the horizon; the peak of the likelihood tends to come early


def auto_targets(diagnosis: Path) -> tuple[int, ...]:
    """Targets from a diagnose.json; InputError when it holds no scan, or the scan suggests nothing."""
    found = atomic.read_json(diagnosis)
    suggested = found.get("scan", {}).get("suggested")
    if suggested is None:
        raise InputError(
            "no horizon to place targets around",
            where=diagnosis,
            expected="a likelihood scan with verified right completions",
            todo="name extrapolate.targets",
        )
    return grid_around(suggested, found["trajectory"]["steps"][-1])


@dataclass(frozen=True)
class Chosen:
    """A ray that is worth a race: its targets, and the step sizes that were fitted for it."""

    targets: tuple[int, ...]
    kinds: dict[str, float] | None


def auto_rays(diagnosis: Path) -> dict[str, Chosen]:
    """By name, of the rays that a diagnose.json scanned beside the section's own, the OTHER_RAYS best: under which the
    right completions of the problems that judge are likeliest, each at its own horizon."""
    found = atomic.read_json(diagnosis)
    judged = {name: one for name, one in found.get("rays", {}).items() if one["judged"] is not None}
    best = sorted(judged, key=lambda name: -judged[name]["judged"])[:OTHER_RAYS]
    last = found["trajectory"]["steps"][-1]
    return {
        name: Chosen(grid_around(one["suggested"], last), one.get("kinds"))
        for name, one in judged.items()
        if name in best
    }


def grid_around(horizon: int, last: int) -> tuple[int, ...]:
    """Targets around a horizon, all beyond the window's last step, at most len(GRID) of them."""
    return tuple(sorted({max(round(factor * horizon), last + 1) for factor in GRID}))


def beyond(steps: tuple[int, ...], last: int) -> tuple[int, ...]:
    """Of the steps that were named, those beyond the window's last one: a training that goes on may have passed the
    nearest. Once it has passed them all they are doubled, and again, until one lies beyond: a night whose turn it is to
    forecast must not fail because those before it were refused."""
    if not steps:
        return steps
    factor = 1
    while factor * max(steps) <= last:
        factor *= 2
    left = tuple(factor * step for step in steps if factor * step > last)
    if factor > 1 or len(left) < len(steps):
        why = (
            f"of the steps named, {len(left)} lie beyond it" if factor == 1 else f"past all steps named: {factor} times"
        )
        print(f"extrapolate: the window ends at step {last}, {why}: {', '.join(str(step) for step in left)}")
    return left
