"""The report's tables and its figures in words: rows of text, ready to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relex.stages.report import words
from relex.stages.report.charts import largest
from relex.stages.report.cost import about
from relex.stages.report.data import Interval, Night, Proven
from relex.stages.report.decision import Candidate

_ROLES = {"test": "only reported", "ood": "guards", "choose": "picks", "gate": "proves"}

_BEYOND = {"backtest": "backtest", "likelihood": "likelihood's peak"}
_NAMES = {"base": "the base", "observed": "the last observed", "champion": "the champion"}
_WHERE = {"test": "test {}", "ood": "out of domain {}", "gate": "right at the gate"}
_TO = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True)
class Column:
    """A suite: its name, what its problems are for, and whether that is (also) to be reported."""

    suite: str
    purpose: str
    reported: bool


@dataclass(frozen=True)
class Cell:
    """Share of right samples with its interval, and what it rests on, where models of one column differ in that."""

    accuracy: Interval
    asked: str


@dataclass(frozen=True)
class AccuracyRow:
    """One model. cells: per column, None where it was not asked; passed: pass@k on test; cut: worst share cut off."""

    name: str
    mark: str
    note: str
    cells: tuple[Cell | None, ...]
    passed: Interval | None
    cut: float | None


@dataclass(frozen=True)
class Tile:
    """One figure and what it is."""

    value: str
    label: str


def columns(night: Proven) -> list[Column]:
    """The suites in the order of their roles."""
    return [
        Column(suite, purpose, role in ("test", "ood"))
        for role, purpose in _ROLES.items()
        for suite in night.evaluation.suites(role)
    ]


def accuracy_rows(night: Proven) -> list[AccuracyRow]:
    """Base, last observed, champion, then the candidates by step."""
    evaluation, decision = night.evaluation, night.decision
    notes = {candidate.name: _note(candidate) for candidate in decision.candidates}
    rows = []
    for name in (name for kind in ("base", "observed", "champion", "candidate") for name in evaluation.of_kind(kind)):
        mark = ""
        if name == decision.winner:
            mark = "winner" if decision.promote else "kept"
        elif name == night.finalist:
            mark = "chosen, not promoted"
        cut = [
            found.value for column in columns(night) if (found := evaluation.interval(name, column.suite, "truncated"))
        ]
        rows.append(
            AccuracyRow(
                name=called(night, name),
                mark=mark,
                note=notes.get(name, ""),
                cells=tuple(_cell(night, name, column) for column in columns(night)),
                passed=_pass_on_test(night, name),
                cut=max(cut, default=None),
            )
        )
    return rows


def _cell(night: Proven, name: str, column: Column) -> Cell | None:
    """Which problems and how many samples stand with the parts of the proof alone: each model was asked its own."""
    accuracy = night.evaluation.accuracy(name, column.suite)
    if accuracy is None:
        return None
    by_need = night.evaluation.protocol.suites[column.suite].role in ("choose", "gate")
    return Cell(accuracy, words.asked(*night.evaluation.asked(name, column.suite)) if by_need else "")


def _note(candidate: Candidate) -> str:
    """When it left the race, and what its step lies beyond."""
    said = [] if candidate.left is None else [f"left the race after look {candidate.left}"]
    if candidate.beyond:
        said.append(f"beyond the {' and the '.join(_BEYOND.get(what, what) for what in candidate.beyond)}")
    return "; ".join(said)


def pass_k(night: Proven) -> int | None:
    """The largest k of pass@k on the test problems; None when none was measured."""
    measured = {
        int(metric.removeprefix("pass_at_"))
        for suites in night.evaluation.metrics.values()
        for suite in night.evaluation.suites("test")
        for metric in suites.get(suite, {})
        if metric.startswith("pass_at_")
    }
    return max(measured, default=None)


def _pass_on_test(night: Proven, name: str) -> Interval | None:
    suites = night.evaluation.suites("test")
    return night.evaluation.interval(name, suites[0], f"pass_at_{pass_k(night)}") if suites else None


def tiles(night: Proven) -> list[Tile]:
    """What the one-minute reader takes away beside the sentence: gain, accuracy before and after, steps."""
    decision, evaluation = night.decision, night.evaluation
    before, after = night.compared
    role = "winner" if decision.promote else f"chosen {night.candidate}" if after == night.finalist else "last observed"
    found = [
        Tile(
            words.points(test.gain),
            f"points compared with {_NAMES.get(before, before)}, on problems that nothing was chosen on",
        )
        for verdict in decision.verdicts
        for test in verdict.tests
        if (verdict.name, test.against) == (after, before)
    ]
    reported = evaluation.suites("test")[:1] + evaluation.suites("ood")[:1]
    both = [suite for suite in reported if evaluation.accuracy(before, suite) and evaluation.accuracy(after, suite)]
    for suite in both or evaluation.suites("gate")[:1]:  # a forecast that was refused is not reported on
        old, new = evaluation.accuracy(before, suite), evaluation.accuracy(after, suite)
        if old and new:
            where = _WHERE[evaluation.protocol.suites[suite].role].format(words.avg_at(evaluation))
            label = f"{where}: {_NAMES.get(before, before).removeprefix('the ')} {_TO} {role}"
            found.append(Tile(f"{words.share(old.value)} {_TO} {words.share(new.value)}", label))
    target, trained = about(night), night.train.steps if isinstance(night, Night) else night.window
    if target is not None:
        far = words.multiple(target, night.window)
        found.append(Tile(f"{trained} {_TO} {target}", f"steps: trained {_TO} {night.candidate}, {far} the window"))
    return found


def called(night: Proven, name: str) -> str:
    """A model's name on the page, whether or not it is a model of the night."""
    found = night.evaluation.models.get(name)
    return words.model(name, found, night.window, night.candidate) if found else name


