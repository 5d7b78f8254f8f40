"""Stage report: what people look at. One self-contained page, report.html, and the hop in a dozen numbers.

Made of metrics/, timings/ and evaluation/, of hop.json, of ledger.jsonl and history.jsonl as far as they reach back
from the hop's end, of inputs/true-rlvr.json, and of what params.yaml calls the task and the model: the same ones give
the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from relex.core import workspace
from relex.core.atomic import write_json, write_text
from relex.core.section import Section
from relex.ledger import true_rlvr
from relex.ledger.task import task_of
from relex.stages.report import accuracy_tables, names, tables, trend, words
from relex.stages.report.accuracy import accuracy_charts
from relex.stages.report.beside import Beside, read_beside
from relex.stages.report.campaign_chart import campaign_charts
from relex.stages.report.charts import (
    backtest_chart,
    coefficient_charts,
    reward_chart,
    scan_chart,
    seconds_chart,
    spectrum_chart,
)
from relex.stages.report.cost import cost, proof_cost
from relex.stages.report.data import Night, Proven
from relex.stages.report.headline import headline, race
from relex.stages.report.read import read_night
from relex.stages.report.saved import saved

_HOPS = 12  # the latest ones that the table shows


def run(problems: Section, base: Section, train: Section, evaluate: Section, model: str) -> None:
    """Write report.html, metrics/headline.json and metrics/race.csv; InputErrors when a file is missing or broken.

    problems, base, train, evaluate: the sections of params.yaml, which say what the task is; model: registry.model.
    """
    curve = true_rlvr.of(task_of(problems, base, train, evaluate))
    night = read_night()
    beside = read_beside(night, problems.model_dump(mode="json")["source"], model, curve)
    write_json(workspace.HEADLINE, headline(night.train, night.evaluation, night.decision))
    write_text(workspace.RACE, race(night.evaluation))
    write_text(workspace.REPORT, page(night, beside))
    print(f"report: {workspace.REPORT}")


def page(night: Proven, beside: Beside) -> str:
    """The whole page as HTML. Everything that a file says is escaped, and no script runs but its own, by hash."""
    environment = Environment(
        loader=PackageLoader("relex.stages.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": words.share,
        "points": words.points,
        "seconds": words.seconds,
        "times": words.times,
        "limited": lambda guard, value: words.points(value) if guard.against else f"{100 * value:.1f} %",
        "multiple": lambda step: words.multiple(step, night.window),
        "between": lambda found: words.between(found.low, found.high),
    }
    loader = environment.loader
    script = loader.get_source(environment, "reader.js")[0] if loader else ""
    return environment.get_template("report.html").render(
        **_content(night, beside), **_charts(night, beside), script=Markup(script), script_hash=_hash(script)
    )


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _content(night: Proven, beside: Beside) -> dict[str, Any]:
    models = night.evaluation.models
    headline, _, numbers = night.decision.sentence.partition(": ")
    became = beside.campaign.lines[-1].became if beside.campaign else None
    if became:
        headline, numbers = f"Not promoted: {became}", f"The hop had decided: {night.decision.sentence}"
    tiles = tables.tiles(night)
    campaign, curve = beside.campaign, beside.true_rlvr
    return {
        "night": night,
        "beside": beside,
        "campaign": campaign,
        "true_rlvr": curve,
        "saved": saved(campaign, curve) if campaign and curve else None,
        "hops_shown": _HOPS,
        "date": words.moment(night.date) if night.date else None,
        "day": words.day,
        "champion_version": next((models[name].version for name in night.evaluation.of_kind("champion")), None),
        "champions": trend.shown(beside),
        "trend_suites": trend.suites(night),
        "tonight": trend.tonight(night, beside),
        "headline": headline,
        "numbers": numbers,
        "avg": words.avg_at(night.evaluation),
        "reported": any(map(night.evaluation.suites, ("test", "ood"))),
        "verdicts": tables.verdicts(night),
        "became": became,
        "outcome": "keep-champion" if became else night.decision.outcome,
        "tiles": tiles,
        "apart": len({tile.problems for tile in tiles if tile.problems}) > 1,
        "guarded": bool(night.evaluation.suites("ood")),
        "training": tables.training(night) if isinstance(night, Night) else [],
        "controls": len(night.evaluation.of_kind("control")),
        "called": lambda name: names.called(night, name),
        "reported_table": accuracy_tables.reported(night),
        "race_table": accuracy_tables.raced(night),
        "silent": accuracy_tables.unasked(night),
        "pass_k": accuracy_tables.pass_k(night),
        "trained": isinstance(night, Night),
        "proof": proof_cost(night),
        "asked": words.asked,
        "ended": words.ENDED,
        "identity": tables.identity(night, beside.folders),
        "has_champion": bool(night.evaluation.of_kind("champion")),
        "same_as_base": night.evaluation.same_as_base,
        "farthest": night.finalist is not None and night.finalist == night.evaluation.of_kind("candidate")[-1],
    }


def _charts(night: Proven, beside: Beside) -> dict[str, Any]:
    charts: dict[str, Any] = {"accuracy": accuracy_charts(night), "trend": trend.trend_charts(night, beside)}
    if beside.campaign is not None:
        charts["campaign_chart"] = campaign_charts(beside.campaign, trend.suites(night), beside.true_rlvr)
    if not isinstance(night, Night):
        return charts
    return charts | {
        "coefficients": tables.coefficient_rows(night),
        "cost": cost(night),
        "reward": reward_chart(night),
        "spectrum": spectrum_chart(night),
        "coefficient_lines": coefficient_charts(night),
        "backtest": backtest_chart(night) if night.diagnosis.backtest else None,
        "scan_curves": scan_chart(night, night.diagnosis.scan) if night.diagnosis.scan else None,
        "seconds_spent": seconds_chart(night) if night.timings else None,
    }
