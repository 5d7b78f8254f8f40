"""The figures of a night's run in MLflow, under names that do not change from night to night as steps do. Pure."""

from __future__ import annotations

from typing import Any

from relex.registry.store.night import accuracy
from relex.registry.store.views import numbers

_REPORTED = ("test", "ood")


def night_metrics(evaluation: dict[str, Any], decision: dict[str, Any]) -> dict[str, float]:
    """What stands behind the headline, each under a prefix; the rest is in the models' own runs.

    reported/<winner, observed, base or champion>/<suite>: the share of right samples on test and out-of-domain suites.
    gate/<candidate or observed>_against_<opponent>/gain, problems, samples, looks, and gate_interval/.../low, high.
    proof/<part>/rows, tokens: what each part asked for, and proof/rows that all the decision rests on.

    evaluation, decision: metrics/evaluate.json and metrics/decision.json.
    """
    models = evaluation["models"]
    winner = decision["winner"] if decision["promote"] else None
    found: dict[str, float] = {}
    named = {"winner": winner} if winner else {}
    named |= {facts["kind"]: name for name, facts in models.items() if facts["kind"] != "candidate"}
    for suite, about in evaluation["protocol"]["suites"].items():
        if about["role"] in _REPORTED:
            cells = {who: accuracy(evaluation, name, suite) for who, name in named.items()}
            found |= {f"reported/{who}/{suite}": cell.value for who, cell in cells.items() if cell}
    found |= _gate(decision, models)
    found |= dict(numbers("proof", evaluation["proof"]["spent"]))
    return found | {"proof/rows": float(sum(decision["spent"].values()))}


def _gate(decision: dict[str, Any], models: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for test in decision["tests"]:
        met = f"{models[test['model']]['kind']}_against_{models[test['against']]['kind']}"
        found |= {f"gate/{met}/{name}": float(test[name]) for name in ("gain", "problems", "samples", "looks")}
        found |= {f"gate_interval/{met}/{end}": float(test[end]) for end in ("low", "high")}
    return found
