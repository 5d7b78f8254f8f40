"""ledger.jsonl: a line a hop and a line a night, under version control, only ever appended to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from relex.core.atomic import write_text
from relex.core.errors import CorruptArtifact
from relex.core.hop import Hop, Mode, Model, Training
from relex.core.section import Section
from relex.core.workspace import LEDGER, LEDGER_TABLE

Place = tuple[int, int, int]  # campaign, night, hop


class Right(Section):
    """A share of right samples with its interval."""

    value: float
    low: float
    high: float


class Spent(Section):
    """What was spent. steps: optimiser steps; rollouts and tokens: of training; seconds: by stage; rows: of the proof,
    by part; gpu_hours: of training; disk: bytes that the artifacts take."""

    steps: int
    rollouts: int
    tokens: int
    seconds: dict[str, float]
    rows: dict[str, int]
    gpu_hours: float = 0.0
    disk: int = 0

    @classmethod
    def nothing(cls) -> Spent:
        """What adds nothing to a sum."""
        return cls(steps=0, rollouts=0, tokens=0, seconds={}, rows={})

    def plus(self, other: Spent) -> Spent:
        """Both together; of the disk, the larger."""
        return Spent(
            steps=self.steps + other.steps,
            rollouts=self.rollouts + other.rollouts,
            tokens=self.tokens + other.tokens,
            seconds=_sums(self.seconds, other.seconds),
            rows=_sums(self.rows, other.rows),
            gpu_hours=round(self.gpu_hours + other.gpu_hours, 5),
            disk=max(self.disk, other.disk),
        )

    @property
    def all_seconds(self) -> float:
        """Of all stages, training and proof."""
        return sum(self.seconds.values())

    @property
    def training_seconds(self) -> float:
        return self.seconds.get("train", 0.0)

    @property
    def other_seconds(self) -> float:
        """Of the proof, the diagnosis and every other stage but the training."""
        return self.all_seconds - self.training_seconds

    @property
    def seconds_from_base(self) -> float:
        """Of all stages but the base's own making, which any training from that base needs."""
        return self.all_seconds - self.seconds.get("base", 0.0)

    @property
    def all_rows(self) -> int:
        return sum(self.rows.values())


class HopRow(Section):
    """One hop. spent: by it alone, also where its training went on from an earlier hop's; total: by its campaign so
    far. accepted: whether its model became champion; outcome and sentence: of its decision, and what became of it.
    step: that its winner stands for. model: the champion that it made, or met where it made none. right: of that model,
    by suite; before: of what it started from. settings: hash of the sections that could make another try worth while.
    """

    kind: Literal["hop"] = "hop"
    campaign: int
    night: int
    hop: int
    when: str
    mode: Mode
    start: Model | None
    training: Training
    slice: int
    spent: Spent
    total: Spent
    accepted: bool
    outcome: str
    sentence: str
    step: int | None
    model: Model | None
    right: dict[str, Right]
    before: dict[str, Right]
    settings: str

    @property
    def place(self) -> Place:
        return self.campaign, self.night, self.hop


class NightRow(Section):
    """One night. why: what ended it. spent: by its hops together. promoted: whether any hop's model became champion."""

    kind: Literal["night"] = "night"
    campaign: int
    night: int
    hops: int
    when: str
    why: str
    spent: Spent
    total: Spent
    promoted: bool
    model: Model | None
    right: dict[str, Right]
    settings: str

    @property
    def place(self) -> Place:
        return self.campaign, self.night, 0


Row = HopRow | NightRow
_ROW: TypeAdapter[Row] = TypeAdapter(Annotated[Row, Field(discriminator="kind")])


class Ledger:
    """The rows, the oldest first; each place once, the first row for it counts."""

    def __init__(self, rows: Iterable[Row]):
        self.rows: list[Row] = list({row.place: row for row in reversed(list(rows))}.values())[::-1]

    @property
    def hops(self) -> list[HopRow]:
        return [row for row in self.rows if isinstance(row, HopRow)]

    @property
    def nights(self) -> list[NightRow]:
        return [row for row in self.rows if isinstance(row, NightRow)]

    def total(self, campaign: int) -> Spent:
        """What the hops of a campaign spent together."""
        spent = Spent.nothing()
        for row in self.hops:
            if row.campaign == campaign:
                spent = spent.plus(row.spent)
        return spent

    def hop(self, hop: Hop) -> HopRow | None:
        """The row of a hop, None while it is unfinished."""
        return next((row for row in self.hops if row.place == hop.place), None)

    def night(self, hop: Hop) -> NightRow | None:
        """The row of a hop's night, None while it is unfinished."""
        return next((row for row in self.nights if row.place == (hop.campaign, hop.night, 0)), None)


def read() -> Ledger:
    """The ledger; CorruptArtifact names a line that is not one of ours. A last line that was torn off counts as never
    written."""
    if not LEDGER.is_file():
        return Ledger([])
    lines = LEDGER.read_text(encoding="utf-8").split("\n")
    torn = lines.pop()  # whole lines end with a line break, so after the last one nothing stands
    if torn:
        print(f"{LEDGER}: the last line was torn off and is left out")
    rows: list[Row] = []
    for number, text in enumerate(lines, 1):
        try:
            rows.append(_ROW.validate_json(text))
        except ValidationError as error:
            raise CorruptArtifact(
                "not a line of the ledger",
                where=f"{LEDGER}: line {number}",
                found=error.errors()[0]["msg"],
                todo="git shows what was there: git log -p ledger.jsonl",
            ) from None
    return Ledger(rows)


def append(row: Row) -> None:
    """Add a row, once; the file is replaced as a whole, so that a kill leaves the old one or the new one."""
    ledger = read()
    if any(row.place == other.place for other in ledger.rows):
        return
    rows = [*ledger.rows, row]
    write_text(LEDGER, "".join(json.dumps(one.model_dump(mode="json"), sort_keys=True) + "\n" for one in rows))
    write_text(LEDGER_TABLE, table(Ledger(rows).hops))


def table(hops: Iterable[HopRow]) -> str:
    """CSV with a header: where the last campaign stood after each of its hops, what `dvc plots show` draws.

    seconds: of all stages, training and proof together. test, ood: shares of right samples of the champion. Sums begin
    anew with a campaign, so that two in one plot would be one zigzag line; the lines of the others are in the ledger.
    """
    rows = list(hops)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("campaign", "night", "hop", "accepted", "steps", "seconds", "rows", "test", "ood"))
    for row in (row for row in rows if row.campaign == rows[-1].campaign):
        right = [row.right[suite].value if suite in row.right else "" for suite in ("test", "ood")]
        total = row.total
        spent = (total.steps, round(total.all_seconds, 3), total.all_rows)
        writer.writerow((row.campaign, row.night, row.hop, int(row.accepted), *spent, *right))
    return text.getvalue()


def _sums(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: round(one.get(key, 0) + other.get(key, 0), 3) for key in (one | other)}
