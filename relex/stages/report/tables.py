"""The report's tables and its figures in words: rows of text, ready to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from relex.stages.report import words
from relex.stages.report.charts import largest
from relex.stages.report.cost import about
from relex.stages.report.data import Night, Proven
from relex.stages.report.decision import Guard, Test, Verdict
from relex.stages.report.names import called, same

_NAMES = {"base": "the base", "observed": "the last observed", "champion": "the champion"}
_WHERE = {"test": "test {}", "ood": "out of domain {}", "gate": "right at the gate"}
_TO = "\N{RIGHTWARDS ARROW}"
_Met = TypeVar("_Met", Test, Guard)


@dataclass(frozen=True)
class Tile:
    """One figure and what it is. problems: the role of those it is of, empty where of none."""

    value: str
    label: str
    problems: str = ""


def tiles(night: Proven) -> list[Tile]:
    """What the one-minute reader takes away beside the sentence: gain, accuracy before and after, steps. Gain and
    shares are of different problems, so each says of which."""
    decision, evaluation = night.decision, night.evaluation
    before, after = night.compared
    role = "winner" if decision.promote else f"chosen {night.candidate}" if after == night.finalist else "last observed"
    found = [
        Tile(
            words.points(test.gain),
            f"points gained over {_NAMES.get(before, before)} at the gate: "
            f"{words.sampled(test.problems, test.samples)}, which nothing was chosen on",
            "gate",
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
            of = [words.sampled(*evaluation.asked(name, suite)) for name in (before, after)]
            who = f"{_NAMES.get(before, before).removeprefix('the ')} {_TO} {role}"
            label = f"{where}: {who}; {' and '.join(dict.fromkeys(of))}"
            found.append(
                Tile(
                    f"{words.share(old.value)} {_TO} {words.share(new.value)}",
                    label,
                    evaluation.protocol.suites[suite].role,
                )
            )
    target, trained = about(night), night.train.steps if isinstance(night, Night) else night.window
    if target is not None:
        far = words.multiple(target, night.window)
        found.append(Tile(f"{trained} {_TO} {target}", f"steps: trained {_TO} {night.candidate}, {far} the window"))
    return found


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


def verdicts(night: Proven) -> list[tuple[str, Verdict]]:
    """What each model is called and what it met at the gate; a base that is the champion too is met once."""
    twice = night.evaluation.same_as_base

    def once(found: Sequence[_Met]) -> list[_Met]:
        against = {(one.against, getattr(one, "suite", "")) for one in found}
        return [
            one
            for one in found
            if not (twice and one.against == "base" and (twice, getattr(one, "suite", "")) in against)
        ]

    return [
        (
            called(night, verdict.name),
            verdict.model_copy(update={"tests": once(verdict.tests), "guards": once(verdict.guards)}),
        )
        for verdict in night.decision.verdicts
    ]


def training(night: Night) -> list[tuple[str, str, list[str]]]:
    """What the training's answers were like beside their reward: what it is, what that means, and its mean over all
    steps, at the first and at the last; without what the step log does not hold."""
    train = night.train
    logged = {
        "groups without signal": (
            "a group: the answers to one problem; where all got the same reward, right or wrong, it teaches nothing",
            [row.without_signal for row in night.steps],
            train.share_without_signal,
            "{:.0%}".format,
        ),
        "answers cut off": (
            "at the longest that an answer may be: train.max_completion_length",
            [row.cut for row in night.steps],
            train.share_truncated,
            "{:.1%}".format,
        ),
        "length of an answer": ("mean, in tokens", [row.length for row in night.steps], None, "{:,.1f}".format),
    }
    found = []
    for name, (meaning, every, mean, shown) in logged.items():
        known = [value for value in every if value is not None]
        mean = sum(known) / len(known) if known else mean
        if mean is not None:
            ends = [known[0], known[-1]] if known else [None, None]
            found.append((name, meaning, [shown(one) if one is not None else "\N{EN DASH}" for one in (mean, *ends)]))
    return found


def identity(night: Proven, folders: Mapping[str, str]) -> list[tuple[str, str]]:
    """What was measured on what, with short hashes. folders: of a proof's models, what they are called by."""
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
        if name == evaluation.same_as_base:
            continue
        hashes = f"model {words.short_hash(model.model_sha256)}, weights {words.short_hash(model.weights_sha256)}"
        folder = " and ".join(dict.fromkeys(folders[one] for one in same(night, name) if one in folders))
        rows.append((called(night, name), (f"{folder}: " if folder else "") + hashes))
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
