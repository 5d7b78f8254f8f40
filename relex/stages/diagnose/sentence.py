"""The diagnosis in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relex.forecast.backtest import Held

# A forecast from an earlier part of the window was worse than standing still there: docs/training.md.
TURNS = "THE WINDOW TURNS"
_STILL = (
    "the weights did not move: each of the {steps} checkpoints is the base itself, so there is nothing to forecast; "
    "a learning rate of zero, frozen weights, or the same reward within every group leaves them so"
)


def says(written: Mapping[str, Any], held: Sequence[Held]) -> str:
    """The diagnosis in one sentence. written: diagnose.json without it."""
    straight = written["overall"]
    parts = [written["no_signal"]] if "no_signal" in written else []
    if not straight["sigma"][0] > 0:
        return parts[0] if parts else _STILL.format(steps=len(written["trajectory"]["steps"]))
    parts += [
        f"rank 1 explains {straight['explained_share'][0]:.3f}, R^2 {straight['r_squared']:.3f}, "
        f"drift cosine {straight['drift']:.3f}"
    ]
    if held:
        found = [float(part.skill()[-1]) for part in held]
        listed = ", ".join(f"{value:.2f} from {part.fitted} steps" for value, part in zip(found, held, strict=True))
        verdict = "the line forecasts the window's own later steps" if min(found) > 0 else TURNS
        parts.append(f"held-out skill {listed}: {verdict}")
    else:
        parts.append("too few steps for a backtest")
    if far := written.get("base"):
        parts.append(far)
    if rounding := written.get("rounding"):
        parts.append(
            f"{rounding['above']:.0%} of the movement lies above the rounding of {'/'.join(rounding['dtypes'])}"
        )
    peak = written.get("scan", {}).get("peaks", {}).get("right")
    if peak:
        parts.append(
            f"verified completions are most likely at step {peak['horizon']} (90 %: {peak['low']}..{peak['high']})"
        )
    return "; ".join(parts)
