"""The section `diagnose` of params.yaml."""

from __future__ import annotations

from typing import Literal

from relex.core.section import Natural, Positive, PositiveFloat, Section, Share

FIT_STEPS = 40  # gradient steps in which step sizes are fitted


class Diagnose(Section):
    """Stage diagnose: how far the forecast can be trusted."""

    rank: Positive
    backtest: tuple[Share, ...]  # shares of the window to fit on; the later observed steps are forecast
    scan_horizons: Natural  # likelihood scan: how many horizons, 0 turns it off
    scan_reach: PositiveFloat  # its farthest horizon, as a multiple of the window's last step
    variants: tuple[Literal["backtested", "norm-cap"], ...] = ()  # per-tensor choices that the scan judges as well