def coefficient_rows(night: Night) -> list[dict[str, str]]:
    """The legend of the coefficient chart: colour, tensor, R^2, explained share, coefficient now and at the end."""
    rows = []
    for number, (line, _) in enumerate(largest(night), start=1):
        shares = night.diagnosis.tensors[line.name].explained_share
        rows.append(
            {
                "colour": f"s{number}",
                "name": words.tensor(line.name),
                "r_squared": f"{line.r_squared:.4f}",
                "share": words.share(shares[0]),
                "now": f"{line.observed[-1]:.3g}",
                "ahead": f"{line.forecast[-1][1]:.3g}" if line.forecast else "\N{EN DASH}",
            }
        )
    return rows


def identity(night: Proven) -> list[tuple[str, str]]:
    """What was measured on what, with short hashes."""
    evaluation = night.evaluation
    engine = evaluation.protocol.engine
    rows = _trained(night) if isinstance(night, Night) else []
    rows.append(("engine", ", ".join(f"{key} {_plain(value)}" for key, value in sorted(engine.items()))))
    rows.append(("intervals", f"{evaluation.protocol.confidence:.0%}, bootstrap over problems"))
    for name, suite in evaluation.protocol.suites.items():
        drawn = f"{suite.samples} samples each, T {suite.temperature:g}, top_p {suite.top_p:g}"
        limits = f"at most {suite.max_tokens} tokens, seed {suite.seed}; {words.short_hash(suite.sha256)}"
        rows.append((f"suite {name}", f"{suite.problems} problems, {drawn}, {limits}"))
    for name, model in evaluation.models.items():
        hashes = f"model {words.short_hash(model.model_sha256)}, weights {words.short_hash(model.weights_sha256)}"
        folder = "" if isinstance(night, Night) else f"{Path(model.folder).name}: "
        rows.append((called(night, name), folder + hashes))
    return rows


def _trained(night: Night) -> list[tuple[str, str]]:
    """What the night began with, and how it was trained."""
    rows = [("base", f"{night.base.kind}, weights {words.short_hash(night.base.weights_sha256)}")]
    if night.base.parameters:
        rows.append(("parameters", f"{night.base.parameters:,}"))
    observed = night.diagnosis.trajectory
    reach = f"{len(observed.steps)} observed steps, {observed.steps[0]} to {observed.steps[-1]}"
    rows.append(("window", f"{reach}; trajectory {words.short_hash(observed.sha256)}"))
    rows.append(("training", f"{night.train.steps} steps, {night.train.completions:,} completions"))
    early = {"time": "its budget of time was spent", "skill": "the forecast meter's skill had been reached"}
    if night.train.ended in early:
        rows.append(("training ended early", early[night.train.ended]))
    if night.train.warning:
        rows.append(("training warned", night.train.warning))
    return rows


def _plain(value: object) -> str:
    return " ".join(f"{key} {inner}" for key, inner in sorted(value.items())) if isinstance(value, dict) else str(value)
