"""Evidence on the portfolio of rays: a night by all of them beside one by the plain rank-1 line, from the same base
(`python -m flows.study --portfolio`).

Every night is the first of a campaign of its own (flows/study/campaign.py), and so is its base and its first window:
what differs is only which rays race. The night by all rays is the campaign's own where that has been run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.study.answers import answers
from flows.study.campaign import campaign, folder_of
from flows.study.campaign_tables import Campaign, interval, seconds_of
from flows.study.cases import ADAPTERS, BENT, PLAIN, Changes
from flows.study.rows import paired_gain, said
from relex.core.atomic import write_text
from relex.ledger.lines import Right
from relex.stages.evaluate.statistics import Interval

PAGE = Path("docs/portfolio.md")
_PROOF = ("race", "gate", "guards")
_READ = """Both nights of a line train the same number of steps from the same base, hop after hop from what the hop
before has proven. The difference is paired over the test problems, which decide nothing, with its 95 % bootstrap
interval over them: of this pair of nights, not of all that seeds could have been. Rows are those of race, gate and
guards; seconds those of every stage but the base, which depend on what else the machine does."""


@dataclass(frozen=True)
class Night:
    """A campaign's first night. right: on test and ood. rows: of the proof, without the report. answers: by problem of
    test the share of right samples."""

    steps: int
    hops: int
    right: Mapping[str, Right]
    rows: int
    seconds: float
    answers: Mapping[str, float]


@dataclass(frozen=True)
class Pair:
    """One training. all_rays, plain: its nights."""

    name: str
    all_rays: Night
    plain: Night

    @property
    def gain(self) -> Interval:
        """What all rays gain over the plain line on test."""
        return paired_gain({"all": self.all_rays.answers, "plain": self.plain.answers}, "all", "plain")


@flow(name="portfolio", log_prints=True)
def portfolio(options: Mapping[str, Any], command: str) -> None:
    """Run the nights and write docs/portfolio.md. options: seeds, bent and adapters, seeds each."""
    trainings: list[tuple[int, str | None, Changes]] = [(seed, None, {}) for seed in options["seeds"]]
    trainings += [(seed, "bent", BENT) for seed in options["bent"]]
    trainings += [(seed, "adapters", ADAPTERS) for seed in options["adapters"]]
    pairs = []
    for seed, case, changes in trainings:
        nights = []
        for rays, more in ((None, {}), ("plain", PLAIN)):
            label = "-".join(part for part in (case, rays) if part) or None
            way = {"mode": None, "window": None, "nights": 1, "true_steps": 0, "case": label}
            found = campaign(seed, {**way, "changes": {**changes, **more}}, command)
            nights.append(first_night(found, answers(folder_of(seed, way), 1)))
        pairs.append(Pair(" ".join([f"seed {seed}", *([case] if case else [])]), *nights))
    write_text(PAGE, page(pairs, command))
    print(f"portfolio: {PAGE}")


def first_night(found: Campaign, right: Mapping[str, float]) -> Night:
    """From the campaign's ledger."""
    row = found.nights[0]
    return Night(
        steps=row["total"]["steps"],
        hops=row["hops"],
        right={suite: Right.model_validate(row["right"][suite]) for suite in ("test", "ood")},
        rows=sum(row["total"]["rows"].get(part, 0) for part in _PROOF),
        seconds=seconds_of(row)[1],
        answers=right,
    )


def page(pairs: list[Pair], command: str) -> str:
    """docs/portfolio.md."""
    lines = ["# All rays beside the plain line", "", "Made by", "", f"    {command}", "", _READ, ""]
    lines += [
        "| training | trained steps | plain line: test | all rays: test | difference | | ood: plain, all "
        "| rows: plain, all | seconds: plain, all |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    better, worse = 0, 0
    for pair in pairs:
        gain, plain, every = pair.gain, pair.plain, pair.all_rays
        better, worse = better + (gain.low > 0), worse + (gain.high < 0)
        verdict = "better" if gain.low > 0 else "worse" if gain.high < 0 else "not told apart"
        steps = f"{plain.steps}" if plain.steps == every.steps else f"{plain.steps}, {every.steps}"
        lines.append(
            f"| {pair.name} | {steps} | {interval(plain.right['test'])} | {interval(every.right['test'])} "
            f"| {said(gain)} | {verdict} "
            f"| {plain.right['ood'].value:.3f}, {every.right['ood'].value:.3f} "
            f"| {plain.rows:,}, {every.rows:,} ({every.rows / plain.rows:.2f} times) "
            f"| {plain.seconds:.0f}, {every.seconds:.0f} |"
        )
    plain_rows, all_rows = sum(pair.plain.rows for pair in pairs), sum(pair.all_rays.rows for pair in pairs)
    lines += [
        "",
        f"All rays are significantly better in {better} of {len(pairs)} and significantly worse in {worse}; their "
        f"proofs took {all_rows / plain_rows:.2f} times the rows in all.",
        "",
    ]
    return "\n".join(lines)
