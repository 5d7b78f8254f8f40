"""The decision in a sentence that needs no knowledge of the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Words:
    """What a sentence calls a candidate, before the number of its step; and what sets how many answers may be cut off,
    and how long they may be."""

    candidate: str
    cut_off: str
    length: str


OF_NIGHT = Words("the forecast for step", "decide.max_truncated", "evaluate.max_tokens, train.max_completion_length")
# Of a proof that is handed folders: nothing says what made them, and its user has options, no params.yaml.
OF_PROOF = Words("the candidate at step", "--max-truncated", "--max-tokens")
_NAMES = {"base": "the base model", "observed": "the last trained checkpoint", "champion": "the champion"}

_ENDED = {"futile": "that became out of reach", "spent": "not proven"}


def sentence(decision: dict[str, Any], words: Words = OF_NIGHT) -> str:
    """What is done, and the numbers that carry it.

    decision: as decision_of makes it, with `trust`, and `no_signal` where the training had none. words: what it says of
    what a night, or a proof alone, has.
    """
    last = decision["verdicts"][-1]
    kept = "Keep the champion" if decision["winner"] else "Promote nothing"
    if decision.get("no_signal") and not decision["promote"]:
        return f"{kept}: {decision['no_signal']}."
    if decision["same_as_champion"]:
        text = f"Keep the champion: the best model, {_call(last['name'], words)}, is the very same model."
        return text + _no_better_one(decision, words)
    if not decision["promote"]:
        reasons = "; ".join(
            f"{_call(verdict['name'], words)} {_why_not(verdict, words)}" for verdict in decision["verdicts"]
        )
        better = any(_proven(verdict) for verdict in decision["verdicts"])
        why = "what was proven better may not be promoted" if better else "nothing was proven better"
        return f"{kept}: {why}. On problems that nothing was chosen on, {reasons}."
    if not last["tests"]:
        raise ValueError(f"{last['name']} is to be promoted, and no test says why")
    gains = " and ".join(
        f"{_points(test['gain'])} points against {_NAMES[test['against']]} "
        f"({_points(test['low'])} to {_points(test['high'])})"
        for test in last["tests"]
    )
    text = f"Promote {_call(last['name'], words)}: on problems that nothing was chosen on it gains {gains}."
    return text + _no_better_one(decision, words) + _controls(decision) + _beyond(decision)


def _controls(decision: dict[str, Any]) -> str:
    """A word of care when the winner is not shown to be better than what takes no forecast."""
    unproven = [one["name"] for one in decision["candidates"] if one.get("beats_control") is False]
    if decision["winner"] not in unproven:
        return ""
    best = max((one for one in decision["candidates"] if one.get("control")), key=lambda one: one["choose"])
    kind = best["name"].partition("-")[2]
    return (
        f" It is not shown to be better than every control: {kind}, made as long as the forecast for step "
        f"{best['step']}, had {best['choose']:.1%} right in the race. So the gain may not be the forecast's merit."
    )


def _no_better_one(decision: dict[str, Any], words: Words) -> str:
    others = decision["verdicts"][:-1]
    if not others:
        return ""
    reasons = "; ".join(f"{_call(verdict['name'], words)} {_why_not(verdict, words)}" for verdict in others)
    return f" No better one passed: {reasons}."


def _beyond(decision: dict[str, Any]) -> str:
    """A word of care when the winner lies beyond what the window could check."""
    marked = [item for item in decision["candidates"] if item["name"] == decision["winner"] and item.get("beyond")]
    if not marked:
        return ""
    trust, reasons = decision["trust"], []
    if "backtest" in marked[0]["beyond"]:
        reasons.append(f"the training window could check forecasts only to about step {trust['backtest_horizon']}")
    if "likelihood" in marked[0]["beyond"]:
        reasons.append(f"right answers were most likely at step {trust['likelihood_peak']['horizon']}")
    return f" It lies beyond the forecast's own checks ({' and '.join(reasons)}); this gain is measured, not forecast."


def _why_not(verdict: dict[str, Any], words: Words) -> str:
    others = [_call(name, words) for name in verdict.get("same_as", []) if name != verdict["name"]]
    reasons = [f"is the same model as {' and '.join(others)}"] if others else []
    reasons += [_failed_test(test) for test in verdict["tests"] if test["ended"] in ("futile", "spent")]
    reasons += [
        _failed_guard(guard, words)
        for guard in verdict["guards"]
        if not guard["passed"] and guard.get("ended") != "stopped"
    ]
    against = " and ".join(reasons)
    if not _proven(verdict):
        return against
    gains = " and ".join(
        f"{_points(test['gain'])} points against {_NAMES[test['against']]}" for test in verdict["tests"]
    )
    return f"is proven better ({gains}), but {against}"


def _proven(verdict: dict[str, Any]) -> bool:
    """Whether every test of it ended with its gain proven: what is against it is a guard."""
    return bool(verdict["tests"]) and all(test["ended"] == "proven" for test in verdict["tests"])


def _failed_test(test: dict[str, Any]) -> str:
    change = f"gains {_points(test['gain'])}" if test["gain"] >= 0 else f"loses {_points(-test['gain'], sign='')}"
    return (
        f"{change} points against {_NAMES[test['against']]} ({_points(test['low'])} to {_points(test['high'])}; "
        f"more than {_points(test['min_gain'])} were to be proven; {_ENDED[test['ended']]} after "
        f"{test['problems']} problems with {test['samples']} samples of each)"
    )


def _failed_guard(guard: dict[str, Any], words: Words) -> str:
    if guard["guard"] == "ood loss":
        return (
            f"may lose up to {_points(guard['high'], sign='')} points on {guard['suite']} against "
            f"{_NAMES[guard['against']]} (at most {_points(guard['limit'], sign='')} were to be proven; "
            f"{_ENDED[guard['ended']]} after {guard['problems']} problems with {guard['samples']} samples of each)"
        )
    if guard["guard"] == "cut off":
        return (
            f"has {guard['value']:.1%} of its answers on {guard['suite']} cut off (at most {guard['limit']:.1%}: "
            f"{words.cut_off}; how long answers may be: {words.length})"
        )
    return f"computes values that are not numbers on {guard['suite']}"


def _call(name: str, words: Words) -> str:
    if name in _NAMES:
        return _NAMES[name]
    step, _, variant = name.removeprefix("step_").partition("-")
    return f"{words.candidate} {int(step)}" + (f" ({variant})" if variant else "")


def _points(share: float, sign: str = "+") -> str:
    return f"{100 * share:{sign}.1f}"
