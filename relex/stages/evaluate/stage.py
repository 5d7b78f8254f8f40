"""Stage evaluate: generate what the proof asks for, score it, and report on what came of it.

The policy of relex/proof says what to generate next; when it has decided, the suites that are only reported are asked.
Writes evaluation/rows/<model>.parquet and metrics/evaluate.json, the same bytes from the same inputs, and the seconds
into timings/evaluate.json. Rows come from the store (row_store.py) wherever their content has been evaluated before.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from relex.core import progress, workspace
from relex.core.asking import Asking
from relex.core.atomic import new_folder, read_json, write_json
from relex.core.errors import InputError
from relex.core.hop import Model
from relex.core.inputs import follow_files
from relex.core.timing import timed
from relex.proof.night import BASE, CHAMPION, OBSERVED, Ask
from relex.proof.plan import Plan
from relex.proof.policy import Outcome, play
from relex.proof.roles import CHOOSE, OOD, TEST
from relex.proof.rules import Rules
from relex.stages.evaluate import plan_kept, planned, rate
from relex.stages.evaluate.asked import Asked
from relex.stages.evaluate.contestants import Contestant, load_contestants
from relex.stages.evaluate.engine.settings import engine_facts
from relex.stages.evaluate.generation import Generation, Want
from relex.stages.evaluate.metrics import summarise
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.reload import filed
from relex.stages.evaluate.row_store import RowStore, output_table
from relex.stages.evaluate.schema import OUTPUT
from relex.stages.evaluate.suites.params import SplitSource, files_of
from relex.stages.evaluate.suites.suite import Suite, load_suites

RACE, GATE, GUARDS, REPORT = "race", "gate", "guards", "report"
MODELS = "models"  # of the evaluation: a winner that had no file before
_FILED = "filed"  # a folder of the state


def run(evaluate: Evaluate, problems: Asking, decide: Rules, champion: Model | None = None) -> None:
    """Evaluate base, last observed, champion and candidates, as far as the proof and its report ask."""
    with timed("evaluate") as details:
        suites, contestants = load_suites(evaluate, problems), load_contestants(champion)
        store = RowStore(workspace.ROWS_CACHE, engine_facts(evaluate))
        with Generation(evaluate, store, contestants) as generation:
            evaluation = Evaluation(evaluate, decide, suites, contestants, store, generation, look_of(evaluate))
            plan = evaluation.plan()
            evaluation.carry_out(plan)
            details.update(generation.spent)
        evaluation.note_rate(generation.spent)
        with new_folder(workspace.EVALUATION, replace=True) as folder:
            evaluation.keep_winner(folder / MODELS, workspace.EVALUATION / MODELS)
            metrics = evaluation.write_rows(folder / "rows")
        write_json(workspace.EVALUATION_METRICS, evaluation.facts(plan, metrics))
        store.prune()
        follow_files(files_of(evaluate.suites), workspace.INPUT_SUITES)
    print_table(metrics, [suite.name for suite in suites])


class Evaluation:
    """One night's proof and report."""

    def __init__(
        self,
        settings: Evaluate,
        rules: Rules,
        suites: list[Suite],
        contestants: list[Contestant],
        store: RowStore,
        generation: Generation,
        look: int = 1,
        say: Callable[[str], None] = print,
        state: Path = workspace.STATE,
    ):
        """look: which one at these problems of the gate this is, 1 for fresh ones. say: takes what can be proven.
        state: where candidates become files that have none."""
        self._settings, self._rules, self._look, self._say = settings, rules, look, say
        self._suites = {suite.name: suite for suite in suites}
        self._contestants = {contestant.name: contestant for contestant in contestants}
        self._rooms = planned.rooms_of(suites)
        self._engine = engine_facts(settings)
        self._generation = generation
        self._asked = Asked(store, self._speaker, self._suites)
        self._state = state
        self._filed = dict[str, Contestant]()  # candidates that were formed, and became files for the gate
        self._promoted: str | None = None
        self._asks = Counter[str]()  # so far, by part and model, for the bars' names

    def plan(self) -> Plan:
        """What the proof may ask. Where minutes limit it, the plan of a run that was killed is kept."""
        settings = self._settings
        rollouts = None if settings.budget.share is None else _rollouts()
        if settings.budget.minutes is None:
            return self._planned(planned.row_budget(settings, rollouts, None))
        key = plan_kept.key(self.protocol(), settings.model_dump(mode="json"), rollouts)
        plan = plan_kept.read(key)
        if plan is None:
            rows = self._measured().rows(settings.budget.minutes)
            plan = self._planned(planned.row_budget(settings, rollouts, rows))
            plan_kept.write(key, plan)
        return plan

    def _planned(self, rows: int | None) -> Plan:
        racers = planned.racing(self._contestants.values())
        champion = CHAMPION in self._contestants
        plan = planned.planned(self._settings, self._rooms, racers, champion, rows, self._look)
        self._say(planned.sentence(self._settings, self._rules, self._rooms, plan, racers, champion, rows))
        return plan

    def _measured(self) -> rate.Rate:
        """What this machine makes of such a model; from rows of the base that the report needs anyway, where it has
        never been measured."""
        found = rate.read(self._rate_key())
        if found is None:
            reported = [suite for suite in self._suites.values() if suite.role == TEST] or [*self._suites.values()]
            wants = [Want(self._contestants[BASE], suite, len(suite.problems), 1) for suite in reported]
            self._generation.fill(wants, REPORT)
            found = self.note_rate(self._generation.spent)
        if found is None:
            raise InputError(
                "nothing says how many rows this machine makes in a minute",
                where="evaluate.budget.minutes",
                found="too few new rows to measure it",
                todo="give rows instead, or a test suite of 200 problems or more",
            )
        return found

    def _rate_key(self) -> str:
        base = self._contestants[BASE]
        return rate.key(self._engine, self._settings.engines, base.speech_sha256)

    def note_rate(self, spent: Mapping[str, Any]) -> rate.Rate | None:
        """Keep how fast it went. spent: as Generation counts it."""
        parts = [spent[part] for part in (RACE, GATE, GUARDS, REPORT) if part in spent]
        seconds = sum(part["generate_seconds"] for part in parts) / self._settings.engines
        return rate.note(self._rate_key(), sum(part["rows"] for part in parts), seconds, spent["start_seconds"])

    def carry_out(self, plan: Plan) -> None:
        """Generate what the proof asks, then what is reported."""
        outcome = self.prove(plan)
        self._promoted = outcome.promoted
        self._report(outcome)

    def keep_winner(self, folder: Path, called: Path) -> None:
        """Move the file of a promoted candidate that had none into `folder`, which is going to be `called`."""
        for name, one in self._filed.items():
            if name == self._promoted:
                folder.mkdir()
                shutil.move(one.folder, folder / name)
                self._filed[name] = replace(one, folder=called / name)
            else:
                self._filed[name] = replace(one, folder=self._contestants[name].folder)
        shutil.rmtree(self._state / _FILED, ignore_errors=True)

    def _speaker(self, name: str, suite: Suite) -> Contestant:
        """As whom a model answers a suite: the race's rows are those of what was formed, all others the file's."""
        return self._contestants[name] if suite.role == CHOOSE else self._as_told(name)

    def _as_told(self, name: str) -> Contestant:
        """As whom a model stands in what is written."""
        return self._filed.get(name, self._contestants[name])

    def _file(self, name: str) -> None:
        """Write a candidate that is about to be proven and has no file. Always anew: a run may have been killed."""
        one = self._contestants[name]
        if one.origin is not None and name not in self._filed:
            with progress.at(f"evaluate: writing {name}"):
                self._filed[name] = filed(one, self._state / _FILED / name)

    def prove(self, plan: Plan) -> Outcome:
        """Generate what the policy asks until it has decided."""
        players = [each.player for each in self._contestants.values()]
        proof = play(players, self._rooms, plan, self._rules, self._asked)
        while True:
            try:
                ask = next(proof)
            except StopIteration as end:
                return end.value
            self._ask(ask.purpose, ask.models, ask.asked, self._look_called(ask))

    def _look_called(self, ask: Ask) -> str:
        """Which look of which part this is: race, look 2; gate, look 1 at step_000481."""
        about = "" if ask.purpose == RACE else f" at {ask.models[0]}"
        self._asks[ask.purpose + about] += 1
        return f"{ask.purpose}, look {self._asks[ask.purpose + about]}{about}"

    def _report(self, outcome: Outcome) -> None:
        """Ask the suites that are reported of whom the report is about; nothing is decided on them any more."""
        named = [BASE, OBSERVED, CHAMPION, outcome.promoted]
        everyone = self._settings.report == "all"
        models = [name for name in self._contestants if everyone or name in named]
        asked = tuple((room.name, room.problems, room.reported) for room in self._rooms if room.role in (TEST, OOD))
        self._ask(REPORT, models, asked)

    def _ask(
        self, purpose: str, models: Iterable[str], asked: tuple[tuple[str, int, int], ...], what: str = ""
    ) -> None:
        models = list(models)
        if purpose in (GATE, GUARDS):
            for name in models:
                self._file(name)
        self._generation.fill(
            [
                Want(self._speaker(name, self._suites[suite]), self._suites[suite], problems, samples)
                for name in models
                for suite, problems, samples in asked
            ],
            purpose,
            what,
        )
        self._asked.add(purpose, models, asked)

    def write_rows(self, folder: Path) -> dict[str, dict[str, Any]]:
        """<folder>/<model>.parquet; the metrics by model and suite, of what was asked."""
        settings = self._settings
        metrics: dict[str, dict[str, Any]] = {}
        folder.mkdir(exist_ok=True)
        for name in self._contestants:
            contestant = self._as_told(name)
            metrics[name] = {}
            with pq.ParquetWriter(folder / f"{name}.parquet", OUTPUT) as writer:
                for suite in self._suites.values():
                    if (name, suite.name) not in self._asked.reached:
                        continue
                    table = self._asked.table(name, suite.name, *self._asked.reached[name, suite.name])
                    writer.write_table(output_table(contestant, suite, table))
                    metrics[name][suite.name] = summarise(
                        table, settings.pass_k, settings.confidence, settings.resamples, settings.seed
                    )
        return metrics

    def facts(self, plan: Plan, metrics: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """metrics/evaluate.json. metrics: as write_rows gives them."""
        return self.protocol() | {"metrics": metrics, "proof": self._proof(plan)}

    def protocol(self) -> dict[str, Any]:
        """metrics/evaluate.json without what was found."""
        return {
            "protocol": {
                "engine": {key: value for key, value in self._engine.items() if key != "code"},
                "confidence": self._settings.confidence,
                "resamples": self._settings.resamples,
                "suites": {suite.name: suite.protocol() for suite in self._suites.values()},
            },
            "models": {name: self._as_told(name).facts() for name in self._contestants},
        }

    def _proof(self, plan: Plan) -> dict[str, Any]:
        """For metrics/evaluate.json: what could be asked, and what each part took."""
        return {
            "plan": plan.facts() | {"report": self._settings.report},
            "spent": {
                part: {"rows": self._asked.rows[part], "tokens": self._asked.tokens[part]}
                for part in (RACE, GATE, GUARDS, REPORT)
            },
        }


def look_of(settings: Evaluate) -> int:
    """Which look at its validation problems this hop's is: those of splits are fresh for every hop as long as the
    source has others, those of any other source are the same every time."""
    dealt = read_json(workspace.SLICE)
    chosen_on = [suite for suite in settings.suites if suite.role == "validation"]
    fresh = all(isinstance(suite.source, SplitSource) for suite in chosen_on)
    return int(dealt["looks"]) if fresh else int(dealt["slice"]) + 1


def _rollouts() -> int:
    """What the training drew, for a budget in shares of it."""
    found = read_json(workspace.TRAIN_METRICS)
    if not isinstance(found, dict) or type(found.get("completions")) is not int:
        raise InputError(
            "it does not say how many rollouts there were", where=workspace.TRAIN_METRICS, todo="dvc repro"
        )
    return found["completions"]


def print_table(metrics: dict[str, dict[str, Any]], suites: list[str]) -> None:
    """avg@k by model and suite; a dash where a model was not asked."""
    width = max([22, *map(len, metrics)])
    columns = [max(8, len(suite)) for suite in suites]
    print("share of right samples".ljust(width), *(s.rjust(c) for s, c in zip(suites, columns, strict=True)), sep="  ")
    for name, by_suite in metrics.items():
        cells = [_cell(by_suite.get(suite), c) for suite, c in zip(suites, columns, strict=True)]
        print(name.ljust(width), *cells, sep="  ")


def _cell(found: dict[str, Any] | None, width: int) -> str:
    if found is None:
        return "-".rjust(width)
    value = next(facts["value"] for key, facts in found.items() if key.startswith("avg_at_"))
    return f"{value:{width}.3f}"
