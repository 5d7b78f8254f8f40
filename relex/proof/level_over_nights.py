"""What is left of the level where earlier nights looked at the same problems of the gate. Pure.

The n-th look at the same problems may spend alpha / n^1.5, whatever came of the looks before. Over looks without end
the levels add up to LARGEST_SUM times alpha, so that by Boole's inequality no more than that many promotions without a
gain are to be expected of all of them together, however much nights depend on each other through rows that they share.
How many there really are, and what the rule costs: docs/calibration.md.
"""

from __future__ import annotations

from scipy.special import zeta

from relex.proof.rules import Rules

_POWER = 1.5  # more keeps less to prove small gains with in later nights; 1 or less adds up without bound
LARGEST_SUM = float(zeta(_POWER))  # of the shares of the level, over looks without end


def share_of_level(look: int) -> float:
    """Of the level, what the look of this number (from 1) at the same problems may spend, in (0, 1]: all at the first.

    ValueError for a number below 1.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1: {look}")
    return float(look**-_POWER)


def rules_at(rules: Rules, look: int) -> Rules:
    """The rules of the look of this number (from 1) at the same problems of the gate; of the first, `rules` unchanged.

    The last observed checkpoint's level follows, being a part of alpha. `ood_alpha` stays: out of domain is looked at
    only of what has passed the gate, so that the gate's levels bound how often a loss can pass there without a gain;
    each such look is held against the base too, so that losses do not add up; and to show that nothing was lost takes
    many more problems at a smaller level, which a suite does not have. ValueError for a number below 1.
    """
    return rules.model_copy(update={"alpha": rules.alpha * share_of_level(look)})
